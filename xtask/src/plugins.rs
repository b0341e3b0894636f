//! Builds the guests and turns them into components.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, cargo_command, has, in_ci, run, step};
use crate::{clang, debian, readme, root, target};

/// The bundled plugins, by the names of their components.
const BUNDLED: [&str; 6] = include!("../../plugins/bundled.rs");

/// The target of guests that are componentized here, so that they import exactly what they use.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may take to fetch a target.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Debian's Rust compiler for WebAssembly, with the sources of its library.
const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// Where Debian puts that compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The oldest compiler that the plugins are written for.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The sources of the library, where Debian's compiler looks for them.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";

/// The environment variable that demands a toolchain for guests: `rustup` or `debian`.
const SWITCH: &str = "WICKETGATE_TOOLCHAIN";

/// The compiler that can build guests.
#[derive(Clone, Copy)]
enum Toolchain {
    /// The one that builds everything else.
    Rustup,
    /// Debian's, which brings the sources of the library instead of the library.
    Debian,
}

/// The packages of the bundled plugins.
pub(crate) fn packages() -> [String; BUNDLED.len()] {
    BUNDLED.map(|name| format!("wicketgate-plugin-{name}"))
}

/// Builds the bundled plugins and, with `tests`, the guests in `tests/guests`. Answers what could not be
/// built for want of a toolchain; in CI that is an error.
pub(crate) fn build(tests: bool) -> Result<Vec<String>, String> {
    let toolchain = toolchain(TARGET)?;
    step("building the plugins");
    let packages = packages();
    compile(toolchain, &root().join("Cargo.toml"), TARGET, &packages)?;
    let output = target().join("plugins");
    for (name, package) in BUNDLED.iter().zip(&packages) {
        componentize(&module(TARGET, package), &output.join(format!("{name}.wasm")))?;
    }
    if tests { test_guests(toolchain, &output.join("tests")) } else { Ok(Vec::new()) }
}

/// The guests of the tests: those in C, the packages in `tests/guests`, and the plugin of the README. A package is
/// built as the bundled plugins are unless it has a file `targets` that names others, one a line; the component of the
/// second target is `NAME-TARGET.wasm`.
fn test_guests(toolchain: Toolchain, output: &Path) -> Result<Vec<String>, String> {
    step("building the tests' guests");
    let mut skipped = Vec::new();
    for source in entries("tests/c-guests")? {
        let Some(name) = source.file_stem().and_then(|name| name.to_str()) else { continue };
        let component = output.join(format!("{name}.wasm"));
        match clang::need() {
            Ok(()) => componentize(&clang::module(&source, &guests().join("c").join(name))?, &component)?,
            Err(missing) => skipped.push(skip(name, &missing, &component)?),
        }
    }
    for guest in entries("tests/guests")? {
        let Some(name) = guest.file_name().and_then(|name| name.to_str()) else { continue };
        let targets = fs::read_to_string(guest.join("targets")).unwrap_or_else(|_default| TARGET.to_owned());
        for (place, target) in targets.lines().enumerate() {
            let name = if place == 0 { name.to_owned() } else { format!("{name}-{target}") };
            let component = output.join(format!("{name}.wasm"));
            if let Some(missing) = test_guest(toolchain, &guest, target, &component)? {
                skipped.push(skip(&name, &missing, &component)?);
            }
        }
    }
    let component = output.join("readme.wasm");
    match self::toolchain(readme::TARGET) {
        Ok(_) => write_if_changed(&component, &read(&readme::build(&guests().join("readme"))?)?)?,
        Err(missing) => skipped.push(skip("readme", &missing, &component)?),
    }
    Ok(skipped)
}

/// What is in a folder of the checkout, in order.
fn entries(folder: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Builds one package of `tests/guests` for one target; answers what is missing for that, if something is.
fn test_guest(toolchain: Toolchain, guest: &Path, target: &str, component: &Path) -> Result<Option<String>, String> {
    let manifest = guest.join("Cargo.toml");
    let package = format!("wicketgate-guest-{}", guest.file_name().unwrap_or_default().to_string_lossy());
    let module = module(target, &package);
    if target == TARGET {
        compile(toolchain, &manifest, target, &[package])?;
        componentize(&module, component)?;
        return Ok(None);
    }
    // The linker of such a target makes the component, as third parties do it.
    let toolchain = match self::toolchain(target) {
        Ok(toolchain) => toolchain,
        Err(missing) => return Ok(Some(missing)),
    };
    compile(toolchain, &manifest, target, &[package])?;
    write_if_changed(component, &read(&module)?)?;
    Ok(None)
}

/// Says that a guest's toolchain is missing, and what follows; in CI that is an error at once.
fn skip(name: &str, missing: &str, component: &Path) -> Result<String, String> {
    // One of an earlier build would be tested in place of the source that is here now.
    let _absent = fs::remove_file(component);
    let said = format!("the guest {name} is not built, so its tests fail: {missing}");
    if in_ci() {
        return Err(said);
    }
    step(&format!("SKIPPED: {said}"));
    Ok(said)
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

fn compile(toolchain: Toolchain, manifest: &Path, target: &str, packages: &[String]) -> Task {
    let mut cargo = cargo_command();
    cargo.arg("build").args(["--profile", "plugin", "--target", target]);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(guests());
    for package in packages {
        cargo.arg("--package").arg(package);
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
        .and_then(|encoder| encoder.encode())
        .map_err(|error| failed(&format!("{error:#}")))?;
    write_if_changed(component, &bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// An unchanged file keeps its time, so that what is made of it is not built again.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Task {
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

/// The toolchain that the environment demands, if it does.
fn demanded() -> Result<Option<Toolchain>, String> {
    match std::env::var(SWITCH).ok().as_deref() {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Toolchain::Rustup)),
        Some("debian") => Ok(Some(Toolchain::Debian)),
        Some(other) => Err(format!("{SWITCH}={other:?}: write rustup or debian, or leave it out")),
    }
}

/// Finds or installs a compiler for guests: rustup's, else Debian's, or the one that is demanded.
fn toolchain(target: &str) -> Result<Toolchain, String> {
    let demanded = demanded()?;
    let by_rustup = match demanded {
        Some(Toolchain::Debian) => Err(format!("{SWITCH}=debian")),
        Some(Toolchain::Rustup) | None => rustup(target),
    };
    let Err(no_rustup) = by_rustup else { return Ok(Toolchain::Rustup) };
    if target != TARGET {
        return Err(format!(
            "the Rust target {target} is missing: {no_rustup}; Debian has nothing in its place, run `rustup target add {target}`"
        ));
    }
    let by_debian = match demanded {
        Some(Toolchain::Rustup) => Err(format!("{SWITCH}=rustup")),
        Some(Toolchain::Debian) | None => debian(),
    };
    by_debian.map(|()| Toolchain::Debian).map_err(|no_debian| {
        format!(
            "no compiler for {target}. Either `rustup target add {target}` ({no_rustup}), \
             or `apt-get install {}` ({no_debian})",
            DEBIAN.join(" ")
        )
    })
}

fn rustup(target: &str) -> Task {
    if has_library(target) {
        return Ok(());
    }
    if !has("rustup") {
        return Err("there is no rustup here".to_owned());
    }
    step(&format!("adding the Rust target {target} with rustup"));
    attempt(Command::new("rustup").args(["target", "add", target]).current_dir(root()), RUSTUP_LIMIT)
}

fn debian() -> Task {
    let is_there = || Path::new(DEBIAN_LIBRARY).is_dir() && has("wasm-ld-22");
    let said = || Command::new(DEBIAN_RUSTC).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    if is_there() && is_new_enough(&String::from_utf8_lossy(&said())) {
        return Ok(());
    }
    debian::install(&DEBIAN)?;
    let said = String::from_utf8_lossy(&said()).trim().to_owned();
    if is_new_enough(&said) {
        return Ok(());
    }
    Err(format!("{DEBIAN_RUSTC} is {said:?}, and plugins need {OLDEST}: newer ones are in Debian's security updates"))
}

/// Whether a compiler that says this of its version is one that the plugins can be built with.
fn is_new_enough(said: &str) -> bool {
    fn number(version: &str) -> Option<(u32, u32)> {
        let mut parts = version.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }
    let version = said.strip_prefix("rustc ").and_then(|rest| number(rest.split([' ', '-']).next()?));
    version.is_some() && version >= number(OLDEST)
}

/// Whether the compiler in use has the standard library of `target`.
pub(crate) fn has_library(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed =
        Command::new(rustc).args(["--print", "target-libdir", "--target", target]).current_dir(root()).output();
    printed.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_too_old_is_not_taken() {
        for good in
            ["rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", "rustc 1.95.0", "rustc 2.0.0-beta.1"]
        {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["rustc 1.85.0 (4d91de4e4 2025-02-17)", "rustc 1.9.0", "rustc", "", "no such file"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
