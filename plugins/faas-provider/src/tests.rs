//! What is sent for each operation, and what becomes of the answers.

use std::time::Duration;

use wicketgate_sdk::http::{Failure, Request};
use wicketgate_sdk::testing::{Answer, now_ms, play_platform, set_config, take_requests};
use wicketgate_sdk::{
    About, Endpoints, ErrorKind, FunctionDeployment, FunctionResources, Functions, Health, LogRequest, Logs,
    NamespaceEntry, Namespaces, Provider, Scaling, Secret, Secrets, Target,
};

use crate::{FaasProvider, MANIFEST};

/// Answers every request alike.
fn always(status: u16, body: &str) {
    let answer = Answer::new(status, body);
    play_platform(move |_| Ok(answer.clone()));
}

/// The requests that were sent: method, URL, body.
fn sent() -> Vec<(&'static str, String, String)> {
    let text = |request: Request| (request.method, request.url, String::from_utf8_lossy(&request.body).into_owned());
    take_requests().into_iter().map(text).collect()
}

#[test]
fn the_manifest_is_json() {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["name"], "faas-provider");
    assert!(manifest["grants"]["provider"].is_string());
    assert_eq!(manifest["licence"], "Apache-2.0");
}

#[test]
fn replicas_are_read_with_the_namespace_in_the_query() {
    always(
        200,
        r#"{"name":"figlet","replicas":3,"availableReplicas":2,"labels":{"com.openfaas.scale.max":"9"},"annotations":null,"odd":[1]}"#,
    );
    let status = FaasProvider.get_replicas("figlet", "dev").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (3, 2));
    assert_eq!(status.labels, [("com.openfaas.scale.max".to_owned(), "9".to_owned())]);
    assert_eq!((status.min_replicas, status.max_replicas, status.scaling_factor), (None, None, None));
    let url = "http://provider/system/function/figlet?namespace=dev&usage=false";
    assert_eq!(sent(), [("GET", url.to_owned(), String::new())]);
}

#[test]
fn absent_numbers_are_zero() {
    always(200, r#"{"name":"figlet","image":"x"}"#);
    let status = FaasProvider.get_replicas("figlet", "dev").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (0, 0));
}

#[test]
fn each_status_has_its_kind() {
    let cases = [
        (404, ErrorKind::NotFound),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::Denied),
        (409, ErrorKind::Conflict),
        (400, ErrorKind::NotFound),
        (422, ErrorKind::Invalid),
        (501, ErrorKind::Unsupported),
        (500, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (504, ErrorKind::Timeout),
        (301, ErrorKind::Internal),
    ];
    for (status, kind) in cases {
        always(status, "the provider's words");
        let error = FaasProvider.get_replicas("figlet", "dev").unwrap_err();
        assert_eq!((error.kind, error.platform_status), (kind, Some(status)), "{status}");
        assert!(error.message.contains("figlet.dev") && error.message.contains("the provider's words"), "{error:?}");
    }
}

#[test]
fn a_platform_that_asks_for_patience_gets_it() {
    play_platform(|_| Ok(Answer::new(429, "slow down").with_header("Retry-After", "7")));
    let error = FaasProvider.set_replicas("figlet", "dev", 1).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(7000)));
}

#[test]
fn an_answer_that_is_no_json_is_internal() {
    always(200, "<html>");
    assert_eq!(FaasProvider.get_replicas("figlet", "dev").unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn scaling_names_function_and_namespace_in_query_and_body() {
    always(202, "");
    FaasProvider.set_replicas("figlet", "dev", 4).unwrap();
    let url = "http://provider/system/scale-function/figlet?namespace=dev";
    let body = r#"{"serviceName":"figlet","replicas":4,"namespace":"dev"}"#;
    assert_eq!(sent(), [("POST", url.to_owned(), body.to_owned())]);
}

#[test]
fn ensure_raises_and_never_lowers() {
    always(200, r#"{"name":"figlet","replicas":3}"#);
    assert_eq!(FaasProvider.ensure("figlet", "dev", 1, None).unwrap().replicas, 3);
    assert_eq!(sent().len(), 1);

    always(200, r#"{"name":"figlet"}"#);
    FaasProvider.ensure("figlet", "dev", 1, Some("ignored")).unwrap();
    let methods: Vec<&str> = sent().into_iter().map(|(method, _, _)| method).collect();
    assert_eq!(methods, ["GET", "POST", "GET"]);
}

#[test]
fn the_endpoint_is_the_provider_itself() {
    let endpoints = FaasProvider.resolve("figlet", "dev").unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].target, Target::Grant("provider".to_owned()));
    assert_eq!(endpoints[0].path_prefix, "/function/figlet.dev");
    assert!(take_requests().is_empty());
}

#[test]
fn a_deployment_travels_with_all_fields_that_it_has() {
    always(202, "");
    let deployment = FunctionDeployment {
        service: "figlet".to_owned(),
        namespace: "dev".to_owned(),
        image: "figlet:1".to_owned(),
        env_process: Some("figlet".to_owned()),
        labels: vec![("a".to_owned(), "b".to_owned())],
        limits: Some(FunctionResources {
            memory: Some("128Mi".to_owned()),
            cpu: None,
            extra: vec![("nvidia.com/gpu".to_owned(), "1".to_owned())],
        }),
        read_only_root_filesystem: true,
        ..FunctionDeployment::default()
    };
    FaasProvider.deploy_function(deployment).unwrap();
    let requests = sent();
    let (method, url, body) = &requests[0];
    assert_eq!((*method, url.as_str()), ("POST", "http://provider/system/functions?namespace=dev"));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let wanted = serde_json::json!({
        "service": "figlet", "namespace": "dev", "image": "figlet:1", "envProcess": "figlet", "labels": {"a": "b"},
        "limits": {"memory": "128Mi", "nvidia.com/gpu": "1"}, "readOnlyRootFilesystem": true,
    });
    assert_eq!(body, wanted);
}

#[test]
fn a_taken_name_already_exists_but_a_lost_race_is_a_conflict() {
    always(409, "exists");
    let deployment = FunctionDeployment { service: "figlet".to_owned(), ..FunctionDeployment::default() };
    assert_eq!(FaasProvider.deploy_function(deployment.clone()).unwrap_err().kind, ErrorKind::AlreadyExists);
    assert_eq!(FaasProvider.update_function(deployment).unwrap_err().kind, ErrorKind::Conflict);
}

#[test]
fn a_list_may_be_null_and_may_omit_the_namespace() {
    always(200, "null");
    assert!(FaasProvider.list_functions("dev", None, 10).unwrap().functions.is_empty());

    always(
        200,
        r#"[{"name":"b","createdAt":"2024-05-01T10:00:00Z"},{"name":"a","createdAt":"0001-01-01T00:00:00Z","usage":{"cpu":12.5}}]"#,
    );
    let page = FaasProvider.list_functions("dev", None, 1).unwrap();
    let first = &page.functions[0];
    assert_eq!((first.deployment.service.as_str(), first.deployment.namespace.as_str()), ("a", "dev"));
    assert_eq!((first.created_at_ms, first.usage.unwrap().cpu_millicores), (None, 12.5));
    let page = FaasProvider.list_functions("dev", page.next.as_deref(), 1).unwrap();
    assert_eq!((page.functions[0].created_at_ms, page.next), (Some(1_714_557_600_000), None));
}

#[test]
fn a_scaling_that_fails_with_500_is_told_from_an_absent_function() {
    for (there, kind) in [(404, ErrorKind::NotFound), (200, ErrorKind::Unavailable), (503, ErrorKind::Unavailable)] {
        play_platform(move |request| {
            Ok(if request.method == "POST" {
                Answer::new(500, "cannot scale")
            } else {
                Answer::new(there, r#"{"name":"figlet"}"#)
            })
        });
        let error = FaasProvider.set_replicas("figlet", "dev", 1).unwrap_err();
        assert_eq!(error.kind, kind, "{there}");
    }
}

#[test]
fn a_list_without_available_instances_is_completed_where_the_provider_is_faasd() {
    for (orchestration, available) in [("containerd", 2), ("kubernetes", 0)] {
        play_platform(move |request| {
            Ok(Answer::new(
                200,
                match request.url.as_str() {
                    "http://provider/system/info" => format!(r#"{{"orchestration":"{orchestration}"}}"#),
                    _list => r#"[{"name":"a","replicas":2},{"name":"b"}]"#.to_owned(),
                },
            ))
        });
        let page = FaasProvider.list_functions("dev", None, 10).unwrap();
        let counts: Vec<u64> = page.functions.iter().map(|function| function.available_replicas).collect();
        assert_eq!(counts, [available, 0], "{orchestration}");
        assert_eq!(sent().len(), 2);
    }
    always(200, r#"[{"name":"a","replicas":2,"availableReplicas":1},{"name":"b","replicas":1}]"#);
    let page = FaasProvider.list_functions("dev", None, 10).unwrap();
    assert_eq!(page.functions[1].available_replicas, 0, "a provider that says it of one says it of all");
    assert_eq!(sent().len(), 1);
}

#[test]
fn deleting_names_the_function_in_the_body() {
    always(202, "");
    FaasProvider.delete_function("figlet", "dev").unwrap();
    let body = r#"{"functionName":"figlet","namespace":"dev"}"#;
    assert_eq!(sent(), [("DELETE", "http://provider/system/functions?namespace=dev".to_owned(), body.to_owned())]);
}

#[test]
fn secrets_go_in_as_text_or_as_base64() {
    always(201, "");
    let secret = |value: &[u8]| Secret { name: "s".to_owned(), namespace: "dev".to_owned(), value: value.to_vec() };
    FaasProvider.create_secret(secret(b"text")).unwrap();
    FaasProvider.update_secret(secret(&[0xff])).unwrap();
    let bodies: Vec<String> = sent().into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(
        bodies,
        [r#"{"name":"s","namespace":"dev","value":"text"}"#, r#"{"name":"s","namespace":"dev","rawValue":"/w=="}"#]
    );
    always(200, r#"[{"name":"z","namespace":"dev"},{"name":"y"}]"#);
    assert_eq!(FaasProvider.list_secrets("dev", None, 10).unwrap().names, ["y", "z"]);
}

#[test]
fn namespaces_that_a_provider_does_not_have_are_unsupported() {
    always(404, "404 page not found");
    assert_eq!(FaasProvider.list_namespaces(None, 10).unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(FaasProvider.get_namespace("dev").unwrap_err().kind, ErrorKind::NotFound);
    always(200, r#"["openfaas-fn","dev"]"#);
    assert_eq!(FaasProvider.list_namespaces(None, 10).unwrap().names, ["dev", "openfaas-fn"]);
    let _before = take_requests();
    always(201, "");
    let labels = vec![("openfaas".to_owned(), "1".to_owned())];
    let entry = NamespaceEntry { name: "new".to_owned(), labels, annotations: Vec::new() };
    FaasProvider.create_namespace(entry).unwrap();
    let body = r#"{"name":"new","labels":{"openfaas":"1"}}"#;
    assert_eq!(sent(), [("POST", "http://provider/system/namespace/new".to_owned(), body.to_owned())]);
}

#[test]
fn about_and_health_ask_for_the_info() {
    always(200, r#"{"provider":"faasd-ce","version":{"sha":"abc","release":"0.19.7"},"orchestration":"containerd"}"#);
    let platform = FaasProvider.describe().unwrap();
    assert_eq!((platform.name.as_str(), platform.release.as_str()), ("faasd-ce", "0.19.7"));
    FaasProvider.check().unwrap();
    always(401, "invalid credentials");
    assert_eq!(FaasProvider.check().unwrap_err().kind, ErrorKind::Unauthenticated);
}

#[test]
fn health_refuses_a_config_that_nobody_reads() {
    always(200, "{}");
    set_config(r#"{"url":"http://faasd"}"#);
    let error = FaasProvider.check().unwrap_err();
    assert!(error.message.contains("url"), "{error:?}");
}

fn log_request(follow: bool) -> LogRequest {
    LogRequest {
        name: "figlet".to_owned(),
        namespace: "dev".to_owned(),
        tail: Some(5),
        follow,
        ..LogRequest::default()
    }
}

const LINES: &str = concat!(
    r#"{"name":"figlet","namespace":"dev","instance":"i","timestamp":"2024-05-01T10:00:00Z","text":"one\n"}"#,
    "\n",
    r#"{"name":"figlet","namespace":"dev","instance":"i","timestamp":"2024-05-01T10:00:00Z","text":"two"}"#,
    "\nnot json\n",
    r#"{"name":"figlet","namespace":"dev","instance":"i","timestamp":"2024-05-01T10:00:01Z","text":"three"}"#,
);

#[test]
fn logs_come_in_batches_without_gaps_or_repeats() {
    always(200, LINES);
    let mut texts = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let batch = FaasProvider.query_logs(log_request(false), cursor.as_deref(), 1, Duration::from_secs(1)).unwrap();
        texts.extend(batch.messages.into_iter().map(|message| message.text));
        match batch.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(texts, ["one", "two", "three"]);
    let urls: Vec<String> = sent().into_iter().map(|(_, url, _)| url).collect();
    assert_eq!(urls[0], "http://provider/system/logs?name=figlet&namespace=dev&tail=5&follow=false");
    assert!(urls[1].ends_with("&since=2024-05-01T10%3A00%3A00.000Z&follow=false"), "{}", urls[1]);
}

#[test]
fn following_in_silence_is_an_empty_batch_with_a_cursor() {
    play_platform(|_| Err(Failure { kind: ErrorKind::Timeout, text: "no answer in time".to_owned() }));
    let batch = FaasProvider.query_logs(log_request(true), Some("9.2"), 10, Duration::from_secs(1)).unwrap();
    assert_eq!((batch.messages.len(), batch.next.as_deref()), (0, Some("9.2")));
}

#[test]
fn a_provider_that_ends_a_followed_log_is_not_asked_in_a_rush() {
    always(200, "");
    let before = now_ms();
    let batch = FaasProvider.query_logs(log_request(true), None, 10, Duration::from_secs(1)).unwrap();
    assert!(batch.next.is_some());
    assert_eq!(now_ms() - before, 1000);
}

#[test]
fn a_foreign_cursor_is_expired() {
    let error = FaasProvider.query_logs(log_request(false), Some("x"), 10, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorExpired);
}
