//! What is sent for each operation, and what becomes of the answers.

mod deploying;

use serde_json::{Value, json};
use wicketgate_sdk::http::Request;
use wicketgate_sdk::testing::{Answer, play_platform, set_config, take_requests};
use wicketgate_sdk::{
    About, Endpoints, ErrorKind, Functions, Health, NamespaceEntry, Namespaces, Provider, Scaling, Target,
};

use crate::{Ecs, MANIFEST};

/// The plugin with whatever `config` the test set.
fn ecs() -> Ecs {
    Ecs::open().unwrap()
}

/// Plays the API: answers each operation from its body.
fn play(answer: impl Fn(&str, &Value) -> (u16, Value) + 'static) {
    play_platform(move |request: &Request| {
        assert_eq!((request.method, request.url.as_str()), ("POST", "http://ecs/"));
        let field = |name: &str| request.headers.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(field("content-type"), "application/x-amz-json-1.1");
        let target = field("x-amz-target");
        let operation = target.strip_prefix("AmazonEC2ContainerServiceV20141113.").unwrap();
        let (status, body) = answer(operation, &serde_json::from_slice(&request.body).unwrap());
        Ok(Answer::new(status, body.to_string()))
    });
}

/// The operations that were called, with their bodies.
fn called() -> Vec<(String, Value)> {
    let read = |request: Request| {
        let target = &request.headers.iter().find(|(key, _)| key == "x-amz-target").unwrap().1;
        (target.rsplit('.').next().unwrap().to_owned(), serde_json::from_slice(&request.body).unwrap())
    };
    take_requests().into_iter().map(read).collect()
}

fn operations() -> Vec<String> {
    called().into_iter().map(|(operation, _)| operation).collect()
}

fn service(desired: u64, running: u64) -> Value {
    json!({
        "serviceArn": "arn:aws:ecs:eu-west-1:1:service/default/figlet", "serviceName": "figlet", "status": "ACTIVE",
        "desiredCount": desired, "runningCount": running, "pendingCount": 0, "createdAt": 1_714_557_600.25,
        "taskDefinition": "arn:aws:ecs:eu-west-1:1:task-definition/figlet:3", "events": [{"odd": 1}],
        "tags": [
            { "key": "wicketgate.function", "value": "figlet" }, { "key": "wicketgate.image", "value": "figlet:1" },
            { "key": "com.openfaas.scale.max", "value": "9" }, { "key": "wicketgate.annotation/note", "value": "x" },
        ],
    })
}

/// Answers every `DescribeServices` with this service, and everything else with an empty object.
fn always(service: Value) {
    play(move |operation, _| match operation {
        "DescribeServices" => (200, json!({ "services": [service], "failures": [] })),
        _ => (200, json!({})),
    });
}

#[test]
fn the_manifest_is_json() {
    let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["name"], "ecs");
    assert!(manifest["grants"]["ecs"].is_string() && manifest["config"]["clusters"].is_string());
}

#[test]
fn replicas_are_one_request_and_labels_are_tags() {
    always(service(3, 2));
    let status = ecs().get_replicas("figlet", "openfaas-fn").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (3, 2));
    assert_eq!(status.labels, [("com.openfaas.scale.max".to_owned(), "9".to_owned())]);
    assert_eq!(status.annotations, [("note".to_owned(), "x".to_owned())]);
    let body = json!({ "cluster": "default", "services": ["figlet"], "include": ["TAGS"] });
    assert_eq!(called(), [("DescribeServices".to_owned(), body)]);
}

#[test]
fn what_is_missing_inactive_or_no_function_is_not_found() {
    let not_found = || ecs().get_replicas("figlet", "openfaas-fn").unwrap_err().kind == ErrorKind::NotFound;
    play(|_, _| (200, json!({ "services": [], "failures": [{ "arn": "arn:figlet", "reason": "MISSING" }] })));
    assert!(not_found());
    for status in ["INACTIVE", "DRAINING"] {
        let mut gone = service(0, 0);
        gone["status"] = json!(status);
        always(gone);
        assert!(not_found(), "{status}");
    }
    let mut untagged = service(1, 1);
    untagged["tags"] = json!([{ "key": "team", "value": "a" }]);
    always(untagged);
    assert!(not_found());
    let _before = take_requests();
    assert_eq!(ecs().set_replicas("figlet", "openfaas-fn", 0).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(operations(), ["DescribeServices"], "what is no function is not scaled");
    set_config(r#"{"services":"all"}"#);
    assert_eq!(ecs().get_replicas("figlet", "openfaas-fn").unwrap().replicas, 1);
    let _before = take_requests();
    for (name, namespace) in [("a.b", "openfaas-fn"), ("", "openfaas-fn"), ("figlet", "dev")] {
        assert_eq!(ecs().get_replicas(name, namespace).unwrap_err().kind, ErrorKind::NotFound, "{name}.{namespace}");
    }
    assert!(take_requests().is_empty(), "what cannot be is not asked for");
}

#[test]
fn errors_are_told_apart_by_their_names() {
    for (status, name, kind) in [
        (400, "ServiceNotFoundException", ErrorKind::NotFound),
        (400, "ClusterNotFoundException", ErrorKind::Unavailable),
        (400, "AccessDeniedException", ErrorKind::Denied),
        (400, "com.amazonaws.ecs#ThrottlingException", ErrorKind::RateLimited),
        (403, "SignatureDoesNotMatch", ErrorKind::Unauthenticated),
        (400, "ExpiredTokenException", ErrorKind::Unauthenticated),
        (400, "InvalidParameterException", ErrorKind::Invalid),
        (500, "ServerException", ErrorKind::Unavailable),
        (403, "Unknown", ErrorKind::Denied),
        (503, "", ErrorKind::Unavailable),
        (302, "", ErrorKind::Internal),
    ] {
        let words = "the platform's words";
        play(move |_, _| match status {
            403 => (status, json!({ "__type": name, "Message": words })),
            _ => (status, json!({ "__type": name, "message": words, "Message": words })),
        });
        let error = ecs().get_replicas("figlet", "openfaas-fn").unwrap_err();
        assert_eq!((error.kind, error.platform_status), (kind, Some(status)), "{status} {name}");
        assert!(error.message.contains("the platform's words"), "{error:?}");
    }
    let xml = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>who</Message></Error></ErrorResponse>";
    play_platform(move |_| Ok(Answer::new(403, xml)));
    let error = ecs().get_replicas("figlet", "openfaas-fn").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.ends_with("who"), "{}", error.message);
    play_platform(|_| Ok(Answer::new(200, "<html>")));
    assert_eq!(ecs().get_replicas("figlet", "openfaas-fn").unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn a_reason_that_is_not_absence_is_an_error() {
    play(|_, _| (200, json!({ "services": [], "failures": [{ "arn": "a", "reason": "ACCESS" }] })));
    assert_eq!(ecs().get_replicas("figlet", "openfaas-fn").unwrap_err().kind, ErrorKind::Unavailable);
    // That it is there or missing is always told.
    play(|_, _| (200, json!({})));
    assert_eq!(ecs().get_replicas("figlet", "openfaas-fn").unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn scaling_sends_three_fields_and_nothing_when_it_is_so_already() {
    set_config(r#"{"clusters":{"openfaas-fn":"default","prod":"arn:aws:ecs:eu-west-1:1:cluster/p"}}"#);
    always(service(1, 1));
    ecs().set_replicas("figlet", "prod", 4).unwrap();
    let body = json!({ "cluster": "arn:aws:ecs:eu-west-1:1:cluster/p", "service": "figlet", "desiredCount": 4 });
    assert_eq!(called()[1], ("UpdateService".to_owned(), body));
    ecs().set_replicas("figlet", "prod", 1).unwrap();
    assert_eq!(operations(), ["DescribeServices"]);
    assert_eq!(ecs().set_replicas("figlet", "prod", 1 << 40).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn ensure_raises_and_never_lowers() {
    always(service(3, 3));
    assert_eq!(ecs().ensure("figlet", "openfaas-fn", 1, None).unwrap().replicas, 3);
    assert_eq!(operations(), ["DescribeServices"]);
    always(service(0, 0));
    let status = ecs().ensure("figlet", "openfaas-fn", 2, Some("ignored")).unwrap();
    assert_eq!((status.replicas, status.available_replicas), (2, 0));
    assert_eq!(operations(), ["DescribeServices", "UpdateService"]);
}

fn task(arn: &str, address: &str, changes: &Value) -> Value {
    let mut task = json!({
        "taskArn": arn, "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "healthStatus": "UNKNOWN",
        "group": "service:figlet", "containers": [{ "name": "figlet", "networkInterfaces": [] }],
        "attachments": [{ "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": [
            { "name": "subnetId", "value": "subnet-1" }, { "name": "privateIPv4Address", "value": address },
        ] }],
    });
    for (key, value) in changes.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

#[test]
fn endpoints_are_the_running_tasks_by_their_own_addresses() {
    play(|operation, body| match operation {
        "DescribeServices" => (200, json!({ "services": [service(9, 9)] })),
        "ListTasks" if body.get("nextToken").is_none() => {
            (200, json!({ "taskArns": ["t1", "t2"], "nextToken": "more" }))
        }
        "ListTasks" => (200, json!({ "taskArns": ["t3"] })),
        "DescribeTasks" if body["tasks"] == json!(["t1", "t2"]) => {
            let sick = task("t2", "10.0.0.2", &json!({ "healthStatus": "UNHEALTHY" }));
            (200, json!({ "tasks": [task("t1", "10.0.0.1", &json!({})), sick], "failures": [] }))
        }
        "DescribeTasks" => {
            let by_container = json!({ "attachments": [], "containers": [{ "networkInterfaces": [{ "privateIpv4Address": "10.0.0.3" }] }] });
            let tasks = [
                task("t3", "", &by_container),
                task("starting", "10.0.0.4", &json!({ "lastStatus": "PENDING" })),
                task("stopping", "10.0.0.5", &json!({ "desiredStatus": "STOPPED" })),
                task("other", "10.0.0.6", &json!({ "group": "service:other" })),
                task("named", "evil.example", &json!({})),
            ];
            (200, json!({ "tasks": tasks, "failures": [{ "arn": "t9", "reason": "MISSING" }] }))
        }
        other => panic!("{other}"),
    });
    let endpoints = ecs().resolve("figlet", "openfaas-fn").unwrap();
    let shown: Vec<_> =
        endpoints.iter().map(|endpoint| (endpoint.target.clone(), endpoint.instance.as_str())).collect();
    let authority = |text: &str| Target::Authority(text.to_owned());
    assert_eq!(shown, [(authority("10.0.0.1:8080"), "t1"), (authority("10.0.0.3:8080"), "t3")]);
    assert!(endpoints[0].ttl_ms <= 2000);
}

#[test]
fn a_service_may_have_its_own_port_and_an_operator_names_instead_of_addresses() {
    let mut own = service(1, 1);
    own["tags"].as_array_mut().unwrap().push(json!({ "key": "wicketgate.port", "value": "9000" }));
    play(move |operation, _| match operation {
        "DescribeServices" => (200, json!({ "services": [own] })),
        "ListTasks" => (200, json!({ "taskArns": ["t1"] })),
        _ => (200, json!({ "tasks": [task("t1", "10.0.0.1", &json!({}))] })),
    });
    let endpoints = ecs().resolve("figlet", "openfaas-fn").unwrap();
    assert_eq!(endpoints[0].target, Target::Authority("10.0.0.1:9000".to_owned()));
    let _before = take_requests();
    set_config(r#"{"address":"{service}.{namespace}.internal:80"}"#);
    let endpoints = ecs().resolve("figlet", "openfaas-fn").unwrap();
    assert_eq!(endpoints[0].target, Target::Authority("figlet.openfaas-fn.internal:80".to_owned()));
    assert!(take_requests().is_empty());
}

#[test]
fn a_list_is_the_platforms_pages_and_describes_ten_at_a_time() {
    play(|operation, body| match operation {
        "ListServices" => {
            assert_eq!((&body["maxResults"], &body["nextToken"]), (&json!(50), &json!("before")));
            let arns: Vec<String> = (0..12).map(|n| format!("arn:{n}")).collect();
            (200, json!({ "serviceArns": arns, "nextToken": "after" }))
        }
        _ => (200, json!({ "services": [service(1, 1), { "serviceName": "plain", "status": "ACTIVE" }] })),
    });
    let page = ecs().list_functions("openfaas-fn", Some("before"), 1000).unwrap();
    assert_eq!((page.functions.len(), page.next.as_deref()), (2, Some("after")));
    let shown = &page.functions[0];
    assert_eq!((shown.deployment.image.as_str(), shown.created_at_ms), ("figlet:1", Some(1_714_557_600_250)));
    assert_eq!(operations(), ["ListServices", "DescribeServices", "DescribeServices"]);
}

#[test]
fn one_function_shows_its_variables_where_they_may_be_read() {
    let definition = json!({ "taskDefinition": { "containerDefinitions": [
        { "name": "sidecar", "environment": [{ "name": "X", "value": "1" }] },
        { "name": "figlet", "environment": [{ "name": "fprocess", "value": "figlet -w" }, { "name": "A", "value": "1" }] },
    ] } });
    play(move |operation, _| match operation {
        "DescribeServices" => (200, json!({ "services": [service(1, 1)] })),
        _ => (200, definition.clone()),
    });
    let shown = ecs().get_function("figlet", "openfaas-fn", false).unwrap().deployment;
    assert_eq!(
        (shown.env_process.as_deref(), shown.env_vars),
        (Some("figlet -w"), vec![("A".to_owned(), "1".to_owned())])
    );
    play(|operation, _| match operation {
        "DescribeServices" => (200, json!({ "services": [service(1, 1)] })),
        _ => (400, json!({ "__type": "AccessDeniedException", "message": "no" })),
    });
    assert!(ecs().get_function("figlet", "openfaas-fn", false).unwrap().deployment.env_vars.is_empty());
}

#[test]
fn namespaces_are_the_operators_clusters() {
    set_config(r#"{"clusters":{"b":"x","a":"y","c":"z"}}"#);
    let page = ecs().list_namespaces(None, 2).unwrap();
    assert_eq!((page.names, page.next.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("b")));
    let page = ecs().list_namespaces(Some("b"), 2).unwrap();
    assert_eq!((page.names, page.next), (vec!["c".to_owned()], None));
    assert_eq!(ecs().get_namespace("a").unwrap().annotations, [("cluster".to_owned(), "y".to_owned())]);
    assert_eq!(ecs().get_namespace("d").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(ecs().create_namespace(NamespaceEntry::default()).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn health_asks_each_cluster_and_about_says_ecs() {
    set_config(r#"{"clusters":{"a":"x","b":"y"}}"#);
    play(|_, _| (200, json!({ "serviceArns": [] })));
    ecs().check().unwrap();
    let clusters: Vec<Value> = called().into_iter().map(|(_, body)| body["cluster"].clone()).collect();
    assert_eq!(clusters, [json!("x"), json!("y")]);
    assert_eq!(ecs().describe().unwrap().orchestration, "ecs");
    play(|_, _| (400, json!({ "__type": "ClusterNotFoundException", "message": "Cluster not found." })));
    assert_eq!(ecs().check().unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn a_config_that_cannot_be_is_refused() {
    for bad in [
        r#"{"clusters":{}}"#,
        r#"{"port":0}"#,
        r#"{"address":"figlet:80"}"#,
        r#"{"services":"some"}"#,
        r#"{"cluster":"x"}"#,
        r#"{"deploy":{"subnets":[]}}"#,
        r#"{"deploy":{"subnets":["s"],"launch-type":"EXTERNAL"}}"#,
        r#"{"deploy":{"subnets":["s"],"cpu":1024}}"#,
    ] {
        set_config(bad);
        assert!(Ecs::open().is_err(), "{bad}");
    }
}
