//! The operator's `config` table.

use wicketgate_sdk::config::Table;
use wicketgate_sdk::{ProviderError, Result};

/// How endpoints are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// The pods' own addresses, from the Service's `EndpointSlices`.
    Pods,
    /// The Service's name in the cluster's DNS; the cluster chooses the pod.
    Service,
}

/// How a function says that it takes requests.
#[derive(Clone)]
pub(crate) enum Readiness {
    /// Its port accepts connections.
    Tcp,
    /// A `GET` of this path is answered with 2xx or 3xx.
    Http(String),
    /// As soon as its container runs.
    None,
}

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

impl Settings {
    pub(crate) fn read() -> Result<Self> {
        let mut table = Table::read()?;
        let mistake = |text: String| Err(ProviderError::invalid(text));
        let mut text =
            |key: &str, default: &str| -> Result<String> { Ok(table.text(key)?.unwrap_or_else(|| default.to_owned())) };
        let settings = Self {
            label: text("label", "faas_function")?,
            cluster_domain: text("cluster-domain", "svc")?,
            field_manager: text("field-manager", "wicketgate")?,
            readiness: text("readiness", "tcp")?,
            secret_label: text("secret-label", "app.kubernetes.io/managed-by=openfaas")?,
            endpoints: table.word("endpoints", &[("pods", Addressing::Pods), ("service", Addressing::Service)])?,
            port: u16::try_from(table.number("port", 8080, &(1..=u16::MAX.into()))?).unwrap_or(u16::MAX),
            endpoint_ttl_ms: u32::try_from(table.number("endpoint-ttl-ms", 3000, &(100..=60_000))?).unwrap_or(100),
            image_pull_policy: table.text("image-pull-policy")?,
            image_pull_secrets: table.texts("image-pull-secrets")?,
        };
        table.end()?;
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
