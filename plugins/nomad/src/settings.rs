//! The operator's `config` table.

use serde_json::Value;
use wicketgate_sdk::config::Table;
use wicketgate_sdk::{ProviderError, Result};

use crate::LABEL;

pub(crate) struct Settings {
    /// The key of a job's `Meta` that makes it a function; empty: every job is one.
    pub(crate) label: String,
    /// Put before a function's name to make its job's.
    pub(crate) job_prefix: String,
    /// The task group that is scaled; `{name}` in it is the function.
    pub(crate) group: String,
    /// The label of the port that takes requests.
    pub(crate) port_label: String,
    /// For how long an address may be used, in milliseconds, 100 to 60000.
    pub(crate) endpoint_ttl_ms: u32,
    /// The job that a deployment becomes, as Nomad's API takes it.
    pub(crate) template: Option<Value>,
}

impl Settings {
    pub(crate) fn read() -> Result<Self> {
        let mut table = Table::read()?;
        let mut text =
            |key: &str, default: &str| -> Result<String> { Ok(table.text(key)?.unwrap_or_else(|| default.to_owned())) };
        let settings = Self {
            label: text("label", LABEL)?,
            job_prefix: text("job-prefix", "")?,
            group: text("group", "fn")?,
            port_label: text("port-label", "http")?,
            endpoint_ttl_ms: u32::try_from(table.number("endpoint-ttl-ms", 3000, &(100..=60_000))?).unwrap_or(100),
            template: table.take("template"),
        };
        table.end()?;
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
