//! The operator's `config` table.

use serde::Deserialize;
use wicketgate_sdk::{ProviderError, Result, config};

/// How endpoints are found.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Addressing {
    /// The pods' own addresses, from the Service's `EndpointSlices`.
    Pods,
    /// The Service's name in the cluster's DNS; the cluster chooses the pod.
    Service,
}

/// How a function says that it takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Its port accepts connections.
    Tcp,
    /// A `GET` of this path is answered with 2xx or 3xx.
    Http(String),
    /// As soon as its container runs.
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The key of the label that makes a Deployment a function; empty: every Deployment is one.
    pub(crate) label: String,
    pub(crate) endpoints: Addressing,
    /// What stands behind the namespace in a Service's name.
    pub(crate) cluster_domain: String,
    /// The port that functions listen on, 1 to 65535.
    pub(crate) port: u16,
    /// For how long an address may be used, in milliseconds, 100 to 60000.
    pub(crate) endpoint_ttl_ms: u32,
    /// Who the API server is told to be the owner of applied fields.
    pub(crate) field_manager: String,
    readiness: String,
    pub(crate) image_pull_policy: Option<String>,
    pub(crate) image_pull_secrets: Vec<String>,
    /// The label `key=value` of secrets that functions may use.
    pub(crate) secret_label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            label: "faas_function".to_owned(),
            endpoints: Addressing::Pods,
            cluster_domain: "svc".to_owned(),
            port: 8080,
            endpoint_ttl_ms: 3000,
            field_manager: "wicketgate".to_owned(),
            readiness: "tcp".to_owned(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            secret_label: "app.kubernetes.io/managed-by=openfaas".to_owned(),
        }
    }
}

impl Settings {
    pub(crate) fn read() -> Result<Self> {
        let settings: Self = config::typed()?;
        let mistake = |text: String| Err(ProviderError::invalid(text));
        if settings.port == 0 {
            return mistake("config.port is 0; write the port that functions listen on, e.g. 8080".to_owned());
        }
        if !(100..=60_000).contains(&settings.endpoint_ttl_ms) {
            return mistake(format!("config.endpoint-ttl-ms is {}; write 100 to 60000", settings.endpoint_ttl_ms));
        }
        if settings.field_manager.is_empty() || settings.field_manager.len() > 128 {
            return mistake("config.field-manager must have 1 to 128 bytes, e.g. \"wicketgate\"".to_owned());
        }
        if settings.secret_label.split_once('=').is_none_or(|(key, value)| key.is_empty() || value.is_empty()) {
            let text = &settings.secret_label;
            return mistake(format!("config.secret-label is {text:?}; write \"KEY=VALUE\""));
        }
        if settings.readiness().is_none() {
            let text = &settings.readiness;
            return mistake(format!("config.readiness is {text:?}; write \"tcp\", \"none\" or \"http:/path\""));
        }
        Ok(settings)
    }

    pub(crate) fn readiness(&self) -> Option<Readiness> {
        match self.readiness.as_str() {
            "tcp" => Some(Readiness::Tcp),
            "none" => Some(Readiness::None),
            text => {
                let path = text.strip_prefix("http:").filter(|path| path.starts_with('/'))?;
                Some(Readiness::Http(path.to_owned()))
            }
        }
    }

    /// Key and value of the label of secrets.
    pub(crate) fn secret_label(&self) -> (&str, &str) {
        self.secret_label.split_once('=').unwrap_or((&self.secret_label, ""))
    }
}
