//! What deployments, updates and deletions become.

use wicketgate_sdk::{FunctionDeployment, FunctionResources};

use super::*;

const DEPLOY: &str = r#"{"deploy":{"subnets":["subnet-1"],"security-groups":["sg-1"],"execution-role":"arn:e","cpu-max":512,"memory-max":1024,
    "log":{"logDriver":"awslogs","options":{"awslogs-group":"fn"}}}}"#;

fn deployment() -> FunctionDeployment {
    FunctionDeployment {
        service: "figlet".to_owned(),
        namespace: "openfaas-fn".to_owned(),
        image: "ghcr.io/openfaas/figlet:1".to_owned(),
        env_process: Some("figlet".to_owned()),
        env_vars: vec![("A".to_owned(), "1".to_owned())],
        labels: vec![("com.openfaas.scale.min".to_owned(), "1".to_owned())],
        annotations: vec![("note".to_owned(), "x y".to_owned())],
        limits: Some(FunctionResources {
            memory: Some("1Gi".to_owned()),
            cpu: Some("500m".to_owned()),
            ..FunctionResources::default()
        }),
        ..FunctionDeployment::default()
    }
}

/// An API in which nothing of the name is there, and which refuses the operation `refused`.
fn empty(refused: &'static str) {
    play(move |operation, _| match operation {
        operation if operation == refused => (400, json!({ "__type": "InvalidParameterException", "message": "no" })),
        "DescribeServices" => (200, json!({ "services": [], "failures": [{ "reason": "MISSING" }] })),
        "RegisterTaskDefinition" => (200, json!({ "taskDefinition": { "taskDefinitionArn": "arn:td:1" } })),
        _ => (200, json!({})),
    });
}

#[test]
fn a_deployment_is_a_task_definition_and_a_service_from_the_operators_template() {
    set_config(DEPLOY);
    empty("");
    ecs().deploy_function(deployment()).unwrap();
    let calls = called();
    let names: Vec<&str> = calls.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(names, ["DescribeServices", "RegisterTaskDefinition", "CreateService"]);
    let tags = json!([
        { "key": "wicketgate.function", "value": "figlet" },
        { "key": "wicketgate.image", "value": "ghcr.io/openfaas/figlet:1" },
        { "key": "com.openfaas.scale.min", "value": "1" }, { "key": "wicketgate.annotation/note", "value": "x y" },
    ]);
    let definition = json!({
        "family": "figlet", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "512", "memory": "1024",
        "executionRoleArn": "arn:e", "tags": tags,
        "containerDefinitions": [{
            "name": "figlet", "image": "ghcr.io/openfaas/figlet:1", "essential": true,
            "portMappings": [{ "containerPort": 8080, "protocol": "tcp" }],
            "environment": [{ "name": "A", "value": "1" }, { "name": "fprocess", "value": "figlet" }],
            "logConfiguration": { "logDriver": "awslogs", "options": { "awslogs-group": "fn" } },
        }],
    });
    assert_eq!(calls[1].1, definition);
    let service = json!({
        "cluster": "default", "serviceName": "figlet", "taskDefinition": "arn:td:1", "desiredCount": 1, "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration":
            { "subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED" } },
        "tags": tags,
    });
    assert_eq!(calls[2].1, service);
}

#[test]
fn what_a_deployment_may_not_say_is_refused_before_anything_is_made() {
    empty("");
    assert_eq!(ecs().deploy_function(deployment()).unwrap_err().kind, ErrorKind::Unsupported, "no template");
    set_config(DEPLOY);
    let refused = |change: fn(&mut FunctionDeployment)| {
        let mut wanted = deployment();
        change(&mut wanted);
        let error = ecs().deploy_function(wanted).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error:?}");
        error.message
    };
    assert!(refused(|d| d.service = "a.b".to_owned()).contains("letters"));
    assert!(refused(|d| d.secrets = vec!["key".to_owned()]).contains("secret"));
    assert!(refused(|d| d.constraints = vec!["a==b".to_owned()]).contains("placement"));
    assert!(refused(|d| d.limits.as_mut().unwrap().memory = Some("2Gi".to_owned())).contains("memory-max"));
    assert!(refused(|d| d.limits.as_mut().unwrap().cpu = Some("many".to_owned())).contains("cpu"));
    assert!(refused(|d| d.labels.push(("a".to_owned(), "{}".to_owned()))).contains("tag"));
    assert!(refused(|d| d.labels.push(("AWS:x".to_owned(), "1".to_owned()))).contains("tag"));
    assert!(refused(|d| d.labels.push(("wicketgate.port".to_owned(), "0".to_owned()))).contains("port"));
    assert!(refused(|d| d.annotations = (0..60).map(|n| (n.to_string(), String::new())).collect()).contains("50"));
    assert!(take_requests().is_empty());
}

#[test]
fn a_taken_name_already_exists_and_a_refused_service_leaves_no_task_definition() {
    set_config(DEPLOY);
    always(service(1, 1));
    assert_eq!(ecs().deploy_function(deployment()).unwrap_err().kind, ErrorKind::AlreadyExists);
    let _before = take_requests();
    empty("CreateService");
    assert_eq!(ecs().deploy_function(deployment()).unwrap_err().kind, ErrorKind::Invalid);
    let calls = called();
    assert_eq!(
        calls.last().unwrap(),
        &("DeregisterTaskDefinition".to_owned(), json!({ "taskDefinition": "arn:td:1" }))
    );
}

#[test]
fn an_update_leaves_the_count_alone_and_takes_old_labels_away() {
    set_config(DEPLOY);
    play(|operation, _| match operation {
        "DescribeServices" => (200, json!({ "services": [service(5, 5)] })),
        "RegisterTaskDefinition" => (200, json!({ "taskDefinition": { "taskDefinitionArn": "arn:td:2" } })),
        _ => (200, json!({})),
    });
    ecs().update_function(deployment()).unwrap();
    let calls = called();
    let names: Vec<&str> = calls.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(names, ["DescribeServices", "RegisterTaskDefinition", "UpdateService", "UntagResource", "TagResource"]);
    assert_eq!(calls[2].1, json!({ "cluster": "default", "service": "figlet", "taskDefinition": "arn:td:2" }));
    assert_eq!(calls[3].1["tagKeys"], json!(["com.openfaas.scale.max"]));
    assert_eq!(calls[4].1["resourceArn"], "arn:aws:ecs:eu-west-1:1:service/default/figlet");
}

#[test]
fn a_deletion_takes_the_tasks_first() {
    always(service(2, 2));
    ecs().delete_function("figlet", "openfaas-fn").unwrap();
    assert_eq!(operations(), ["DescribeServices", "UpdateService", "DeleteService"]);
    always(service(0, 0));
    ecs().delete_function("figlet", "openfaas-fn").unwrap();
    assert_eq!(operations(), ["DescribeServices", "DeleteService"]);
}
