//! Builds the guests and turns them into components.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, cargo_command, has, run, step};
use crate::{debian, root, target};

/// The bundled plugins: package and name of the component.
const BUNDLED: [(&str, &str); 6] = [
    ("wicketgate-plugin-docker", "docker"),
    ("wicketgate-plugin-ecs", "ecs"),
    ("wicketgate-plugin-faas-provider", "faas-provider"),
    ("wicketgate-plugin-kubernetes", "kubernetes"),
    ("wicketgate-plugin-local", "local"),
    ("wicketgate-plugin-nomad", "nomad"),
];

/// The target of guests that are componentized here, so that they import exactly what they use.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The target of a guest that is built the way a third party does it: without the SDK.
const WASIP2: &str = "wasm32-wasip2";

/// How long rustup may take to fetch a target.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Debian's Rust compiler for WebAssembly, with the sources of its library.
const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// Where Debian puts that compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The compiler that can build guests.
enum Toolchain {
    /// The one that builds everything else.
    Rustup,
    /// Debian's, which brings the sources of the library instead of the library.
    Debian,
}

/// Builds the bundled plugins and, with `tests`, the guests in `tests/guests`.
pub(crate) fn build(tests: bool) -> Task {
    let toolchain = toolchain(TARGET)?;
    step("building the plugins");
    let packages: Vec<&str> = BUNDLED.iter().map(|(package, _name)| *package).collect();
    compile(&toolchain, &root().join("Cargo.toml"), TARGET, &packages)?;
    let output = target().join("plugins");
    for (package, name) in BUNDLED {
        componentize(&module(TARGET, package), &output.join(format!("{name}.wasm")))?;
    }
    if tests { test_guests(&toolchain, &output.join("tests")) } else { Ok(()) }
}

/// The guests of the tests: a folder is a package; one with a file `wasip2` in it is built for that
/// target as it is, the others as the bundled plugins are.
fn test_guests(toolchain: &Toolchain, output: &Path) -> Task {
    let folder = root().join("tests/guests");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    let mut guests: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").is_file()).collect();
    guests.sort();
    step("building the tests' guests");
    for guest in guests {
        let Some(name) = guest.file_name().and_then(|name| name.to_str()) else { continue };
        let package = format!("wicketgate-guest-{name}");
        let component = output.join(format!("{name}.wasm"));
        if guest.join("wasip2").is_file() {
            if let Err(missing) = self::toolchain(WASIP2) {
                // A machine with Debian's compiler only: the guest's tests then say that they did not run.
                step(&format!("SKIPPED: the guest {name}: {missing}"));
                let _absent = fs::remove_file(&component);
                continue;
            }
            compile(&Toolchain::Rustup, &guest.join("Cargo.toml"), WASIP2, &[&package])?;
            write_if_changed(&component, &read(&module(WASIP2, &package))?)?;
        } else {
            compile(toolchain, &guest.join("Cargo.toml"), TARGET, &[&package])?;
            componentize(&module(TARGET, &package), &component)?;
        }
    }
    Ok(())
}

/// Where cargo leaves a guest's module. Guests have a folder of their own under the target folder, so
/// that building them never waits for, or undoes, a build of the gateway.
fn module(target: &str, package: &str) -> PathBuf {
    guests().join(target).join("plugin").join(format!("{}.wasm", package.replace('-', "_")))
}

/// The folder that guests are built in.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

fn compile(toolchain: &Toolchain, manifest: &Path, target: &str, packages: &[&str]) -> Task {
    let mut cargo = cargo_command();
    cargo.arg("build").arg("--quiet").args(["--profile", "plugin", "--target", target]);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(guests());
    for package in packages {
        cargo.args(["--package", package]);
    }
    if matches!(toolchain, Toolchain::Debian) {
        cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
    }
    run(&mut cargo)
}

fn componentize(module: &Path, component: &Path) -> Task {
    let failed = |error: &dyn std::fmt::Display| format!("{}: not a component: {error}", module.display());
    let bytes = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&read(module)?)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| failed(&format!("{error:#}")))?;
    write_if_changed(component, &bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// An unchanged component keeps its time, so that the gateway that embeds it is not built again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Task {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    step(&format!("{} ({} KB)", path.display(), bytes.len() / 1000));
    Ok(())
}

/// Finds or installs a compiler for guests.
fn toolchain(target: &str) -> Result<Toolchain, String> {
    if has_library(target) {
        return Ok(Toolchain::Rustup);
    }
    let by_rustup = if has("rustup") {
        step(&format!("adding the Rust target {target} with rustup"));
        attempt(Command::new("rustup").args(["target", "add", target]).current_dir(root()), RUSTUP_LIMIT)
    } else {
        Err("there is no rustup here".to_owned())
    };
    let Err(no_rustup) = by_rustup else { return Ok(Toolchain::Rustup) };
    if target != TARGET {
        return Err(format!("the Rust target {target} is missing: {no_rustup}; run `rustup target add {target}`"));
    }
    if Path::new("/usr/lib/rustlib/src/rust/library").is_dir() && has("wasm-ld-22") {
        return Ok(Toolchain::Debian);
    }
    debian::install(&DEBIAN).map(|()| Toolchain::Debian).map_err(|no_debian| {
        format!(
            "no compiler for {target}. Either `rustup target add {target}` ({no_rustup}), \
             or `apt-get install {}` ({no_debian})",
            DEBIAN.join(" ")
        )
    })
}

/// Whether the compiler in use has the standard library of `target`.
pub(crate) fn has_library(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed =
        Command::new(rustc).args(["--print", "target-libdir", "--target", target]).current_dir(root()).output();
    printed.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
