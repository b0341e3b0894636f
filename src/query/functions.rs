//! What can be asked of a platform beside counts: functions, namespaces, secrets, logs.
//!
//! The JSON forms are the faas-provider API's (names, omitted fields, absent numbers are 0), so
//! that `/system/*` can answer with these types as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pairs;

/// What a function may use, in the platform's own notation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionResources {
    /// Memory, e.g. `128Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processor time, e.g. `100m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Other resources by name, e.g. `nvidia.com/gpu`.
    #[serde(flatten)]
    pub extra: BTreeMap<String, String>,
}

/// What a deployer asks for: the faas-provider API's `FunctionDeployment`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionDeployment {
    /// The function's name.
    pub service: String,
    /// What to run.
    pub image: String,
    /// Its namespace; empty in a request means the default one, never empty towards a plugin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The command of the image's watchdog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<Pairs>,
    /// Placement, in the platform's own notation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Names of secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Pairs>,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Pairs>,
    /// The most that an instance may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<FunctionResources>,
    /// What is set aside for an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<FunctionResources>,
    /// Whether the root file system is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
}

/// What a function uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionUsage {
    /// Processor time in thousandths of a core.
    pub cpu: f64,
    /// Memory in bytes.
    pub total_memory_bytes: f64,
}

/// A function as the platform holds it. The admin API writes it in the
/// faas-provider API's form of a `FunctionStatus`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionStatus {
    /// What it was deployed with; `service` is its name.
    pub deployment: FunctionDeployment,
    /// How many instances the platform was asked for.
    pub replicas: u64,
    /// How many of them are ready.
    pub available_replicas: u64,
    /// When it was deployed, in milliseconds since the Unix epoch.
    pub created_at_ms: Option<u64>,
    /// What it uses, if that was asked for and is known.
    pub usage: Option<FunctionUsage>,
    /// How often it was invoked, if that is known.
    pub invocation_count: Option<f64>,
}

/// A part of a list of functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionPage {
    /// The functions of this page.
    pub functions: Vec<FunctionStatus>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<String>,
}

/// A part of a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePage {
    /// The names of this page.
    pub names: Vec<String>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<String>,
}

/// A namespace with what is written on it: the faas-provider API's `FunctionNamespace`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceEntry {
    /// Its name.
    pub name: String,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Pairs>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Pairs>,
}

/// A secret on its way to the platform. Its value is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({}.{}, {} bytes)", self.name, self.namespace, self.value.len())
    }
}

/// Which log lines to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The function's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Only this instance.
    pub instance: Option<String>,
    /// Only lines of this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only the last so many lines of what is there.
    pub tail: Option<u32>,
    /// Whether to wait for more.
    pub follow: bool,
}

/// One line that a function printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMessage {
    /// The function's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The instance that printed it.
    pub instance: String,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// What, without the line's end.
    pub text: String,
}

/// Some log lines, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// The lines.
    pub messages: Vec<LogMessage>,
    /// The cursor for what follows; `None` when there is no more.
    pub next: Option<String>,
}

/// What platform answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The provider's name, e.g. `faasd-ce`.
    pub name: String,
    /// What runs the instances, e.g. `containerd`.
    pub orchestration: String,
    /// The platform's release; empty if it is not known.
    pub release: String,
    /// The revision it was built from; empty if it is not known.
    pub sha: String,
}
