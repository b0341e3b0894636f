//! Deploying, changing, listing and deleting functions.

use serde_json::{Value, json};
use wicketgate_sdk::testing::{Answer, play_platform, take_requests};
use wicketgate_sdk::{ErrorKind, FunctionDeployment, FunctionResources, Functions};

use super::{always, kubernetes, play, recording, sent};

/// What the recording's client deployed.
fn figlet() -> FunctionDeployment {
    FunctionDeployment {
        service: "figlet".to_owned(),
        namespace: "fns".to_owned(),
        image: "registry.example.com/functions/figlet:1.0".to_owned(),
        env_process: Some("figlet".to_owned()),
        labels: vec![("com.openfaas.scale.max".to_owned(), "5".to_owned())],
        annotations: vec![("prometheus.io.scrape".to_owned(), "false".to_owned())],
        ..FunctionDeployment::default()
    }
}

/// The body that is applied for it.
fn applied() -> Value {
    let labels = json!({ "faas_function": "figlet", "com.openfaas.scale.max": "5" });
    let annotations = json!({ "prometheus.io.scrape": "false" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "figlet", "namespace": "fns", "labels": labels, "annotations": annotations },
        "spec": {
            "selector": { "matchLabels": { "faas_function": "figlet" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "containers": [{
                        "name": "figlet",
                        "image": "registry.example.com/functions/figlet:1.0",
                        "ports": [{ "name": "http", "containerPort": 8080 }],
                        "env": [{ "name": "fprocess", "value": "figlet" }],
                        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": false },
                        "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
                    }],
                },
            },
        },
    })
}

#[test]
fn a_deploy_applies_a_deployment_and_a_service() {
    // The service's body is the recorded one to the letter; the deployment's was YAML with other fields.
    let absent = recording("delete").only(&["background: gone at once"]);
    let script = absent.then(
        recording("create-apply")
            .only(&["deployment, yaml", "service, json body"])
            .with_body("deployment, yaml", applied()),
    );
    play(script);
    kubernetes().deploy_function(figlet()).unwrap();
    assert_eq!(sent(), 3);
}

#[test]
fn a_deployment_without_its_service_is_removed_again() {
    let (mut asked, mut has_failed) = (0, false);
    play_platform(move |request| {
        asked += 1;
        let not_there =
            r#"{"kind":"Status","status":"Failure","reason":"NotFound","details":{"name":"figlet"},"code":404}"#;
        let made = r#"{"kind":"Deployment","metadata":{"name":"figlet","uid":"u-1"}}"#;
        Ok(match (request.method, request.url.contains("/services/")) {
            ("GET", _) => Answer::new(404, not_there),
            ("PATCH", false) => Answer::new(201, made),
            ("PATCH", true) => {
                has_failed = true;
                Answer::new(503, "busy")
            }
            ("DELETE", false) if has_failed => {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(body["preconditions"]["uid"], "u-1", "only what was just made");
                Answer::new(200, r#"{"kind":"Status","status":"Success"}"#)
            }
            other => panic!("{other:?} as request {asked}"),
        })
    });
    let error = kubernetes().deploy_function(figlet()).unwrap_err();
    assert_eq!((error.kind, sent()), (ErrorKind::Unavailable, 4));
}

#[test]
fn what_is_there_is_not_deployed_over() {
    play(recording("scale-zero-to-three-to-zero").only(&["deployment at zero"]));
    let echo = FunctionDeployment { service: "echo".to_owned(), ..figlet() };
    let error = kubernetes().deploy_function(echo.clone()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    play(recording("delete").only(&["still there"]));
    let error = kubernetes().deploy_function(echo).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert!(error.message.contains("being deleted"), "{error:?}");
}

#[test]
fn an_update_takes_over_the_functions_fields_and_leaves_its_count() {
    let there = recording("update-apply").only(&["read for put"]);
    let uid = "0bad6921-4bb2-4be9-9a56-b18d94fd50ed";
    let mut body = applied();
    body["metadata"]["uid"] = json!(uid);
    let forced = recording("update-apply").only(&["other manager forces"]).with_body("other manager forces", body);
    let forced = forced.with_query("other manager forces", "fieldManager", "gateway");
    play(there.then(forced).then(recording("create-apply").only(&["service, json body"])));
    kubernetes().update_function(figlet()).unwrap();
    let requests = take_requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| !String::from_utf8_lossy(&request.body).contains("replicas")));
}

#[test]
fn an_update_of_nothing_is_not_found_and_changes_nothing() {
    play(recording("delete").only(&["background: gone at once"]));
    assert_eq!(kubernetes().update_function(figlet()).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(sent(), 1);
}

#[test]
fn a_service_of_somebody_else_is_not_taken_over() {
    let mut answers = vec![
        // The Deployment goes again.
        (200, r#"{"kind":"Status","status":"Success"}"#),
        (200, r#"{"metadata":{"name":"figlet","labels":{"app":"shop"}}}"#),
        (409, r#"{"kind":"Status","reason":"Conflict","message":"Apply failed with 1 conflict"}"#),
        (201, r#"{"metadata":{"name":"figlet","uid":"u-1"}}"#),
        (404, r#"{"kind":"Status","reason":"NotFound","details":{"name":"figlet"}}"#),
    ];
    play_platform(move |_| {
        let (status, body) = answers.pop().unwrap();
        Ok(Answer::new(status, body))
    });
    let error = kubernetes().deploy_function(figlet()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
    assert!(error.message.contains("Service"), "{error:?}");
    assert!(take_requests().iter().all(|request| !request.url.contains("force")));
}

#[test]
fn every_wish_of_a_deployment_has_its_place() {
    let mut wish = figlet();
    wish.env_vars = vec![("mode".to_owned(), "fast".to_owned()), ("fprocess".to_owned(), "other".to_owned())];
    wish.secrets = vec!["api-key".to_owned()];
    wish.constraints = vec!["kubernetes.io/arch == arm64".to_owned(), "zone=a".to_owned()];
    wish.limits = Some(FunctionResources { memory: Some("64Mi".to_owned()), ..FunctionResources::default() });
    wish.read_only_root_filesystem = true;
    wish.image.clear();
    let absent = recording("delete").only(&["background: gone at once"]);
    let mut pod = applied()["spec"]["template"]["spec"].clone();
    pod["nodeSelector"] = json!({ "kubernetes.io/arch": "arm64", "zone": "a" });
    pod["volumes"] = json!([
        { "name": "function-secrets", "projected": { "sources": [{ "secret": { "name": "api-key" } }] } },
        { "name": "temp", "emptyDir": {} },
    ]);
    let own = &mut pod["containers"][0];
    own["image"] = json!("");
    own["env"] = json!([{ "name": "fprocess", "value": "figlet" }, { "name": "mode", "value": "fast" }]);
    own["securityContext"]["readOnlyRootFilesystem"] = json!(true);
    own["resources"] = json!({ "limits": { "memory": "64Mi" } });
    own["volumeMounts"] = json!([
        { "name": "function-secrets", "mountPath": "/var/openfaas/secrets", "readOnly": true },
        { "name": "temp", "mountPath": "/tmp" },
    ]);
    let mut body = applied();
    body["spec"]["template"]["spec"] = pod;
    let apply = recording("create-apply").only(&["deployment, yaml", "service, json body"]);
    play(absent.then(apply.with_body("deployment, yaml", body)));
    kubernetes().deploy_function(wish.clone()).unwrap();

    play(recording("delete").only(&["background: gone at once"]));
    wish.constraints = vec!["zone != a".to_owned()];
    let error = kubernetes().deploy_function(wish).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("zone != a"), "{error:?}");
}

#[test]
fn a_deletion_takes_exactly_what_was_read_and_its_service() {
    let uid = "26bbbfd3-644c-40d4-a4ad-413f02563ad7";
    let there = format!(r#"{{"metadata":{{"name":"figlet","uid":"{uid}","labels":{{"faas_function":"figlet"}}}}}}"#);
    always(200, &there);
    kubernetes().delete_function("figlet", "fns").unwrap();
    let sent: Vec<String> = take_requests()
        .into_iter()
        .map(|request| format!("{} {}", request.method, request.url.rsplit("/fns/").next().unwrap()))
        .collect();
    assert_eq!(
        sent,
        ["GET deployments/figlet", "DELETE deployments/figlet", "GET services/figlet", "DELETE services/figlet"]
    );
    // As it was recorded, but for the policy in the body.
    let body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": { "uid": "0bad6921-4bb2-4be9-9a56-b18d94fd50ed" } });
    let gone = recording("update-apply").only(&["read for put"]);
    let gone =
        gone.then(recording("delete").only(&["precondition uid equal"]).with_body("precondition uid equal", body));
    let no_service = recording("not-found").only(&["create in absent namespace, admin"]);
    play(gone.then(
        no_service.turned_into_read("create in absent namespace, admin", "/api/v1/namespaces/fns/services/figlet"),
    ));
    kubernetes().delete_function("figlet", "fns").unwrap();
}

#[test]
fn a_list_comes_in_the_platforms_pages_and_survives_an_expired_one() {
    play(recording("list-paging"));
    let (mut cursor, mut names) = (None, Vec::new());
    loop {
        let page = kubernetes().list_functions("fns", cursor.as_deref(), 10).unwrap();
        names.extend(page.functions.into_iter().map(|function| function.deployment.service));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((names.len(), names[0].as_str(), names[24].as_str(), sent()), (25, "echo-00", "echo-24", 3));

    let (expired, again) = ("list page 2, continue expired", "list page 2 with the continue of the error");
    let script = recording("watch-too-old").only(&[expired, again]);
    let script = script.with_query(expired, "labelSelector", "faas_function");
    play(script.with_query(again, "labelSelector", "faas_function"));
    let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTMyNiwic3RhcnQiOiJlY2hvLTBcdTAwMDAifQ";
    let page = kubernetes().list_functions("fns", Some(token), 2).unwrap();
    assert_eq!((page.functions.len(), page.functions[0].deployment.service.as_str(), sent()), (2, "echo-1", 2));
}

#[test]
fn a_function_that_openfaas_deployed_is_shown_whole() {
    play(recording("scale-zero-to-three-to-zero").only(&["deployment, three ready"]));
    let function = kubernetes().get_function("echo", "fns", true).unwrap();
    let deployment = function.deployment;
    assert_eq!((function.replicas, function.available_replicas), (3, 3));
    assert!(deployment.image.starts_with("registry.example.com/"), "{}", deployment.image);
    assert_eq!(deployment.env_process.as_deref(), Some("cat"));
    assert_eq!(deployment.limits.unwrap().memory.as_deref(), Some("64Mi"));
    assert!(deployment.labels.contains(&("faas_function".to_owned(), "echo".to_owned())));
    assert!(function.created_at_ms.is_some());
}
