//! Reading what an answer holds. Nomad writes `null` for empty lists and maps.

use serde_json::Value;

/// A text; empty if it is absent.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number; 0 if it is absent.
pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// The entries of a list; none if it is absent.
pub(crate) fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    list(value.get(key).unwrap_or(&Value::Null))
}

/// The entries of a list; none if it is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Key and value of each text of an object.
pub(crate) fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    fields(value.get(key).unwrap_or(&Value::Null))
}

/// Key and value of each text of a value that is an object.
pub(crate) fn fields(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}
