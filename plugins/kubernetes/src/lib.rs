//! The provider plugin for Kubernetes: a function is a Deployment with a label, and a Service of the
//! same name.
//!
//! Counts are set through the `scale` subresource and read from the Deployment, whose status is the
//! only place that says how many pods are available. All requests go to the grant `kubernetes`; the
//! host adds the credentials. The README lists the requests. Nothing is kept between calls.

use wicketgate_sdk::{
    About, ErrorKind, Health, Platform, Provider, ProviderError, Result, Scaling, ServiceStatus, export_provider,
};

mod api;
mod endpoints;
mod functions;
mod logs;
mod manifest;
mod namespaces;
mod object;
mod secrets;
mod settings;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod watch;

use api::DEPLOYMENTS;
use object::{Deployment, Scale, entries, text};
use serde_json::Value;
use settings::Settings;

/// The greatest count that Kubernetes takes: `replicas` is an int32.
const MOST_REPLICAS: u64 = 2_147_483_647;

/// How often a raised count is tried again after another writer was faster.
const ATTEMPTS: usize = 4;

/// A Kubernetes cluster, or some namespaces of it.
pub struct Kubernetes {
    settings: Settings,
}

export_provider! {
    Kubernetes,
    exports: [Scaling, Watch, Endpoints, Functions, Namespaces, Secrets, Logs, About, Health],
    name: "kubernetes",
    description: "Functions that are Deployments and Services of Kubernetes",
    grants: {
        "kubernetes": "the root of the Kubernetes API, with the rights of the RBAC manifest in the plugin's folder",
    },
    config: {
        "label": "the label that makes a Deployment a function; default: faas_function; empty: every Deployment is one",
        "endpoints": "pods (their own addresses, the default) or service (the Service's name in the cluster's DNS)",
        "cluster-domain": "what stands behind the namespace in a Service's name; default: svc",
        "port": "the port that functions listen on; default: 8080",
        "endpoint-ttl-ms": "for how long an address may be used, 100 to 60000; default: 3000",
        "field-manager": "who owns the fields that a deploy sets; default: wicketgate",
        "readiness": "tcp (the default), none, or http:/path: how deployed functions say that they are ready",
        "image-pull-policy": "of deployed functions; default: the cluster's",
        "image-pull-secrets": "names of the secrets for the registries of deployed functions",
        "secret-label": "the label of secrets that functions may use; default: app.kubernetes.io/managed-by=openfaas",
    },
}

impl Provider for Kubernetes {
    fn open() -> Result<Self> {
        Ok(Self { settings: Settings::read()? })
    }

    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        Ok(status(&self.deployment(service, namespace)?))
    }

    /// The `scale` subresource would set the count of any Deployment; whether this one is a function
    /// is looked up first.
    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        if !self.settings.label.is_empty() {
            self.deployment(service, namespace)?;
        }
        scale(service, namespace, count, None).map(drop)
    }
}

impl Scaling for Kubernetes {
    /// The count is compared and set by the version of the Deployment that was just read, which is as
    /// strict as `expected_version` and spares a conflict where only the status has changed since.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        _expected_version: Option<&str>,
    ) -> Result<ServiceStatus> {
        let mut conflict = None;
        for _ in 0..ATTEMPTS {
            let mut now = status(&self.deployment(service, namespace)?);
            if now.replicas >= at_least {
                return Ok(now);
            }
            match scale(service, namespace, at_least, now.version.as_deref()) {
                Ok(scaled) => {
                    now.replicas = scaled.replicas;
                    now.version = Some(scaled.resource_version);
                    return Ok(now);
                }
                Err(error) if error.kind == ErrorKind::Conflict => conflict = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(conflict.unwrap_or_else(|| ProviderError::conflict(format!("{service}.{namespace} keeps changing"))))
    }
}

impl About for Kubernetes {
    fn describe(&self) -> Result<Platform> {
        let version: Value = api::fetch(api::get(api::root("version")), "version")?;
        Ok(Platform {
            name: "kubernetes".to_owned(),
            orchestration: "kubernetes".to_owned(),
            release: text(&version, "gitVersion"),
            // A build without one holds the template of it.
            sha: Some(text(&version, "gitCommit")).filter(|sha| !sha.starts_with('$')).unwrap_or_default(),
        })
    }
}

impl Health for Kubernetes {
    /// Asks for something that only known users get (`/version` and `/readyz` are open to everybody),
    /// and that says whether the cluster is new enough.
    fn check(&self) -> Result<()> {
        let group: Value = api::fetch(api::get(api::root("apis/discovery.k8s.io")), "API group discovery.k8s.io")?;
        if entries(&group, "versions").iter().any(|version| text(version, "version") == "v1") {
            return Ok(());
        }
        Err(ProviderError::unsupported("the cluster has no discovery.k8s.io/v1; Kubernetes 1.21 or newer has"))
    }
}

impl Kubernetes {
    /// The Deployment of a function. One that is being deleted is gone already: its count can be set
    /// and nothing starts.
    fn deployment(&self, service: &str, namespace: &str) -> Result<Deployment> {
        let what = format!("function {service}.{namespace}");
        let deployment: Deployment = api::fetch(api::get(DEPLOYMENTS.one(namespace, service)), &what)?;
        if deployment.metadata.is_going() {
            return Err(ProviderError::not_found(format!("{what}: its Deployment is being deleted")));
        }
        if !self.is_function(&deployment.metadata) {
            let label = &self.settings.label;
            return Err(ProviderError::not_found(format!("{what}: its Deployment has no label {label}")));
        }
        Ok(deployment)
    }

    /// Whether an object belongs to a function.
    fn is_function(&self, metadata: &object::Metadata) -> bool {
        self.settings.label.is_empty() || metadata.label(&self.settings.label).is_some()
    }
}

/// Sets the count of a Deployment; with `version` only if nobody changed it since.
fn scale(service: &str, namespace: &str, count: u64, version: Option<&str>) -> Result<Scale> {
    let what = format!("scale function {service}.{namespace} to {count}");
    if count > MOST_REPLICAS {
        return Err(ProviderError::invalid(format!("{what}: Kubernetes takes at most {MOST_REPLICAS} replicas")));
    }
    let mut body = serde_json::json!({ "spec": { "replicas": count } });
    if let (Some(version), Some(body)) = (version, body.as_object_mut()) {
        body.insert("metadata".to_owned(), serde_json::json!({ "resourceVersion": version }));
    }
    let url = format!("{}/scale", DEPLOYMENTS.one(namespace, service));
    api::fetch(api::merge(url, &body), &what)
}

/// What a Deployment says of its counts. Until its controller has seen a change, the status is that of the
/// generation before: right after a function was scaled to zero and up again it still tells of pods that are
/// being ended. So pods are available only by a status of the newest generation, and never more than wished for.
fn status(deployment: &Deployment) -> ServiceStatus {
    // The API server fills in 1 where a Deployment was made without a count.
    let replicas = deployment.replicas.unwrap_or(1);
    ServiceStatus {
        replicas,
        available_replicas: if deployment.is_current { deployment.available_replicas.min(replicas) } else { 0 },
        labels: deployment.metadata.label_pairs(),
        annotations: deployment.metadata.annotation_pairs(),
        version: Some(deployment.metadata.resource_version.clone()),
        ..ServiceStatus::default()
    }
}
