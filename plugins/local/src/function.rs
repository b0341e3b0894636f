//! What a function is: a deployment that is kept in `state`, or a declared command that needs none.

use wicketgate_sdk::processes::{self, Command, GroupSpec};
use wicketgate_sdk::{Pairs, ProviderError, Result, state};

use crate::{Local, limits};

/// Where deployments are kept: this and the group's name.
const KEYS: &str = "function/";

/// The longest name of a group, in bytes.
const GROUP_MAX_BYTES: usize = 253;

/// A deployment as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Deployed {
    /// The declared command that it runs.
    pub(crate) command: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Pairs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Pairs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) annotations: Pairs,
    /// As they were written, e.g. `memory` and `64Mi`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Pairs,
    pub(crate) created_at_ms: u64,
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) service: String,
    pub(crate) namespace: String,
    /// The name of its group of processes.
    pub(crate) group: String,
    /// What was deployed; `None` for a declared command that is a function by itself.
    pub(crate) deployed: Option<Deployed>,
    /// Its command; `None` if the operator took the declaration away.
    pub(crate) command: Option<Command>,
    /// The deployment's labels and the command's, which win: they are the operator's word.
    pub(crate) labels: Pairs,
}

impl Function {
    fn new(service: &str, namespace: &str, deployed: Option<Deployed>, command: Option<Command>) -> Self {
        let own = command.as_ref().map(|command| command.labels.as_slice()).unwrap_or_default();
        let asked = deployed.as_ref().map(|deployed| deployed.labels.as_slice()).unwrap_or_default();
        let unclaimed = asked.iter().filter(|(key, _)| own.iter().all(|(taken, _)| taken != key));
        let labels = own.iter().chain(unclaimed).cloned().collect();
        Self {
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            group: group_name(service, namespace),
            deployed,
            command,
            labels,
        }
    }

    /// What its processes are.
    pub(crate) fn spec(&self) -> GroupSpec {
        match &self.deployed {
            Some(deployed) => GroupSpec {
                command: deployed.command.clone(),
                env: deployed.env.clone(),
                // They were read when they were admitted.
                limits: limits::read(&deployed.limits).unwrap_or_else(|_unreadable| limits::none()),
            },
            None => GroupSpec { command: self.service.clone(), env: Vec::new(), limits: limits::none() },
        }
    }

    pub(crate) fn annotations(&self) -> Pairs {
        self.deployed.as_ref().map(|deployed| deployed.annotations.clone()).unwrap_or_default()
    }
}

impl Local {
    /// One function; `not-found` if it is neither deployed nor declared.
    pub(crate) fn function(&self, service: &str, namespace: &str) -> Result<Function> {
        self.check_namespace(namespace)?;
        let known = match deployment(&group_name(service, namespace))? {
            Some((deployed, _)) => {
                let command = declared(&deployed.command);
                Some(Function::new(service, namespace, Some(deployed), command))
            }
            None => {
                self.declared_function(service, namespace).map(|c| Function::new(service, namespace, None, Some(c)))
            }
        };
        known.ok_or_else(|| no_function(service, namespace))
    }

    /// The command that is a function of this name without having been deployed.
    pub(crate) fn declared_function(&self, service: &str, namespace: &str) -> Option<Command> {
        let first = self.settings.namespaces.first()?;
        declared(service).filter(|command| command.deployed && namespace == first)
    }

    /// The functions of some namespaces, in the order of their groups' names.
    pub(crate) fn functions(&self, namespaces: &[&str]) -> Result<Vec<Function>> {
        let commands = processes::commands();
        let first = self.settings.namespaces.first().map(String::as_str).unwrap_or_default();
        let mut functions = Vec::new();
        for key in state::list(KEYS)? {
            let Some((service, namespace)) = key.strip_prefix(KEYS).and_then(split) else { continue };
            if !namespaces.contains(&namespace) || !self.has_namespace(namespace) {
                continue;
            }
            // It may have been deleted since it was listed.
            let Some((deployed, _)) = deployment(&group_name(service, namespace))? else { continue };
            let command = commands.iter().find(|command| command.name == deployed.command).cloned();
            functions.push(Function::new(service, namespace, Some(deployed), command));
        }
        if namespaces.contains(&first) {
            let undeployed: Vec<Function> = commands
                .into_iter()
                .filter(|command| command.deployed)
                .filter(|command| functions.iter().all(|f| f.service != command.name || f.namespace != first))
                .map(|command| Function::new(&command.name.clone(), first, None, Some(command)))
                .collect();
            functions.extend(undeployed);
        }
        functions.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        Ok(functions)
    }

    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.settings.namespaces.iter().any(|own| own == namespace)
    }

    /// `not-found` for a namespace that the operator did not name: whoever may choose namespaces
    /// at will could start a process for each.
    pub(crate) fn check_namespace(&self, namespace: &str) -> Result<()> {
        if self.has_namespace(namespace) {
            return Ok(());
        }
        let own = self.settings.namespaces.join(", ");
        Err(ProviderError::not_found(format!(
            "there is no namespace {namespace:?}, only {own}; the operator adds one with config = {{ namespaces = [...] }}"
        )))
    }
}

pub(crate) fn no_function(service: &str, namespace: &str) -> ProviderError {
    ProviderError::not_found(format!("there is no function {service}.{namespace}"))
}

/// A declared command.
pub(crate) fn declared(name: &str) -> Option<Command> {
    processes::commands().into_iter().find(|command| command.name == name)
}

/// The name of a function's group.
pub(crate) fn group_name(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}")
}

/// The function of a group. A namespace has no dot, so the last one separates.
pub(crate) fn split(group: &str) -> Option<(&str, &str)> {
    group.rsplit_once('.')
}

/// Where the deployment of a group is kept.
pub(crate) fn key(group: &str) -> String {
    format!("{KEYS}{group}")
}

/// A deployment and the version of its key.
pub(crate) fn deployment(group: &str) -> Result<Option<(Deployed, u64)>> {
    // Too long for a key means never deployed.
    if group.len() > GROUP_MAX_BYTES { Ok(None) } else { state::get_json(&key(group)) }
}

/// Whether a text is a name: the contract's grammar, and nothing that could be read as a path.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=GROUP_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with('.')
        && !text.ends_with('.')
}
