//! Bad configurations end at once, with every mistake and its right form.

use std::os::unix::fs::PermissionsExt as _;

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

/// A file of a secret that everybody on the machine can read, in a grant and as the gateway's own credential.
#[test]
fn a_secret_that_everybody_can_read_ends_the_start_with_what_to_run() {
    let platform = Platform::with_credentials("admin", "secret");
    let basic = "basic = { user-file = \"user\", password-file = \"password\" }";
    let provider = faas_provider(&platform, &format!("auth.{basic}"), "");
    let own = format!("auth.{basic}\n{}", faas_provider(&platform, "", ""));
    for config in [provider, own] {
        let builder = GatewayBuilder::new(&config).file("user", "admin").file("password", "secret");
        let password = builder.folder().join("password");
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
        let checked = builder.clone().run("check");
        for (status, said) in [checked, builder.run("serve")] {
            assert_eq!(status.code(), Some(64), "{said}");
            assert!(said.contains("line ") && said.contains("auth.basic.password-file"), "{said}");
            assert!(said.contains(&format!("chmod o-rwx {}", password.display())), "{said}");
        }
    }
}

/// A cluster and a user, as a kubeconfig file has them.
const KUBECONFIG: &str = "current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: 'https://127.0.0.1:6443'}}]
users: [{name: a, user: {token: abc}}]
";

/// What the files are that the ready configurations name.
fn stand_in(name: &str) -> &'static str {
    match name {
        "kubeconfig" => KUBECONFIG,
        "aws-credentials" => "[default]\naws_access_key_id = a\naws_secret_access_key = b\n",
        _ => "secret",
    }
}

/// The configurations that `docs/providers` offers, with the files that they name. `kubernetes-in-cluster.toml`
/// is read in a pod only: outside of one that is its one mistake.
#[test]
fn the_ready_configurations_have_no_mistakes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if !file.ends_with(".toml") {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        for place in ["/run/secrets", "/etc/wicketgate"] {
            for name in names_below(&text, place) {
                let secret = home.path().join(&name);
                std::fs::write(&secret, stand_in(&name)).unwrap();
                std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            text = text.replace(place, home.path().to_str().unwrap());
        }
        let config = home.path().join(file);
        std::fs::write(&config, text).unwrap();
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_wicketgate"));
        check.env_remove("KUBERNETES_SERVICE_HOST").arg("check").arg("--config").arg(&config);
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if file == "kubernetes-in-cluster.toml" {
            assert!(said.contains("one mistake") && said.contains("this is no pod"), "{file}: {said}");
        } else {
            assert!(output.status.success(), "{file}: {said}");
        }
        checked += 1;
    }
    assert!(checked >= 8, "{checked} of them");
}

/// The names of the files that `text` names in a folder.
fn names_below(text: &str, folder: &str) -> Vec<String> {
    let start = format!("{folder}/");
    let parts = text.split(&start).skip(1);
    parts.map(|rest| rest.split(['"', '#', ' ']).next().unwrap().to_owned()).collect()
}
