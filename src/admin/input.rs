//! Reads what clients send, as tolerantly as Go's `encoding/json` does, since those clients were
//! written against it: keys in any case, unknown keys ignored, `null` the same as absent.
//!
//! Types are still checked, and each refusal is one sentence that names the field.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::name::{FunctionName, FunctionRef, InvalidName, Namespace};
use crate::query::Pairs;
use crate::query::functions::{FunctionDeployment, FunctionResources, NamespaceEntry, Secret};

/// The longest value of a secret in bytes (`wit/secrets.wit`).
const SECRET_MAX_BYTES: usize = 1 << 20;

/// Why a request cannot be read: 400 with this sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidInput {
    #[error("the body is empty; send a JSON object")]
    Empty,
    #[error("the body is not JSON: {0}")]
    Json(String),
    #[error("the body must be a JSON object, not {0}")]
    NotAnObject(&'static str),
    #[error("{field} must be {expected}, not {found}")]
    Type { field: String, expected: &'static str, found: &'static str },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{field}: {source}")]
    Name { field: &'static str, source: InvalidName },
    #[error("namespace {0:?} must not have a dot: the last dot of name.namespace separates the two")]
    DottedNamespace(String),
    #[error("{field} says {one:?} in one place and {other:?} in another; send it once")]
    Differs { field: &'static str, one: String, other: String },
    #[error("{field} is not {expected}: {value:?}")]
    Value { field: &'static str, expected: &'static str, value: String },
    #[error("rawValue is not base64")]
    Base64,
    #[error("a secret's value has at most {SECRET_MAX_BYTES} bytes, this one has {0}")]
    SecretTooLong(usize),
}

/// A JSON object of a client.
#[derive(Debug)]
pub(super) struct Fields {
    /// Where it is in the body, with a final dot: empty for the body itself.
    place: &'static str,
    object: Map<String, Value>,
}

impl Fields {
    /// Reads a body.
    pub(super) fn read(body: &Bytes) -> Result<Self, InvalidInput> {
        if body.trim_ascii().is_empty() {
            return Err(InvalidInput::Empty);
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Self { place: "", object }),
            Ok(other) => Err(InvalidInput::NotAnObject(kind(&other))),
            Err(error) => Err(InvalidInput::Json(error.to_string())),
        }
    }

    /// A field's value; the exact spelling wins over others, and `null` is absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        let exact = self.object.remove(name);
        let key = self.object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let other = key.and_then(|key| self.object.remove(&key));
        exact.or(other).filter(|value| !value.is_null())
    }

    fn mismatch(&self, name: &str, expected: &'static str, found: &Value) -> InvalidInput {
        InvalidInput::Type { field: format!("{}{name}", self.place), expected, found: kind(found) }
    }

    /// A text; empty is absent, as in Go.
    fn text(&mut self, name: &str) -> Result<Option<String>, InvalidInput> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(other) => Err(self.mismatch(name, "a string", &other)),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, InvalidInput> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.mismatch(name, "true or false", &other)),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, InvalidInput> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| text_of(value).map_err(|value| self.mismatch(name, "a list of strings", &value)))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.mismatch(name, "a list of strings", &other)),
        }
    }

    fn pairs(&mut self, name: &str) -> Result<Option<Pairs>, InvalidInput> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => object
                .into_iter()
                .map(|(key, value)| match text_of(value) {
                    Ok(text) => Ok((key, text)),
                    Err(value) => Err(self.mismatch(&format!("{name}.{key}"), "a string", &value)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.mismatch(name, "an object of strings", &other)),
        }
    }

    fn resources(&mut self, name: &'static str) -> Result<Option<FunctionResources>, InvalidInput> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                let mut fields = Self { place: if name == "limits" { "limits." } else { "requests." }, object };
                let (memory, cpu) = (fields.text("memory")?, fields.text("cpu")?);
                // What is left are the names of other resources, which are the platform's.
                let extra = fields
                    .object
                    .into_iter()
                    .filter_map(|(key, value)| text_of(value).ok().map(|text| (key, text)))
                    .filter(|(_, text)| !text.is_empty())
                    .collect();
                Ok(Some(FunctionResources { memory, cpu, extra }))
            }
            Some(other) => Err(self.mismatch(name, "an object", &other)),
        }
    }

    /// A count of instances; Go's `uint64` takes neither signs nor fractions.
    fn count(&mut self, name: &'static str) -> Result<u64, InvalidInput> {
        match self.take(name) {
            None => Err(InvalidInput::Missing(name)),
            Some(Value::Number(number)) => number.as_u64().ok_or_else(|| InvalidInput::Value {
                field: name,
                expected: "a whole number of 0 or more",
                value: number.to_string(),
            }),
            Some(other) => Err(self.mismatch(name, "a whole number of 0 or more", &other)),
        }
    }
}

/// A string, or `null` as an empty one, as Go reads elements of lists and maps.
fn text_of(value: Value) -> Result<String, Value> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(other),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A function's name as clients write it in a body or after `/system/function/`: all of it is the
/// name, dots included, since the namespace is said apart.
pub(super) fn name(field: &'static str, text: &str) -> Result<FunctionName, InvalidInput> {
    text.parse().map_err(|source| InvalidInput::Name { field, source })
}

/// A namespace.
pub(super) fn namespace(text: &str) -> Result<Namespace, InvalidInput> {
    if text.contains('.') {
        return Err(InvalidInput::DottedNamespace(text.to_owned()));
    }
    text.parse().map_err(|source| InvalidInput::Name { field: "namespace", source })
}

/// The one text of a field that may be said in two places.
pub(super) fn agreed(
    field: &'static str,
    one: Option<String>,
    other: Option<String>,
) -> Result<Option<String>, InvalidInput> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(InvalidInput::Differs { field, one, other }),
        (one, other) => Ok(one.or(other)),
    }
}

/// Where the namespace of a request comes from, beside its body.
pub(super) struct Place<'a> {
    /// The `namespace` of the query.
    pub(super) query: Option<String>,
    /// For requests that name none.
    pub(super) default: &'a Namespace,
}

impl Place<'_> {
    /// The namespace of the query or the body, else the default one.
    pub(super) fn namespace(self, body: Option<String>) -> Result<Namespace, InvalidInput> {
        match agreed("namespace", self.query.filter(|text| !text.is_empty()), body)? {
            Some(text) => namespace(&text),
            None => Ok(self.default.clone()),
        }
    }
}

/// Reads a `FunctionDeployment`.
pub(super) fn deployment(body: &Bytes, place: Place<'_>) -> Result<(FunctionRef, FunctionDeployment), InvalidInput> {
    let mut fields = Fields::read(body)?;
    let service = fields.text("service")?.ok_or(InvalidInput::Missing("service"))?;
    let namespace = place.namespace(fields.text("namespace")?)?;
    let function = FunctionRef { name: name("service", &service)?, namespace };
    let deployment = FunctionDeployment {
        service,
        namespace: function.namespace.to_string(),
        image: fields.text("image")?.ok_or(InvalidInput::Missing("image"))?,
        env_process: fields.text("envProcess")?,
        env_vars: fields.pairs("envVars")?,
        constraints: fields.texts("constraints")?,
        secrets: fields.texts("secrets")?,
        labels: fields.pairs("labels")?,
        annotations: fields.pairs("annotations")?,
        limits: fields.resources("limits")?,
        requests: fields.resources("requests")?,
        read_only_root_filesystem: fields.flag("readOnlyRootFilesystem")?,
    };
    Ok((function, deployment))
}

/// Reads a `DeleteFunctionRequest`.
pub(super) fn deletion(body: &Bytes, place: Place<'_>) -> Result<FunctionRef, InvalidInput> {
    let mut fields = Fields::read(body)?;
    let text = fields.text("functionName")?.ok_or(InvalidInput::Missing("functionName"))?;
    Ok(FunctionRef { name: name("functionName", &text)?, namespace: place.namespace(fields.text("namespace")?)? })
}

/// Reads a `ScaleServiceRequest`. The name in the path counts; one in the body must be the same. A
/// body without `replicas` is refused, although Go would read it as 0.
pub(super) fn scaling(
    body: &Bytes,
    path_name: FunctionName,
    place: Place<'_>,
) -> Result<(FunctionRef, u64), InvalidInput> {
    let mut fields = Fields::read(body)?;
    agreed("serviceName", Some(path_name.to_string()), fields.text("serviceName")?)?;
    let namespace = place.namespace(fields.text("namespace")?)?;
    Ok((FunctionRef { name: path_name, namespace }, fields.count("replicas")?))
}

/// Reads a `Secret`; `rawValue` counts when `value` is not set. Without its value for a deletion.
pub(super) fn secret(body: &Bytes, place: Place<'_>) -> Result<(Namespace, Secret), InvalidInput> {
    let mut fields = Fields::read(body)?;
    let secret = fields.text("name")?.ok_or(InvalidInput::Missing("name"))?;
    // Kubernetes' and OpenFaaS's secrets obey the grammar of functions' names.
    name("name", &secret)?;
    let namespace = place.namespace(fields.text("namespace")?)?;
    let value = match (fields.text("value")?, fields.text("rawValue")?) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(raw)) => base64::engine::general_purpose::STANDARD
            .decode(raw)
            .map_err(|_the_place_of_a_bad_byte_may_tell_of_the_secret| InvalidInput::Base64)?,
        (None, None) => Vec::new(),
    };
    if value.len() > SECRET_MAX_BYTES {
        return Err(InvalidInput::SecretTooLong(value.len()));
    }
    let namespace_text = namespace.to_string();
    Ok((namespace, Secret { name: secret, namespace: namespace_text, value }))
}

/// Reads a `FunctionNamespace`. The name may be in the path, in the body, or the same in both.
pub(super) fn namespace_entry(body: &Bytes, path: Option<String>) -> Result<(Namespace, NamespaceEntry), InvalidInput> {
    let mut fields = Fields::read(body)?;
    let name = agreed("name", path, fields.text("name")?)?.ok_or(InvalidInput::Missing("name"))?;
    let parsed = namespace(&name)?;
    let (annotations, labels) = (fields.pairs("annotations")?, fields.pairs("labels")?);
    Ok((parsed, NamespaceEntry { name, annotations, labels }))
}

#[cfg(test)]
mod tests;
