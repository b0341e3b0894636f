//! The operator's `config` table.

use serde::Deserialize;
use serde_json::Value;
use wicketgate_sdk::{ProviderError, Result, config};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The key of a job's `Meta` that makes it a function; empty: every job is one.
    pub(crate) label: String,
    /// Put before a function's name to make its job's.
    pub(crate) job_prefix: String,
    /// The task group that is scaled.
    pub(crate) group: String,
    /// The label of the port that takes requests.
    pub(crate) port_label: String,
    /// For how long an address may be used, in milliseconds, 100 to 60000.
    pub(crate) endpoint_ttl_ms: u32,
    /// The job that a deployment becomes, as Nomad's API takes it.
    pub(crate) template: Option<Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            label: "faas_function".to_owned(),
            job_prefix: String::new(),
            group: "fn".to_owned(),
            port_label: "http".to_owned(),
            endpoint_ttl_ms: 3000,
            template: None,
        }
    }
}

impl Settings {
    pub(crate) fn read() -> Result<Self> {
        let settings: Self = config::typed()?;
        if !(100..=60_000).contains(&settings.endpoint_ttl_ms) {
            let ttl = settings.endpoint_ttl_ms;
            return Err(ProviderError::invalid(format!("config.endpoint-ttl-ms is {ttl}; write 100 to 60000")));
        }
        if settings.group.is_empty() {
            return Err(ProviderError::invalid(
                "config.group is empty; write the task group of functions, e.g. \"fn\"",
            ));
        }
        if settings.template.as_ref().is_some_and(|template| !template.is_object()) {
            return Err(ProviderError::invalid("config.template is no table; write a job as Nomad's API takes it"));
        }
        Ok(settings)
    }
}
