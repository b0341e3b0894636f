use wicketgate_sdk::{ErrorKind, FunctionResources, ProviderError};

use super::*;

fn refusal(deployment: FunctionDeployment) -> ProviderError {
    let error = local().deploy_function(deployment).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error:?}");
    error
}

#[test]
fn a_deployment_names_a_declared_command_and_runs_it() {
    let host = Host::play();
    let mut wanted = deployment("hello", "greet");
    wanted.env_vars = vec![pair("NAME", "you")];
    wanted.labels = vec![pair("com.openfaas.scale.max", "99"), pair("team", "a")];
    wanted.annotations = vec![pair("note", "x")];
    local().deploy_function(wanted).unwrap();
    assert_eq!(host.calls(), ["apply hello.openfaas-fn greet 1"]);
    assert_eq!(host.groups.borrow()["hello.openfaas-fn"].spec.env, [pair("NAME", "you")]);

    let status = local().get_function("hello", "openfaas-fn", true).unwrap();
    assert_eq!((status.replicas, status.available_replicas), (1, 1));
    assert_eq!(status.created_at_ms, Some(wicketgate_sdk::testing::now_ms()));
    let shown = status.deployment;
    assert_eq!((shown.image.as_str(), shown.env_process.as_deref()), ("greet", Some("sh -c echo hello $NAME")));
    assert_eq!(shown.env_vars, [pair("NAME", "you")]);
    assert_eq!(shown.labels, [pair("com.openfaas.scale.max", "4"), pair("team", "a")], "the operator's label wins");
    assert_eq!(shown.annotations, [pair("note", "x")]);
    assert_eq!(names("openfaas-fn"), ["hello", "wordcount"]);
}

#[test]
fn whatever_goes_beyond_the_declaration_is_refused_and_leaves_nothing() {
    let host = Host::play();
    let with = |change: fn(&mut FunctionDeployment)| {
        let mut wanted = deployment("hello", "greet");
        change(&mut wanted);
        refusal(wanted).message
    };
    assert!(with(|d| d.image = "busybox:latest".to_owned()).contains("there are: greet, wordcount"));
    assert!(with(|d| d.image = "sh".to_owned()).contains("no command"));
    assert!(with(|d| d.env_process = Some("sh -c 'rm -rf /'".to_owned())).contains("envProcess"));
    assert!(with(|d| d.env_process = Some("sh".to_owned())).contains("envProcess"));
    assert!(with(|d| d.env_vars = vec![pair("LD_PRELOAD", "/tmp/x")]).contains("LD_PRELOAD"));
    assert!(with(|d| d.env_vars = vec![pair("NAME", "a\0b")]).contains("zero byte"));
    assert!(with(|d| d.secrets = vec!["key".to_owned()]).contains("secret"));
    assert!(with(|d| d.constraints = vec!["node==a".to_owned()]).contains("constraint"));
    assert!(with(|d| d.read_only_root_filesystem = true).contains("readOnlyRootFilesystem"));
    assert!(with(|d| d.service = "../x".to_owned()).contains("letters"));
    assert!(with(|d| d.service = "n".repeat(250)).contains("252"));
    assert!(with(|d| d.annotations = vec![pair("a", &"x".repeat(70_000))]).contains("65536"));
    assert!(refusal(limited("65Mi")).message.contains("limits.memory of 68157440"));
    assert!(host.calls().is_empty());
    assert_eq!(names("openfaas-fn"), ["wordcount"]);
}

fn limited(memory: &str) -> FunctionDeployment {
    let limits = FunctionResources {
        memory: Some(memory.to_owned()),
        extra: vec![pair("open-files", "32")],
        ..FunctionResources::default()
    };
    FunctionDeployment { limits: Some(limits), ..deployment("hello", "greet") }
}

#[test]
fn limits_below_the_operators_are_kept_and_shown() {
    let host = Host::play();
    local().deploy_function(limited("32Mi")).unwrap();
    let limits = host.groups.borrow()["hello.openfaas-fn"].spec.limits;
    assert_eq!((limits.memory, limits.open_files, limits.processes), (Some(32 << 20), Some(32), None));
    let shown = local().get_function("hello", "openfaas-fn", false).unwrap().deployment.limits;
    assert_eq!(shown, limited("32Mi").limits);
    host.calls();
    local().update_function(limited("16Mi")).unwrap();
    assert_eq!(host.groups.borrow()["hello.openfaas-fn"].spec.limits.memory, Some(16 << 20));
}

#[test]
fn what_says_the_same_as_the_declaration_is_accepted() {
    let _host = Host::play();
    let mut wanted = deployment("count", "wordcount");
    wanted.env_process = Some("wc  -w".to_owned());
    wanted.limits = Some(FunctionResources::default());
    wanted.requests = Some(FunctionResources { memory: Some("1Mi".to_owned()), ..FunctionResources::default() });
    local().deploy_function(wanted).unwrap();
}

#[test]
fn a_second_deployment_of_a_name_exists_already() {
    let host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    host.calls();
    for taken in ["hello", "wordcount"] {
        let error = local().deploy_function(deployment(taken, "greet")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{taken}");
    }
    assert!(host.calls().is_empty());
}

#[test]
fn an_update_keeps_the_count_and_the_time_of_the_deployment() {
    let host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    local().set_replicas("hello", "openfaas-fn", 3).unwrap();
    let before = local().get_function("hello", "openfaas-fn", false).unwrap();
    wicketgate_sdk::testing::pass(std::time::Duration::from_secs(5));
    host.calls();
    local().update_function(deployment("hello", "wordcount")).unwrap();
    assert_eq!(host.calls(), ["apply hello.openfaas-fn wordcount 3"]);
    let after = local().get_function("hello", "openfaas-fn", false).unwrap();
    assert_eq!(after.created_at_ms, before.created_at_ms);
    assert_eq!(after.deployment.image, "wordcount");

    let absent = local().update_function(deployment("nobody", "greet")).unwrap_err();
    assert_eq!(absent.kind, ErrorKind::NotFound);
    let mut beyond = deployment("hello", "greet");
    beyond.env_vars = vec![pair("PATH", "/tmp")];
    assert_eq!(local().update_function(beyond).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(local().get_function("hello", "openfaas-fn", false).unwrap().deployment.image, "wordcount");
}

#[test]
fn a_deletion_ends_the_processes_and_forgets_the_function() {
    let host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    host.calls();
    local().delete_function("hello", "openfaas-fn").unwrap();
    assert_eq!(host.calls(), ["remove hello.openfaas-fn"]);
    assert_eq!(local().get_replicas("hello", "openfaas-fn").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(local().delete_function("hello", "openfaas-fn").unwrap_err().kind, ErrorKind::NotFound);
    local().deploy_function(deployment("hello", "greet")).unwrap();
}

#[test]
fn what_the_operator_declared_is_changed_by_the_operator() {
    let host = Host::play();
    local().ensure_one();
    host.calls();
    let error = local().delete_function("wordcount", "openfaas-fn").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("deployed = false"), "{}", error.message);
    let error = local().update_function(deployment("wordcount", "greet")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(host.calls().is_empty());
}

#[test]
fn a_deployment_whose_command_was_taken_away_is_there_and_cannot_start() {
    let host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    host.groups.take();
    host.commands.borrow_mut().retain(|command| command.name != "greet");
    assert_eq!(local().get_replicas("hello", "openfaas-fn").unwrap().replicas, 0);
    assert_eq!(names("openfaas-fn"), ["hello", "wordcount"]);
    assert_eq!(local().set_replicas("hello", "openfaas-fn", 1).unwrap_err().kind, ErrorKind::Invalid);
    local().delete_function("hello", "openfaas-fn").unwrap();
}

#[test]
fn pages_cover_all_functions_once() {
    let _host = Host::play();
    for name in ["d", "b", "a-b", "a", "z"] {
        local().deploy_function(deployment(name, "greet")).unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = local().list_functions("openfaas-fn", cursor.as_deref(), 2).unwrap();
        seen.extend(page.functions.into_iter().map(|function| function.deployment.service));
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    assert_eq!(seen, ["a", "a-b", "b", "d", "wordcount", "z"]);
    assert_eq!(local().list_functions("dev", None, 2).unwrap_err().kind, ErrorKind::NotFound);
}

impl Local {
    fn ensure_one(&self) {
        wicketgate_sdk::Scaling::ensure(self, "wordcount", "openfaas-fn", 1, None).unwrap();
    }
}
