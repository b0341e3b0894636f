//! Compiling in a process of its own, and what is kept of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Gateway, GatewayBuilder, wait_until};
use crate::plugins::fixtures;

/// A provider with a component that takes the compiler a while: many functions, each of some hundred
/// instructions.
fn builder(engine: &str, component: &[u8]) -> GatewayBuilder {
    let config = format!("[engine]\n{engine}\n[provider.big]\ncomponent = \"big.wasm\"\nnamespaces = [\"big\"]\n");
    GatewayBuilder::new(&config).file("big.wasm", component)
}

fn large(functions: usize) -> Vec<u8> {
    let mut text = String::from("(component (core module\n");
    for number in 0..functions {
        writeln!(text, "(func (export \"f{number}\") (param i64 i64) (result i64) (local i64)").unwrap();
        for step in 0..100 {
            writeln!(text, "(local.set 2 (i64.add (i64.mul (local.get 0) (local.get 2)) (i64.const {step})))").unwrap();
            writeln!(text, "(local.set 0 (i64.xor (local.get 2) (i64.div_u (local.get 1) (i64.const {}))))", step + 1)
                .unwrap();
        }
        text.push_str("(local.get 0))\n");
    }
    text.push_str("))");
    wat::parse_str(&text).unwrap()
}

fn code_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("state/cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "code"))
        .collect();
    files.sort();
    files
}

#[test]
fn a_compiler_that_needs_too_much_is_ended_and_the_setting_is_named() {
    let component = large(4000);
    for (engine, says) in [
        ("compile-timeout = \"100ms\"", "engine.compile-timeout"),
        ("compile-memory = \"128MiB\"", "engine.compile-memory"),
        ("compile-cpu-time = \"1s\"", "engine.compile-cpu-time"),
    ] {
        let (status, said) = builder(engine, &component).run("serve");
        assert!(!status.success(), "{engine}");
        assert!(said.contains("step compiled") && said.contains(says), "{engine}:\n{said}");
    }
    // With its limits raised the same component is compiled, and refused for what it lacks.
    let (_, said) =
        builder("compile-cpu-time = \"10m\"\ncompile-timeout = \"10m\"\ncompile-memory = \"16GiB\"", &component)
            .run("serve");
    assert!(said.contains("step linked") && said.contains("service-query"), "{said}");
}

#[test]
fn a_wrong_component_is_refused_in_the_compilers_words() {
    // Valid as far as its first bytes say, and wrong inside.
    let mut component = fixtures::component("good");
    let middle = component.len() / 2;
    component[middle..].fill(0xff);
    let (status, said) = builder("", &component).run("serve");
    assert!(!status.success());
    assert!(said.contains("step ") && !said.contains("panicked"), "{said}");
}

#[test]
fn machine_code_that_was_tampered_with_is_compiled_again() {
    let config = "[log]\nlevel = \"debug\"\nformat = \"text\"\n[provider.good]\ncomponent = \"good.wasm\"\nnamespaces = [\"good\"]\n";
    let mut gateway: Gateway = GatewayBuilder::new(config).file("good.wasm", fixtures::component("good")).start();
    let status = |gateway: &Gateway| gateway.get("/system/function/figlet?namespace=good").json()["replicas"].clone();
    assert_eq!(status(&gateway), 2);
    let files = code_files(gateway.folder());
    assert_eq!(files.len(), 1);
    let whole = std::fs::read(&files[0]).unwrap();
    let again = |gateway: &mut Gateway| {
        gateway.kill();
        gateway.restart();
        assert_eq!(status(gateway), 2);
        gateway.output().text()
    };
    assert!(again(&mut gateway).contains("was_cached=true"), "what was kept is used");

    let mut tampered = whole.clone();
    *tampered.last_mut().unwrap() ^= 1;
    for (bytes, how) in [(tampered.as_slice(), "tampered with"), (&whole[..whole.len() / 2], "cut"), (&[], "empty")] {
        std::fs::write(&files[0], bytes).unwrap();
        let said = again(&mut gateway);
        assert!(said.contains("was_cached=false") && said.contains("compiling"), "{how}: {said}");
        assert_eq!(std::fs::read(&files[0]).unwrap().len(), whole.len(), "{how}: it is mended");
    }
    // Another host has another key.
    std::fs::remove_file(gateway.folder().join("state/cache/key")).unwrap();
    assert!(again(&mut gateway).contains("was not written by this host"));
}

#[test]
fn no_compiler_is_left_behind() {
    let gateway = GatewayBuilder::new("[provider.good]\ncomponent = \"good.wasm\"\nnamespaces = [\"good\"]\n")
        .file("good.wasm", fixtures::component("good"))
        .start();
    wait_until("no compiler is left", || {
        !gateway.descendants().iter().any(|(_, line)| line.contains("compile-plugin"))
    });
}

/// What is forbidden it, the unit tests of the sandbox say; here that it is before the first byte of a component
/// is read.
#[test]
fn a_compiler_is_confined_before_it_reads() {
    let mut compiler = Command::new(env!("CARGO_BIN_EXE_wicketgate"))
        .args(["compile-plugin", "2147483648", "60", "required"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = PathBuf::from(format!("/proc/{}", compiler.id()));
    let field = |name: &str| {
        let status = std::fs::read_to_string(folder.join("status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    wait_until("the filter is there", || field("Seccomp:").as_deref() == Some("2"));
    assert_eq!(field("NoNewPrivs:").as_deref(), Some("1"));
    assert_eq!(field("Threads:").as_deref(), Some("1"), "no thread began before the filter");
    let open = std::fs::read_dir(folder.join("fd")).unwrap();
    let sockets = open
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count();
    assert_eq!(sockets, 0);
    drop(compiler.stdin.take());
    let output = compiler.wait_with_output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("cannot forbid"), "{output:?}");
}
