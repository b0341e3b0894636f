//! A guest in C: bindings generated from `wit/`, clang and wasi-libc from Debian, and nothing of our SDK.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::{Files, wit_parser};

use crate::command::{Task, has, run};
use crate::{debian, root};

/// The world that the bindings are generated for.
const WORLD: &str = "provider";

/// clang's name of the target that wasi-libc is built for.
const TARGET: &str = "wasm32-wasi";

/// Where wasi-libc's headers and library are, below `include/wasm32-wasi` and `lib/wasm32-wasi`.
const SYSROOT: &str = "/usr";

/// The compiler, its linker, its own library and the C library, as Debian names them.
const PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-dev-wasm32"];

/// Makes sure that C can be compiled to WebAssembly here.
pub(crate) fn need() -> Task {
    let libc = Path::new(SYSROOT).join("include").join(TARGET).join("stdlib.h");
    if has("clang") && has("wasm-ld") && libc.is_file() {
        return Ok(());
    }
    debian::install(&PACKAGES).map_err(|error| format!("clang for {TARGET} is missing: {error}"))
}

/// Compiles `source` with generated bindings, which are written to `output`, and answers where the module is.
pub(crate) fn module(source: &Path, output: &Path) -> Result<PathBuf, String> {
    let bindings = bindings(output)?;
    let module = output.join("guest.wasm");
    let mut clang = Command::new("clang");
    clang.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Os", "-mexec-model=reactor", "-target", TARGET]);
    clang.arg(format!("--sysroot={SYSROOT}")).arg("-I").arg(output).arg("-o").arg(&module).arg(source).args(bindings);
    run(&mut clang)?;
    Ok(module)
}

/// Generates the bindings and answers which of their files are compiled or linked.
fn bindings(output: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the C bindings of wit/: {error:#}");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _sources) = resolve.push_dir(root().join("wit")).map_err(|error| failed(&error))?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| failed(&error))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).map_err(|error| failed(&error))?;
    fs::create_dir_all(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let mut linked = Vec::new();
    for (name, bytes) in files.iter() {
        let path = output.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        if path.extension().is_some_and(|extension| extension == "c" || extension == "o") {
            linked.push(path);
        }
    }
    Ok(linked)
}
