use super::*;

const CONFIG: &str = "[provider.one]\ncomponent = \"builtin:local\"\nnamespaces = [\"a\"]\n\
                      [provider.one.command.c]\ncommand = \"c\"\n\
                      [provider.two]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"b\"]\n";

fn inspect(file: &str, config: Option<&str>, provider: Option<&str>, json: bool) -> (Result<Outcome, String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wicketgate.toml");
    let config = config.map(|text| {
        std::fs::write(&path, text).unwrap();
        path
    });
    let command = Command::Inspect(Inspect { file: file.into(), config, provider: provider.map(str::to_owned), json });
    let mut out = Vec::new();
    let outcome = command.run(|_| None, &mut out).map_err(|error| crate::config::chain(&error));
    (outcome, String::from_utf8(out).unwrap())
}

#[test]
fn a_plugin_is_explained_in_sentences() {
    let (outcome, page) = inspect("builtin:faas-provider", None, None, false);
    assert_eq!(outcome, Ok(Outcome::Fine));
    for expected in [
        "digest     sha256:",
        "manifest   faas-provider",
        "made with  wit-component",
        "scales functions",
        "sends HTTP requests through grants",
        "which grants it asks for",
        "here: nothing speaks against loading it",
    ] {
        assert!(page.contains(expected), "{expected:?} is not in\n{page}");
    }
}

#[test]
fn it_is_compared_with_the_provider_that_loads_it() {
    let (outcome, page) = inspect("builtin:faas-provider", Some(CONFIG), None, false);
    assert_eq!(outcome, Ok(Outcome::Fine));
    assert!(page.contains("for provider two"), "{page}");
    assert!(page.contains("missing  it asks for the grant provider"), "{page}");
    // A provider without commands cannot have a plugin that starts processes.
    let (outcome, page) = inspect("builtin:local", Some(CONFIG), Some("two"), false);
    assert_eq!(outcome, Ok(Outcome::Refused));
    assert!(page.contains("refused  it imports \"wicketgate:host/processes@0.1.0\""), "{page}");
    assert!(page.contains("[provider.two.command.NAME]"), "{page}");
}

#[test]
fn a_provider_that_is_not_clear_is_asked_for() {
    let config = CONFIG.replace("builtin:faas-provider", "builtin:local");
    let (outcome, _) = inspect("builtin:faas-provider", Some(&config), None, false);
    assert!(outcome.unwrap_err().contains("one, two"));
    let (outcome, _) = inspect("builtin:local", Some(CONFIG), Some("three"), false);
    assert_eq!(outcome, Err("there is no provider \"three\"; the configuration has one, two".into()));
}

#[test]
fn json_has_the_same_facts() {
    let (outcome, page) = inspect("builtin:local", Some(CONFIG), Some("two"), true);
    assert_eq!(outcome, Ok(Outcome::Refused));
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["manifest"]["name"], "local");
    assert_eq!(page["verdicts"][0]["provider"], "two");
    assert_eq!(page["verdicts"][0]["is_refused"], true);
    assert_eq!(page["verdicts"][0]["findings"][0]["weight"], "refused");
    assert!(page["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_error() {
    let (outcome, page) = inspect("/no/such.wasm", None, None, false);
    assert!(outcome.unwrap_err().starts_with("/no/such.wasm: cannot read"));
    assert_eq!(page, "");
}
