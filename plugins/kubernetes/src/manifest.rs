//! What a deployment becomes: a Deployment and a Service, as server-side apply takes them.

use serde_json::{Map, Value, json};
use wicketgate_sdk::{FunctionDeployment, FunctionResources, ProviderError, Result};

use crate::object::{Deployment, object};
use crate::settings::{Readiness, Settings};

/// The variable that tells OpenFaaS's watchdog what to run.
pub(crate) const FPROCESS: &str = "fprocess";

/// Where functions for OpenFaaS look for their secrets, one file for each.
const SECRETS_FOLDER: &str = "/var/openfaas/secrets";

/// The label of functions, where the operator's setting names none.
const LABEL: &str = "faas_function";

/// The Deployment. It says nothing of `replicas`: a field that is applied once and left out later is
/// set back, and one that was scaled since is a conflict. `there` is the one that it changes.
pub(crate) fn deployment(
    settings: &Settings,
    wanted: &FunctionDeployment,
    there: Option<&Deployment>,
) -> Result<Value> {
    let service = &wanted.service;
    let mut labels = object(&wanted.labels);
    labels.insert(label(settings).to_owned(), json!(service));
    let selector = selector(settings, wanted, there);
    let mut pod_labels = labels.clone();
    for (key, value) in &selector {
        pod_labels.insert(key.clone(), value.clone());
    }
    let mut metadata = json!({ "name": service, "namespace": wanted.namespace, "labels": labels });
    if !wanted.annotations.is_empty() {
        set(&mut metadata, "annotations", json!(object(&wanted.annotations)));
    }
    if let Some(there) = there {
        // Whoever deleted and made it anew meanwhile gets a conflict, not this update.
        set(&mut metadata, "uid", json!(there.metadata.uid));
    }
    let mut template = json!({ "labels": pod_labels });
    if !wanted.annotations.is_empty() {
        set(&mut template, "annotations", json!(object(&wanted.annotations)));
    }
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": { "matchLabels": selector },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": template, "spec": pod(settings, wanted, there)? },
        },
    }))
}

/// The Service, by whose `EndpointSlices` the pods are found.
pub(crate) fn service(settings: &Settings, wanted: &FunctionDeployment, there: Option<&Deployment>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": wanted.service,
            "namespace": wanted.namespace,
            "labels": { label(settings): wanted.service },
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector(settings, wanted, there),
            "ports": [{ "name": "http", "port": settings.port, "targetPort": settings.port }],
        },
    })
}

fn label(settings: &Settings) -> &str {
    if settings.label.is_empty() { LABEL } else { &settings.label }
}

/// Which pods are the function's. A Deployment's selector cannot be changed.
fn selector(settings: &Settings, wanted: &FunctionDeployment, there: Option<&Deployment>) -> Map<String, Value> {
    match there.map(|there| object(&there.selector)).filter(|labels| !labels.is_empty()) {
        Some(known) => known,
        None => object(&vec![(label(settings).to_owned(), wanted.service.clone())]),
    }
}

fn pod(settings: &Settings, wanted: &FunctionDeployment, there: Option<&Deployment>) -> Result<Value> {
    let known = there.and_then(Deployment::container).and_then(|known| known.get("name")?.as_str());
    // A list is merged by its names: another one would be a second container.
    let name = known.unwrap_or(&wanted.service);
    let mut container = json!({
        "name": name,
        "image": wanted.image,
        "ports": [{ "name": "http", "containerPort": settings.port }],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": wanted.read_only_root_filesystem,
        },
    });
    let mut env: Vec<Value> = Vec::new();
    if let Some(process) = &wanted.env_process {
        env.push(json!({ "name": FPROCESS, "value": process }));
    }
    let others = wanted.env_vars.iter().filter(|(name, _)| wanted.env_process.is_none() || name != FPROCESS);
    env.extend(others.map(|(name, value)| json!({ "name": name, "value": value })));
    if !env.is_empty() {
        set(&mut container, "env", json!(env));
    }
    let mut amounts = json!({});
    for (key, wish) in [("limits", &wanted.limits), ("requests", &wanted.requests)] {
        if let Some(wish) = wish {
            set(&mut amounts, key, resources(wish));
            set(&mut container, "resources", amounts.clone());
        }
    }
    if let Some(policy) = &settings.image_pull_policy {
        set(&mut container, "imagePullPolicy", json!(policy));
    }
    let probe = match settings.readiness() {
        Some(Readiness::Tcp) => Some(json!({ "tcpSocket": { "port": settings.port }, "periodSeconds": 1 })),
        Some(Readiness::Http(path)) => {
            Some(json!({ "httpGet": { "path": path, "port": settings.port }, "periodSeconds": 1 }))
        }
        Some(Readiness::None) | None => None,
    };
    if let Some(probe) = probe {
        set(&mut container, "readinessProbe", probe);
    }
    let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
    if !wanted.secrets.is_empty() {
        let sources: Vec<Value> = wanted.secrets.iter().map(|name| json!({ "secret": { "name": name } })).collect();
        volumes.push(json!({ "name": "function-secrets", "projected": { "sources": sources } }));
        mounts.push(json!({ "name": "function-secrets", "mountPath": SECRETS_FOLDER, "readOnly": true }));
    }
    if wanted.read_only_root_filesystem {
        volumes.push(json!({ "name": "temp", "emptyDir": {} }));
        mounts.push(json!({ "name": "temp", "mountPath": "/tmp" }));
    }
    if !mounts.is_empty() {
        set(&mut container, "volumeMounts", json!(mounts));
    }
    let mut pod = json!({
        // A function has no business with the API server, nor with the addresses of its neighbours.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "containers": [container],
    });
    if !volumes.is_empty() {
        set(&mut pod, "volumes", json!(volumes));
    }
    let mut nodes = json!({});
    for text in &wanted.constraints {
        let (key, value) = constraint(text)?;
        set(&mut nodes, &key, value);
        set(&mut pod, "nodeSelector", nodes.clone());
    }
    if !settings.image_pull_secrets.is_empty() {
        let names: Vec<Value> = settings.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        set(&mut pod, "imagePullSecrets", json!(names));
    }
    Ok(pod)
}

/// A constraint is a label of the nodes that may run the function: `key=value` or `key == value`.
fn constraint(text: &str) -> Result<(String, Value)> {
    let parts = text.split_once("==").or_else(|| text.split_once('='));
    let parts = parts.map(|(key, value)| (key.trim(), value.trim()));
    match parts {
        Some((key, value)) if !key.is_empty() && !key.ends_with('!') && !value.is_empty() => {
            Ok((key.to_owned(), json!(value)))
        }
        _ => Err(ProviderError::invalid(format!(
            "the constraint {text:?} is not understood; write a node's label, e.g. \"kubernetes.io/arch=arm64\""
        ))),
    }
}

fn resources(amounts: &FunctionResources) -> Value {
    let mut texts = object(&amounts.extra);
    for (key, amount) in [("memory", &amounts.memory), ("cpu", &amounts.cpu)] {
        if let Some(amount) = amount {
            texts.insert(key.to_owned(), json!(amount));
        }
    }
    Value::Object(texts)
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
