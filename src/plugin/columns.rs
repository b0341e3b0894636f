//! The four columns of a grant and of the host's own interfaces: what the plugin declares, what its bytes show, what it may, what it used.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::manifest::Manifest;
use super::reach::{Detected, Reach};
use crate::host::grant::Grant;
use crate::provider::ProviderConfig;
use crate::trust::used::{self, Shapes, merge};

/// One grant, or one that there is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// What the plugin says that it is for; none if it does not ask for it.
    pub declared: Option<String>,
    /// What its bytes show.
    pub detected: Detected,
    /// Where requests go; none if it is not granted.
    pub connect: Option<String>,
    /// The rules: what is granted.
    pub rules: Vec<String>,
    /// The rules that its recorded use needs.
    pub used: Vec<String>,
}

impl Columns {
    /// Those of every grant that is declared, detected, granted or was used, by name.
    #[must_use]
    pub fn of(
        manifest: Option<&Manifest>,
        reach: &Reach,
        grants: &BTreeMap<String, Grant>,
        shapes: &Shapes,
    ) -> BTreeMap<String, Self> {
        let none = BTreeMap::new();
        let declared = manifest.map_or(&none, |manifest| &manifest.grants);
        let named = reach.names.iter().filter(|_| reach.sends);
        let names: BTreeSet<&String> = declared.keys().chain(grants.keys()).chain(shapes.keys()).chain(named).collect();
        let columns = |name: &String| Self {
            declared: declared.get(name).cloned(),
            detected: reach.detected(name),
            connect: grants.get(name).map(|grant| grant.connect.to_string()),
            rules: grants.get(name).into_iter().flat_map(|grant| &grant.rules).map(ToString::to_string).collect(),
            used: shapes.get(name).map(merge).unwrap_or_default().into_iter().collect(),
        };
        names.into_iter().map(|name| (name.clone(), columns(name))).collect()
    }
}

/// The interfaces of the host that a grant has no part in.
const HOST: [&str; 4] = ["config", "log", "processes", "state"];

/// One interface of `wicketgate:host`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostColumns {
    /// Whether the plugin imports it.
    pub detected: bool,
    /// Whether it gets it: `processes` where the operator declared commands, the others always.
    pub granted: bool,
    /// The functions that it called.
    pub used: Vec<String>,
}

impl HostColumns {
    /// Those of every interface, by name.
    #[must_use]
    pub fn of(reach: &Reach, config: &ProviderConfig, shapes: &Shapes) -> BTreeMap<String, Self> {
        let calls = || shapes.get(used::HOST).into_iter().flatten().filter_map(|call| call.split_once('.'));
        let columns = |interface: &str| Self {
            detected: reach.host.contains(interface),
            granted: interface != "processes" || !config.commands.is_empty(),
            used: calls().filter(|(of, _)| *of == interface).map(|(_, function)| function.to_owned()).collect(),
        };
        HOST.into_iter().map(|interface| (interface.to_owned(), columns(interface))).collect()
    }
}
