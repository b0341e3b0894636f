//! Rules for platforms that many have, by name: `profile = "docker-swarm-scale-only"` in a grant.
//!
//! A profile is a file in the configuration's own language, `profile/NAME.toml`, so that an operator
//! can read it and copy what fits into a grant of his own:
//!
//! * `includes`: profiles whose rules come before these.
//! * `functions`: the path below which the platform itself forwards to functions.
//! * `endpoints`: where the platform has instances, if that is the same for all of its users.
//! * `allow`: the rules. `{namespace}` is one of the provider's namespaces, and any segment or value
//!   for a provider that serves every namespace.
//! * `allow-default`: rules only for such a provider.

use std::path::Path;

use toml::de::DeTable;

use super::grant::rules;
use super::problem::Problem;
use super::provider::allowed_hosts;
use super::section::{Document, Section};
use crate::host::grant::{BasePath, Rule};
use crate::provider::AllowedHost;

macro_rules! profiles {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("profile/", $name, ".toml")))),*]
    };
}

/// All of them, by name.
const PROFILES: &[(&str, &str)] = profiles![
    "docker",
    "docker-scale-only",
    "docker-swarm",
    "docker-swarm-scale-only",
    "ecs",
    "ecs-scale-only",
    "faas-provider",
    "faas-provider-scale-only",
    "kubernetes",
    "kubernetes-scale-only",
    "nomad",
    "nomad-scale-only",
];

/// What a profile says.
#[derive(Debug, Default)]
pub(super) struct Profile {
    /// In order; the first that matches decides.
    pub(super) rules: Vec<Rule>,
    /// Where the platform has the functions.
    pub(super) functions: Option<BasePath>,
    /// Where the platform has the instances.
    pub(super) endpoints: Vec<AllowedHost>,
}

/// The names of all profiles.
pub(super) fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|(name, _text)| *name).collect()
}

/// A profile for a provider with namespaces of its own, or for one that serves every namespace;
/// `None` if there is no such profile.
pub(super) fn read(name: &str, is_default: bool) -> Option<Profile> {
    let mut profile = Profile::default();
    // A test holds all of them to have no mistakes.
    let _problems = add(name, is_default, &mut profile)?;
    Some(profile)
}

/// Adds the rules of a profile, and of those that it includes. What it includes includes nothing of
/// its own, or less: a circle would be found by the test that reads them all.
fn add(name: &str, is_default: bool, profile: &mut Profile) -> Option<Vec<Problem>> {
    let (_name, text) = PROFILES.iter().find(|(known, _text)| *known == name)?;
    let text = if is_default { text.replace("{namespace}", "*") } else { (*text).to_owned() };
    let document = Document::new(&text, Path::new("/"));
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        document.report(error.span(), Problem::new("", error.message()));
    }
    let mut problems = Vec::new();
    {
        let root = Section::root(&document, table.get_ref());
        for included in root.texts("includes") {
            match add(&included, is_default, profile) {
                Some(more) => problems.extend(more),
                None => root.problem_at("includes", "no such profile"),
            }
        }
        if let Some(functions) = root.parsed("functions") {
            profile.functions = Some(functions);
        }
        profile.endpoints.extend(allowed_hosts(&root, "endpoints").unwrap_or_default());
        profile.rules.extend(rules::listed(&root, "allow"));
        let more = rules::listed(&root, "allow-default");
        if is_default {
            profile.rules.extend(more);
        }
    }
    problems.extend(document.into_findings().0);
    Some(problems)
}

#[cfg(test)]
mod tests;
