//! Names and labels: how a function is found among services and containers.
//!
//! The label `com.openfaas.function` is the one that OpenFaaS's own provider for swarms writes, so
//! what it deployed is found here too. Objects without it are no functions: they are neither shown,
//! nor scaled, nor called.

use serde_json::{Map, Value};
use wicketgate_sdk::{Pairs, ProviderError, Result};

use crate::settings::Settings;

/// The function's name.
pub(crate) const FUNCTION: &str = "com.openfaas.function";

/// The function's namespace; without it, the first one of the operator's.
pub(crate) const NAMESPACE: &str = "com.openfaas.namespace";

/// Before the names of annotations, for which platforms have no place but labels.
const ANNOTATION: &str = "com.openfaas.annotations.";

/// Before the names of labels that are this plugin's own.
const OWN: &str = "com.wicketgate.";

/// What a container is to its function: [`MODEL`] or a replica.
pub(crate) const ROLE: &str = "com.wicketgate.role";

/// A container that only holds what was deployed and never runs.
pub(crate) const MODEL: &str = "model";

/// What was deployed, as JSON.
pub(crate) const DEPLOYMENT: &str = "com.wicketgate.deployment";

/// Which deployment a container was made from.
pub(crate) const REVISION: &str = "com.wicketgate.revision";

/// Who made a secret, as OpenFaaS's own provider for swarms writes it.
pub(crate) const OWNER: (&str, &str) = ("com.openfaas.owner", "openfaas");

/// The most pairs of a list, and the longest key and value, as the contract has it.
const PAIRS_MAX: usize = 256;
const KEY_BYTES: usize = 253;
const VALUE_BYTES: usize = 8192;

/// The longest name of a service, which is also a name in DNS.
const SERVICE_BYTES: usize = 63;

/// The longest name of a container that is used here; the engine has no bound.
const CONTAINER_BYTES: usize = 200;

/// Labels as the engine sends them at a place of an answer: the table may be `null`.
pub(crate) fn labels(value: &Value, pointer: &str) -> Pairs {
    let table = value.pointer(pointer).and_then(Value::as_object);
    let mut pairs = Pairs::new();
    for (key, value) in table.into_iter().flatten() {
        pairs.push((key.clone(), value.as_str().unwrap_or_default().to_owned()));
    }
    pairs
}

/// A label's value.
pub(crate) fn label<'a>(labels: &'a Pairs, key: &str) -> Option<&'a str> {
    labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// Labels as the engine wants them.
pub(crate) fn table(labels: &Pairs) -> Value {
    let mut table = Map::new();
    for (key, value) in labels {
        table.insert(key.clone(), Value::from(value.as_str()));
    }
    Value::Object(table)
}

/// Sets a label.
pub(crate) fn set_label(labels: &mut Pairs, key: &str, value: &str) {
    labels.retain(|(known, _)| known != key);
    labels.push((key.to_owned(), value.to_owned()));
}

/// The function and the namespace that labels name, if they are a function's in a namespace of the
/// operator's.
pub(crate) fn function_of<'a>(labels: &'a Pairs, settings: &'a Settings) -> Option<(&'a str, &'a str)> {
    let name = label(labels, FUNCTION).filter(|name| is_name(name))?;
    let namespace = label(labels, NAMESPACE).unwrap_or(settings.first_namespace());
    settings.has_namespace(namespace).then_some((name, namespace))
}

/// Whether a text is a name in the contract's grammar.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Whether a text is a namespace: a name without dots that begins with a letter or digit.
pub(crate) fn is_namespace(text: &str) -> bool {
    is_name(text) && !text.contains('.') && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The labels and annotations that a function's labels hold. Pairs that the contract has no room for
/// are left out.
pub(crate) fn split(labels: &Pairs) -> (Pairs, Pairs) {
    let (mut own, mut annotations) = (Pairs::new(), Pairs::new());
    for (key, value) in labels {
        if key.starts_with(OWN) || value.len() > VALUE_BYTES {
            continue;
        }
        let (list, key) = match key.strip_prefix(ANNOTATION) {
            Some(key) => (&mut annotations, key),
            None => (&mut own, key.as_str()),
        };
        if list.len() < PAIRS_MAX && (1..=KEY_BYTES).contains(&key.len()) {
            list.push((key.to_owned(), value.clone()));
        }
    }
    (own, annotations)
}

/// The labels of a new function.
pub(crate) fn join(service: &str, namespace: &str, labels: &Pairs, annotations: &Pairs) -> Result<Pairs> {
    let mut joined = Pairs::new();
    for (key, value) in labels {
        let is_claimed = key.starts_with(OWN)
            || key.starts_with(ANNOTATION)
            || key.starts_with("com.docker.")
            || key == FUNCTION && value != service
            || key == NAMESPACE && value != namespace;
        if is_claimed || key.is_empty() {
            return Err(ProviderError::invalid(format!("the label {key:?} is not a deployer's to set")));
        }
        set_label(&mut joined, key, value);
    }
    for (key, value) in annotations {
        set_label(&mut joined, &format!("{ANNOTATION}{key}"), value);
    }
    set_label(&mut joined, FUNCTION, service);
    set_label(&mut joined, NAMESPACE, namespace);
    Ok(joined)
}

/// The swarm's name for a function or a secret: as it is in the first namespace, with the namespace before it
/// in others.
pub(crate) fn swarm_name(name: &str, namespace: &str, settings: &Settings) -> String {
    if namespace == settings.first_namespace() { name.to_owned() } else { format!("{namespace}_{name}") }
}

/// `invalid` for a name that no service can have.
pub(crate) fn check_swarm_name(name: &str) -> Result<()> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let fits = name.len() <= SERVICE_BYTES
        && name.bytes().all(inner)
        && ends(name.bytes().next())
        && ends(name.bytes().next_back());
    if fits {
        return Ok(());
    }
    Err(ProviderError::invalid(format!(
        "{name:?} cannot be the name of a service; write letters, digits, '-' and '_', at most {SERVICE_BYTES}"
    )))
}

/// The name of the container that holds what was deployed; its replicas' names begin with it.
pub(crate) fn model_name(service: &str, namespace: &str) -> Result<String> {
    let name = format!("{namespace}_{service}");
    if is_name(service) && name.len() <= CONTAINER_BYTES {
        return Ok(name);
    }
    Err(ProviderError::invalid(format!(
        "{service:?} cannot be part of a container's name; write letters, digits, '-', '_' and '.', at most {CONTAINER_BYTES}"
    )))
}

/// `not-found` of a function.
pub(crate) fn no_function(service: &str, namespace: &str) -> ProviderError {
    ProviderError::not_found(format!("there is no function {service}.{namespace}"))
}
