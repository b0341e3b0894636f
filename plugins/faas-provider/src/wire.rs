//! The API's JSON, and its way to and from the contract's types.
//!
//! Providers are Go programs: an absent number is 0, an empty map is `null` or absent, and unknown
//! keys are common. Reading therefore takes every field as optional.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wicketgate_sdk::time::parse_rfc3339;
use wicketgate_sdk::{
    FunctionDeployment, FunctionResources, FunctionStatus, FunctionUsage, NamespaceEntry, Pairs, Platform,
    ServiceStatus,
};

/// A JSON object of texts, in order of its keys.
type Texts = BTreeMap<String, String>;

/// `FunctionStatus`, which holds the fields of a deployment too.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) name: String,
    image: Option<String>,
    namespace: Option<String>,
    env_process: Option<String>,
    env_vars: Option<Texts>,
    constraints: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    labels: Option<Texts>,
    annotations: Option<Texts>,
    limits: Option<Texts>,
    requests: Option<Texts>,
    read_only_root_filesystem: Option<bool>,
    invocation_count: Option<f64>,
    replicas: Option<u64>,
    available_replicas: Option<u64>,
    created_at: Option<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    cpu: Option<f64>,
    total_memory_bytes: Option<f64>,
}

impl Status {
    /// Whether instances are wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.replicas.is_some_and(|count| count > 0)
    }

    /// Whether the provider says that an instance is available.
    pub(crate) fn is_available(&self) -> bool {
        self.available_replicas.is_some_and(|count| count > 0)
    }

    /// Takes the instances that are there for available.
    pub(crate) fn assume_available(&mut self) {
        self.available_replicas = self.replicas;
    }

    pub(crate) fn into_service_status(self) -> ServiceStatus {
        ServiceStatus {
            replicas: self.replicas.unwrap_or(0),
            available_replicas: self.available_replicas.unwrap_or(0),
            labels: pairs(self.labels),
            annotations: pairs(self.annotations),
            ..ServiceStatus::default()
        }
    }

    /// `namespace` is the one that was asked for: some providers leave it out of the answer.
    pub(crate) fn into_function_status(self, namespace: &str) -> FunctionStatus {
        FunctionStatus {
            deployment: FunctionDeployment {
                service: self.name,
                namespace: self.namespace.filter(|n| !n.is_empty()).unwrap_or_else(|| namespace.to_owned()),
                image: self.image.unwrap_or_default(),
                env_process: self.env_process.filter(|text| !text.is_empty()),
                env_vars: pairs(self.env_vars),
                constraints: self.constraints.unwrap_or_default(),
                secrets: self.secrets.unwrap_or_default(),
                labels: pairs(self.labels),
                annotations: pairs(self.annotations),
                limits: self.limits.map(resources),
                requests: self.requests.map(resources),
                read_only_root_filesystem: self.read_only_root_filesystem.unwrap_or(false),
                extra: Pairs::new(),
            },
            replicas: self.replicas.unwrap_or(0),
            available_replicas: self.available_replicas.unwrap_or(0),
            // Go's zero time is the year 1, which is no time here.
            created_at_ms: self.created_at.as_deref().and_then(parse_rfc3339),
            usage: self.usage.map(|usage| FunctionUsage {
                cpu_millicores: usage.cpu.unwrap_or(0.0),
                total_memory_bytes: usage.total_memory_bytes.unwrap_or(0.0),
            }),
            invocation_count: self.invocation_count,
        }
    }
}

/// `FunctionDeployment`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deployment {
    service: String,
    image: String,
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_process: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env_vars: Texts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Texts>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_root_filesystem: bool,
}

impl From<FunctionDeployment> for Deployment {
    fn from(deployment: FunctionDeployment) -> Self {
        Self {
            service: deployment.service,
            image: deployment.image,
            namespace: deployment.namespace,
            env_process: deployment.env_process,
            env_vars: deployment.env_vars.into_iter().collect(),
            constraints: deployment.constraints,
            secrets: deployment.secrets,
            labels: deployment.labels.into_iter().collect(),
            annotations: deployment.annotations.into_iter().collect(),
            limits: deployment.limits.map(resource_texts),
            requests: deployment.requests.map(resource_texts),
            read_only_root_filesystem: deployment.read_only_root_filesystem,
        }
    }
}

/// `ScaleServiceRequest`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScaleRequest<'a> {
    pub(crate) service_name: &'a str,
    pub(crate) replicas: u64,
    pub(crate) namespace: &'a str,
}

/// `DeleteFunctionRequest`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteRequest<'a> {
    pub(crate) function_name: &'a str,
    pub(crate) namespace: &'a str,
}

/// `FunctionNamespace`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Texts>,
}

impl From<NamespaceEntry> for Namespace {
    fn from(entry: NamespaceEntry) -> Self {
        let texts = |pairs: Pairs| Some(pairs.into_iter().collect::<Texts>()).filter(|texts| !texts.is_empty());
        Self { name: entry.name, annotations: texts(entry.annotations), labels: texts(entry.labels) }
    }
}

impl From<Namespace> for NamespaceEntry {
    fn from(namespace: Namespace) -> Self {
        Self { name: namespace.name, labels: pairs(namespace.labels), annotations: pairs(namespace.annotations) }
    }
}

/// `Secret`, with its value in one of two forms.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Secret<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    /// A value that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<&'a str>,
    /// Any other value, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raw_value: Option<String>,
}

/// The name in a list of secrets.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct SecretName {
    pub(crate) name: String,
}

/// `ProviderInfo`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProviderInfo {
    provider: Option<String>,
    orchestration: Option<String>,
    version: Option<VersionInfo>,
}

#[derive(Default, Deserialize)]
struct VersionInfo {
    sha: Option<String>,
    release: Option<String>,
}

impl ProviderInfo {
    pub(crate) fn into_platform(self) -> Platform {
        let version = self.version.unwrap_or_default();
        Platform {
            name: self.provider.unwrap_or_default(),
            orchestration: self.orchestration.unwrap_or_default(),
            release: version.release.unwrap_or_default(),
            sha: version.sha.unwrap_or_default(),
        }
    }
}

/// `logs.Message`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) text: Option<String>,
}

fn pairs(texts: Option<Texts>) -> Pairs {
    texts.unwrap_or_default().into_iter().collect()
}

fn resources(mut texts: Texts) -> FunctionResources {
    FunctionResources {
        memory: texts.remove("memory").filter(|text| !text.is_empty()),
        cpu: texts.remove("cpu").filter(|text| !text.is_empty()),
        extra: texts.into_iter().collect(),
    }
}

fn resource_texts(resources: FunctionResources) -> Texts {
    let named = [("memory", resources.memory), ("cpu", resources.cpu)];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    resources.extra.into_iter().chain(named).collect()
}
