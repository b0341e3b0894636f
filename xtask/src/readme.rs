//! The plugin of the README, built from its words by its commands, so that they are what is tested.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::command::{cargo_command, run};
use crate::plugins::write_if_changed;
use crate::root;

/// What it is built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Where the README's commands leave the component.
const COMPONENT: &str = "target/wasm32-wasip2/release/acme.wasm";

/// What an author copies out of the README.
#[derive(Debug, PartialEq, Eq)]
struct Words<'r> {
    manifest: &'r str,
    source: &'r str,
    /// Those of `cargo`.
    build: Vec<&'r str>,
}

impl<'r> Words<'r> {
    fn of(readme: &'r str) -> Option<Self> {
        let (_, section) = readme.split_once("\n## Write a plugin\n")?;
        let (section, _) = section.split_once("\n## ")?;
        let mut commands = block(section, "console")?.lines();
        if commands.next()? != format!("$ rustup target add {TARGET}") {
            return None;
        }
        let build = commands.next()?.strip_prefix("$ cargo ")?.split(' ').collect();
        Some(Self { manifest: block(section, "toml")?, source: block(section, "rust")?, build })
    }
}

/// The first block of code in a language.
fn block<'r>(section: &'r str, language: &str) -> Option<&'r str> {
    let (_, rest) = section.split_once(&format!("\n```{language}\n"))?;
    rest.find("```\n").and_then(|end| rest.get(..end))
}

/// Builds it in `folder`, beside what looks like a checkout, and answers where its component is.
pub(crate) fn build(folder: &Path) -> Result<PathBuf, String> {
    let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let readme = root().join("README.md");
    let readme = fs::read_to_string(&readme).map_err(|error| at(&readme, error))?;
    let words = Words::of(&readme).ok_or("README.md: \"Write a plugin\" has no plugin, or no commands to build it")?;
    let acme = folder.join("acme");
    write_if_changed(&acme.join("Cargo.toml"), words.manifest.as_bytes())?;
    write_if_changed(&acme.join("src/lib.rs"), words.source.as_bytes())?;
    // The gateway's versions of everything, which are there already, and not the newest ones.
    fs::copy(root().join("Cargo.lock"), acme.join("Cargo.lock")).map_err(|error| at(&acme, error))?;
    let checkout = folder.join("wicketgate");
    // Made anew each time: the checkout may have moved, and its `target` with it.
    match fs::remove_file(&checkout) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&checkout, error)),
        Ok(()) | Err(_) => {}
    }
    symlink(root(), &checkout).map_err(|error| at(&checkout, error))?;
    run(cargo_command().args(&words.build).current_dir(&acme).env_remove("CARGO_TARGET_DIR"))?;
    Ok(acme.join(COMPONENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_finds_everything_in_the_readme() {
        let words = Words::of(include_str!("../../README.md")).unwrap();
        assert!(words.manifest.contains("crate-type = [\"cdylib\"]"), "{words:?}");
        assert!(words.manifest.contains("path = \"../wicketgate/plugins/sdk\""), "{words:?}");
        assert!(words.source.contains("export_provider! {"), "{words:?}");
        assert_eq!(words.build, ["build", "--release", "--target", TARGET]);
    }

    #[test]
    fn a_section_without_its_commands_is_none() {
        let readme = include_str!("../../README.md");
        assert_eq!(Words::of(&readme.replace("$ rustup target add", "$ rustup add")), None);
        assert_eq!(Words::of(&readme.replace("## Write a plugin", "## Plugins")), None);
    }
}
