//! What is written down of one provider.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::grant::{Grant, Mode, Rule};
use crate::name::Digest;
use crate::parse::{show_duration, show_size};
use crate::provider::{Limits, ProviderConfig};

/// One provider in the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The digest of the component.
    pub digest: String,
    /// Whether it is part of the binary: whoever trusts the one trusts the other.
    #[serde(default, rename = "bundled", skip_serializing_if = "std::ops::Not::not")]
    pub is_bundled: bool,
    /// The version in its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The operator's name for the key that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The grants that its manifest asks for, whether or not it has them.
    #[serde(default, rename = "asks-for", skip_serializing_if = "BTreeSet::is_empty")]
    pub asks_for: BTreeSet<String>,
    /// The keys of `config` that its manifest says it reads.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<String>,
    /// What it wants of the gateway.
    #[serde(default)]
    pub imports: BTreeSet<String>,
    /// What it offers.
    #[serde(default)]
    pub exports: BTreeSet<String>,
    /// What one call and one instance may use, as in the configuration.
    #[serde(default)]
    pub limits: BTreeMap<String, String>,
    /// What it may reach.
    #[serde(default)]
    pub grant: BTreeMap<String, LockedGrant>,
}

/// One grant in the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedGrant {
    /// Where it leads.
    pub connect: String,
    /// The path that is put before every request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// The path below which functions' requests may be forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<String>,
    /// Whether its rules are only tried out.
    #[serde(default, rename = "dry-run", skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What may pass.
    #[serde(default)]
    pub rules: BTreeSet<String>,
}

/// What a plugin's manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Its version; empty if it has none.
    pub version: String,
    /// The names of the grants that it asks for.
    pub grants: BTreeSet<String>,
    /// The keys of `config` that it reads.
    pub config: BTreeSet<String>,
}

impl Entry {
    /// What is to be written of a plugin under this configuration.
    #[must_use]
    pub fn new(
        config: &ProviderConfig,
        digest: Digest,
        declared: Declared,
        signer: Option<String>,
        imports: impl IntoIterator<Item = String>,
        exports: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            digest: digest.to_string(),
            is_bundled: false,
            version: Some(declared.version.trim().to_owned()).filter(|version| !version.is_empty()),
            signer,
            asks_for: declared.grants,
            reads: declared.config,
            imports: imports.into_iter().collect(),
            exports: exports.into_iter().collect(),
            limits: limits(&config.limits),
            grant: config.grants.iter().map(|(name, grant)| (name.clone(), LockedGrant::new(grant))).collect(),
        }
    }
}

impl LockedGrant {
    fn new(grant: &Grant) -> Self {
        Self {
            connect: grant.connect.to_string(),
            base: grant.base.as_str().to_owned(),
            functions: grant.functions.as_ref().map(|path| path.as_str().to_owned()),
            dry_run: grant.mode == Mode::DryRun,
            rules: grant.rules.iter().map(Rule::identity).collect(),
        }
    }
}

/// The limits that a plugin's appetite shows in, each as it stands in the configuration.
fn limits(limits: &Limits) -> BTreeMap<String, String> {
    let size = |bytes: usize| show_size(bytes as u64);
    let time = |span: Duration| show_duration(span);
    let all = [
        ("memory", size(limits.memory)),
        ("call-timeout", time(limits.call_timeout)),
        ("deploy-timeout", time(limits.deploy_timeout)),
        ("watch-timeout", time(limits.watch_timeout)),
        ("cpu-time", time(limits.cpu_time)),
        ("host-call-bytes", size(limits.host_call_bytes)),
        ("handles", limits.handles.to_string()),
        ("requests", limits.requests.to_string()),
        ("request-bytes", show_size(limits.request_bytes)),
        ("response-bytes", show_size(limits.response_bytes)),
        ("header-bytes", size(limits.header_bytes)),
        ("log-lines", limits.log_lines.to_string()),
        ("log-line-bytes", size(limits.log_line_bytes)),
        ("concurrency", limits.concurrency.to_string()),
        ("state-quota", show_size(limits.state_quota)),
    ];
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
