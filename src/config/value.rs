//! Single values: out of TOML, into ranges, and what was probably meant.

use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

/// The known key that was probably meant: at most a third of its letters differ.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name, known), *known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
}

/// A text, or what to write.
pub(super) fn as_text<'d>(value: &'d DeValue<'d>) -> Result<&'d str, String> {
    value.as_str().ok_or_else(|| format!("must be a text in quotes, not {}", value.type_str()))
}

/// A whole number that is not negative, or what to write.
pub(super) fn as_number(value: &DeValue<'_>) -> Result<u64, String> {
    let number = value.as_integer().ok_or_else(|| "must be a whole number, without quotes".to_owned())?;
    u64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_out_of_range| "must be a whole number from 0 to 2^64 - 1".to_owned())
}

/// A number in the type that holds it.
pub(super) fn narrow<N: TryFrom<u64>>(number: u64) -> Result<N, String> {
    N::try_from(number).map_err(|_too_large| "is too large for this machine".to_owned())
}

/// A value of a range, or the range.
pub(super) fn within<T: PartialOrd>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("must be from {} to {}", show(range.start()), show(range.end())))
    }
}

/// The same value as JSON. A time becomes a text.
pub(super) fn to_json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => serde_json::Value::String(text.to_string()),
        DeValue::Integer(_) => match as_number(value) {
            Ok(number) => number.into(),
            Err(_negative) => {
                value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok()).into()
            }
        },
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().into(),
        DeValue::Boolean(switch) => (*switch).into(),
        DeValue::Datetime(time) => serde_json::Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => table_to_json(table),
    }
}

/// A table as a JSON object.
pub(super) fn table_to_json(table: &DeTable<'_>) -> serde_json::Value {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref()))).collect()
}
