//! What this gateway, and a provider's configuration, would make of a component.

use std::collections::BTreeSet;

use serde::Serialize;

use super::meaning::{self, Offer};
use super::{Inspection, Kind};
use crate::plugin::interfaces::full_name;
use crate::plugin::refuse::Refusal;
use crate::provider::{ComponentSource, ProviderConfig};

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It would not be loaded.
    Refused,
    /// It would be loaded, and could not do a part of its work.
    Missing,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What it is, and what to do about it.
    pub text: String,
}

impl Finding {
    /// A reason why it would not be loaded.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        let mut text = refusal.to_string();
        if let Some(cause) = std::error::Error::source(refusal) {
            text = format!("{text}: {cause}");
        }
        Self { weight: Weight::Refused, text }
    }

    fn missing(text: String) -> Self {
        Self { weight: Weight::Missing, text }
    }

    fn note(text: String) -> Self {
        Self { weight: Weight::Note, text }
    }
}

impl Inspection {
    /// What would be refused by any gateway of this version, and, with a provider's configuration, what would be
    /// refused or missing there; the heaviest first.
    ///
    /// Names decide here. That every function has the contract's type shows only when it is loaded.
    #[must_use]
    pub fn findings(&self, config: Option<&ProviderConfig>) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.compare_names(config, &mut findings);
        if let Some(config) = config {
            self.compare_config(config, &mut findings);
        }
        findings.sort_by_key(|finding| finding.weight);
        findings
    }

    fn compare_names(&self, config: Option<&ProviderConfig>, findings: &mut Vec<Finding>) {
        let exported: BTreeSet<String> = self.exports.iter().map(|export| export.name.clone()).collect();
        if !exported.contains(&full_name("service-query")) {
            findings.push(Finding::refused(&Refusal::no_service_query(&exported)));
        }
        for import in &self.imports {
            // What has only types is satisfied by anything.
            if import.kind == Kind::Type || (import.kind == Kind::Interface && import.functions.is_empty()) {
                continue;
            }
            let has_commands = config.is_none_or(|config| !config.commands.is_empty());
            match meaning::offer(&import.name).filter(|_| import.kind == Kind::Interface) {
                Some(Offer::WithCommands) if !has_commands => {
                    let name = config.map_or("NAME", |config| config.name.as_str());
                    findings.push(Finding::refused(&Refusal::import(&import.name, "", has_commands, name)));
                }
                Some(Offer::Always | Offer::WithCommands) => {}
                None => findings.push(Finding::refused(&Refusal::import(&import.name, "", true, "NAME"))),
            }
        }
        if self.left_out > 0 {
            findings.push(Finding::note(format!("{} more imports and exports are not shown", self.left_out)));
        }
    }

    fn compare_config(&self, config: &ProviderConfig, findings: &mut Vec<Finding>) {
        let name = &config.name;
        if self.bytes > config.limits.component_bytes {
            let max_bytes = config.limits.component_bytes;
            findings.push(Finding::refused(&Refusal::TooLarge { max_bytes }));
        }
        if let Some(pinned) = config.digest.filter(|pinned| *pinned != self.digest) {
            findings.push(Finding::refused(&Refusal::Digest { pinned, found: self.digest }));
        }
        if self.memory > config.limits.memory as u64 {
            let (needed, allowed) = (self.memory, config.limits.memory);
            findings.push(Finding::refused(&Refusal::Memory { needed, allowed }));
        }
        let empty = std::collections::BTreeMap::new();
        let asked = self.manifest.as_ref().map_or(&empty, |manifest| &manifest.grants);
        for (grant, purpose) in asked.iter().filter(|(grant, _)| !config.grants.contains_key(*grant)) {
            findings.push(Finding::missing(format!(
                "it asks for the grant {grant} ({purpose}); write [provider.{name}.grant.{grant}] if it shall have it"
            )));
        }
        let sends = self.imports.iter().any(|import| import.name.starts_with("wasi:http/outgoing-handler"));
        if sends && config.grants.is_empty() && asked.is_empty() {
            findings.push(Finding::missing(format!(
                "it sends requests and has no grant; write [provider.{name}.grant.NAME]"
            )));
        }
        for (grant, granted) in &config.grants {
            if granted.rules.is_empty() {
                findings.push(Finding::missing(format!("the grant {grant} has no rule, so nothing passes it")));
            }
            if !sends {
                findings.push(Finding::note(format!("it has the grant {grant} and sends no requests")));
            } else if !asked.is_empty() && !asked.contains_key(grant) {
                findings.push(Finding::note(format!("it has the grant {grant}, and does not ask for it")));
            }
        }
        let uses_processes = self.imports.iter().any(|import| import.name.starts_with("wicketgate:host/processes@"));
        if !config.commands.is_empty() && !uses_processes {
            findings.push(Finding::note("it has commands and starts no processes".into()));
        }
        let settings = config.config.as_object().into_iter().flat_map(|table| table.keys());
        let known = self.manifest.as_ref().map_or(&empty, |manifest| &manifest.config);
        for key in settings.filter(|key| !known.is_empty() && !known.contains_key(*key)) {
            findings.push(Finding::note(format!("it does not say that it reads the key {key} of its config")));
        }
        if config.digest.is_none() && matches!(config.component, ComponentSource::File(_)) {
            findings.push(Finding::note(format!(
                "another file could take its place; write digest = \"{}\" to load only this one",
                self.digest
            )));
        }
    }
}
