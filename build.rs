//! Embeds the bundled plugins: `target/plugins/*.wasm` becomes `BUILTIN` in `builtin.rs`.
//!
//! Building the guests from here would be cargo inside cargo, with another target and profile, so it is
//! a task of its own; without its result the build ends with the sentence that names it.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The plugins that a gateway is not whole without.
const BUNDLED: [&str; 6] = include!("plugins/bundled.rs");

fn main() -> Result<(), Box<dyn Error>> {
    let output = PathBuf::from(env::var("OUT_DIR")?);
    let plugins = plugins(&output);
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let mut table = String::from("pub(crate) static BUILTIN: &[(&str, &[u8])] = &[\n");
    for name in BUNDLED {
        let path = plugins.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_file() {
            writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
        } else {
            println!("cargo::error=the bundled plugin {name} is not built; run `cargo xtask plugins` first");
        }
    }
    table.push_str("];\n");
    fs::write(output.join("builtin.rs"), table)?;
    Ok(())
}

/// Where `cargo xtask plugins` leaves them: beside the folder of the profile, which is the fourth above
/// `OUT_DIR` (`target/[TRIPLE/]PROFILE/build/PACKAGE/out`), or one more with a target triple.
fn plugins(output: &Path) -> PathBuf {
    let profile = output.ancestors().nth(3);
    let candidates = profile.into_iter().flat_map(|profile| profile.ancestors().skip(1).take(2));
    candidates
        .map(|folder| folder.join("plugins"))
        .find(|plugins| plugins.is_dir())
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/plugins"))
}
