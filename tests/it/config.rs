//! Bad configurations end at once, with every mistake and its right form.

use crate::harness::{GatewayBuilder, Platform, faas_provider};

const BAD: &str = r#"
auth = "yes"
[scaling]
scale-timeout = "soon"
waitin = 3
[provider.one]
component = "builtin:nothing"
namespaces = ["dev", "a b"]
[provider.one.limits]
memory = "lots"
[provider.one.grant.api]
connect = "ftp://example"
[provider.two]
component = "missing.wasm"
namespaces = ["stage"]
[provider.three]
component = "builtin:faas-provider"
namespaces = ["prod"]
[provider.four]
component = "builtin:faas-provider"
namespaces = ["prod"]
"#;

#[test]
fn every_mistake_is_listed_at_once_and_the_status_is_64() {
    for command in ["check", "serve"] {
        let (status, said) = GatewayBuilder::new(BAD).run(command);
        assert_eq!(status.code(), Some(64), "{said}");
        for expected in [
            "auth",
            "scale-timeout",
            "soon",
            "waitin",
            "builtin:nothing",
            "a b",
            "memory",
            "lots",
            "connect",
            "missing.wasm",
            "claimed",
        ] {
            assert!(said.contains(expected), "{expected:?} is not in\n{said}");
        }
        // Each with its place.
        assert!(said.matches("line ").count() >= 8, "{said}");
    }
}

#[test]
fn what_is_no_toml_is_said_with_its_place() {
    let (status, said) = GatewayBuilder::new("[provider.one\n").run("check");
    assert_eq!(status.code(), Some(64));
    assert!(said.contains("line "), "{said}");
}

#[test]
fn a_good_configuration_passes_the_check_without_starting_anything() {
    let platform = Platform::start();
    let (status, said) = GatewayBuilder::new(&faas_provider(&platform, "", "")).run("check");
    assert!(status.success(), "{said}");
    assert!(platform.log().is_empty());
}

#[test]
fn credentials_that_cannot_be_read_are_a_mistake_of_the_configuration() {
    let platform = Platform::start();
    let config = format!(
        "auth.basic = {{ user-file = \"none\", password-file = \"none\" }}\n{}",
        faas_provider(&platform, "", "")
    );
    let (status, said) = GatewayBuilder::new(&config).run("check");
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("none"), "{said}");
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_a_sentence() {
    let platform = Platform::start();
    let config = faas_provider(&platform, "", "");
    let first = GatewayBuilder::new(&config).start();
    let builder = GatewayBuilder::new(&config).listening_on(first.address());
    let (status, said) = builder.run("serve");
    assert!(!status.success());
    assert!(said.contains(first.address()), "{said}");
}

/// The configurations that `docs/providers` offers, but for those that read a cluster's own description.
#[test]
fn the_ready_configurations_have_no_mistakes() {
    for file in ["docker.toml", "docker-swarm.toml", "ecs.toml", "faas-provider.toml", "local.toml", "nomad.toml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers").join(file);
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_wicketgate"));
        let output = check.arg("check").arg("--config").arg(&path).output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
