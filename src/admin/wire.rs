//! What the admin API answers with: the faas-provider API's types, field for field, with Go's rules
//! of what is left out (`omitempty`).

use serde::Serialize;

use super::time;
use crate::query::Pairs;
use crate::query::functions::{FunctionResources, FunctionStatus, FunctionUsage, LogMessage, Platform};

/// The faas-provider API's `FunctionStatus`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status<'a> {
    name: &'a str,
    image: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "is_nothing")]
    env_process: Option<&'a String>,
    #[serde(skip_serializing_if = "no_pairs")]
    env_vars: Option<&'a Pairs>,
    #[serde(skip_serializing_if = "no_texts")]
    constraints: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "no_texts")]
    secrets: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "no_pairs")]
    labels: Option<&'a Pairs>,
    #[serde(skip_serializing_if = "no_pairs")]
    annotations: Option<&'a Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a FunctionResources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<&'a FunctionResources>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_root_filesystem: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_count: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "is_zero")]
    replicas: u64,
    #[serde(skip_serializing_if = "is_zero")]
    available_replicas: u64,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// The faas-provider API's `FunctionUsage`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_memory_bytes: Option<serde_json::Number>,
}

fn is_nothing(text: &Option<&String>) -> bool {
    text.is_none_or(String::is_empty)
}

fn no_pairs(pairs: &Option<&Pairs>) -> bool {
    pairs.is_none_or(Pairs::is_empty)
}

fn no_texts(texts: &Option<&Vec<String>>) -> bool {
    texts.is_none_or(Vec::is_empty)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A float as Go writes it: nothing for 0, no `.0`; what is no number is left out as well.
fn float(value: f64) -> Option<serde_json::Number> {
    /// Up to here each whole number is exact in a float, and Go writes no exponent.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value == 0.0 {
        None
    } else if value.fract() == 0.0 && value.abs() <= EXACT {
        format!("{value:.0}").parse().ok()
    } else {
        serde_json::Number::from_f64(value)
    }
}

impl<'a> Status<'a> {
    /// A status with the gateway's own count of invocations. The platform's count is not shown,
    /// since two gateways or a restart would make one number mean two things.
    pub(super) fn new(status: &'a FunctionStatus, invocations: f64) -> Self {
        let deployment = &status.deployment;
        Self {
            name: &deployment.service,
            image: &deployment.image,
            namespace: &deployment.namespace,
            env_process: deployment.env_process.as_ref(),
            env_vars: deployment.env_vars.as_ref(),
            constraints: deployment.constraints.as_ref(),
            secrets: deployment.secrets.as_ref(),
            labels: deployment.labels.as_ref(),
            annotations: deployment.annotations.as_ref(),
            limits: deployment.limits.as_ref(),
            requests: deployment.requests.as_ref(),
            read_only_root_filesystem: deployment.read_only_root_filesystem,
            invocation_count: float(invocations),
            replicas: status.replicas,
            available_replicas: status.available_replicas,
            created_at: status.created_at_ms.map_or_else(|| time::ZERO.to_owned(), time::show),
            usage: status.usage.as_ref().map(Usage::new),
        }
    }
}

impl Usage {
    fn new(usage: &FunctionUsage) -> Self {
        Self { cpu: float(usage.cpu), total_memory_bytes: float(usage.total_memory_bytes) }
    }
}

/// A secret in a list: its value is never shown.
#[derive(Serialize)]
pub(super) struct SecretName {
    pub(super) name: String,
    pub(super) namespace: String,
}

/// OpenFaaS's `GatewayInfo`.
#[derive(Serialize)]
pub(super) struct GatewayInfo {
    provider: Option<ProviderInfo>,
    version: VersionInfo,
    arch: &'static str,
}

/// The faas-provider API's `ProviderInfo`.
#[derive(Serialize)]
struct ProviderInfo {
    provider: String,
    version: VersionInfo,
    orchestration: String,
}

/// The faas-provider API's `VersionInfo`.
#[derive(Serialize)]
struct VersionInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    commit_message: String,
    sha: String,
    release: String,
}

impl GatewayInfo {
    /// This gateway before `platform`; `None` when the platform does not say.
    pub(super) fn new(platform: Option<Platform>) -> Self {
        let provider = platform.map(|platform| ProviderInfo {
            provider: platform.name,
            version: VersionInfo { commit_message: String::new(), sha: platform.sha, release: platform.release },
            orchestration: platform.orchestration,
        });
        // Clients compare with Go's names of architectures.
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let version = VersionInfo {
            commit_message: String::new(),
            sha: option_env!("WICKETGATE_SHA").unwrap_or_default().to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self { provider, version, arch }
    }
}

/// The faas-provider API's `logs.Message`: all fields, always.
#[derive(Serialize)]
struct LogLine<'a> {
    name: &'a str,
    namespace: &'a str,
    instance: &'a str,
    timestamp: String,
    text: &'a str,
}

/// The lines as newline-delimited JSON.
pub(super) fn log_lines(messages: &[LogMessage]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(messages.len() * 160);
    for message in messages {
        let line = LogLine {
            name: &message.name,
            namespace: &message.namespace,
            instance: &message.instance,
            timestamp: time::show(message.timestamp_ms),
            text: &message.text,
        };
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::functions::FunctionDeployment;

    #[test]
    fn an_idle_function_shows_only_what_go_would_write() {
        let deployment = FunctionDeployment {
            service: "figlet".into(),
            image: "i".into(),
            labels: Some(Pairs::new()),
            secrets: Some(Vec::new()),
            env_process: Some(String::new()),
            ..Default::default()
        };
        let status = FunctionStatus { deployment, ..Default::default() };
        let text = serde_json::to_string(&Status::new(&status, 0.0)).unwrap();
        assert_eq!(text, r#"{"name":"figlet","image":"i","createdAt":"0001-01-01T00:00:00Z"}"#);
    }

    #[test]
    fn a_busy_function_shows_everything() {
        let pairs = || Some(Pairs::from([("k".to_owned(), "v".to_owned())]));
        let resources = FunctionResources {
            memory: Some("1Mi".into()),
            cpu: None,
            extra: Pairs::from([("gpu".into(), "1".into())]),
        };
        let deployment = FunctionDeployment {
            service: "figlet".into(),
            image: "i".into(),
            namespace: "dev".into(),
            env_process: Some("p".into()),
            env_vars: pairs(),
            constraints: Some(vec!["c".into()]),
            secrets: Some(vec!["s".into()]),
            labels: pairs(),
            annotations: pairs(),
            limits: Some(resources),
            requests: None,
            read_only_root_filesystem: true,
        };
        let status = FunctionStatus {
            deployment,
            replicas: 2,
            available_replicas: 1,
            created_at_ms: Some(0),
            usage: Some(FunctionUsage { cpu: 0.5, total_memory_bytes: 1024.0 }),
            invocation_count: Some(99.0),
        };
        let text = serde_json::to_string(&Status::new(&status, 5.0)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"name":"figlet","image":"i","namespace":"dev","envProcess":"p","envVars":{"k":"v"},"constraints":["c"],"#,
                r#""secrets":["s"],"labels":{"k":"v"},"annotations":{"k":"v"},"limits":{"memory":"1Mi","gpu":"1"},"#,
                r#""readOnlyRootFilesystem":true,"invocationCount":5,"replicas":2,"availableReplicas":1,"#,
                r#""createdAt":"1970-01-01T00:00:00Z","usage":{"cpu":0.5,"totalMemoryBytes":1024}}"#
            )
        );
    }

    #[test]
    fn no_provider_is_null() {
        let value = serde_json::to_value(GatewayInfo::new(None)).unwrap();
        assert_eq!(value["provider"], serde_json::Value::Null);
        assert!(value["version"]["sha"].is_string());
        assert_eq!(value["version"]["release"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn log_lines_keep_empty_fields_and_escape_line_ends() {
        let message = LogMessage { name: "f".into(), text: "a\nb".into(), timestamp_ms: 1, ..Default::default() };
        let text = String::from_utf8(log_lines(&[message]).unwrap()).unwrap();
        let expected =
            r#"{"name":"f","namespace":"","instance":"","timestamp":"1970-01-01T00:00:00.001Z","text":"a\nb"}"#;
        assert_eq!(text, format!("{expected}\n"));
    }
}
