//! What the operator wrote into the provider's `config` table.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{ProviderError, Result};

/// The whole table as the author's type. Keys that the type does not know are ignored unless it
/// says `#[serde(deny_unknown_fields)]`, which a plugin should.
///
/// # Errors
/// `internal`, naming the key, when the table does not fit the type.
pub fn typed<T: DeserializeOwned>() -> Result<T> {
    // From bytes, as answers are read: a second reader of JSON would be 10 KB of a component.
    serde_json::from_slice(document().as_bytes())
        .map_err(|e| ProviderError::internal(format!("the provider's config table does not fit: {e}")))
}

/// The whole table as a JSON object.
#[must_use]
pub fn document() -> String {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wicketgate::host::config::document();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config_document()
}

/// One key: a text as it is, anything else as JSON; `None` if it is absent.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wicketgate::host::config::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config_key(key)
}

/// The table, read key by key. What is read is taken out, so that what is left in the end is a mistake.
///
/// For plugins that have to be small: a derived reader of a table is some 20 KB of a component, with
/// the texts of all that could be wrong. Every error is `invalid` and says what to write.
#[derive(Debug)]
pub struct Table(Map<String, Value>);

impl Table {
    /// The whole table.
    ///
    /// # Errors
    /// When the configuration is no table.
    pub fn read() -> Result<Self> {
        let Value::Object(table) = typed()? else { return Err(ProviderError::invalid("config is not a table")) };
        Ok(Self(table))
    }

    /// Whether the operator wrote this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A value as it is; `None` if it is absent.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// A text; `None` if it is absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(misfit(key, &other, "a text")),
        }
    }

    /// A list of texts; empty if it is absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let Some(value) = self.0.remove(key) else { return Ok(Vec::new()) };
        let list = value.as_array().map(|list| list.iter().map(|entry| entry.as_str().map(str::to_owned)).collect());
        list.flatten().ok_or_else(|| misfit(key, &value, "a list of texts"))
    }

    /// A number in a range; `default` if it is absent.
    ///
    /// # Errors
    /// When it is something else or lies outside.
    pub fn number(&mut self, key: &str, default: u64, range: &RangeInclusive<u64>) -> Result<u64> {
        let Some(value) = self.0.remove(key) else { return Ok(default) };
        let number = value.as_u64().filter(|number| range.contains(number));
        number.ok_or_else(|| misfit(key, &value, &format!("a number from {} to {}", range.start(), range.end())))
    }

    /// One of some words; the first stands for a key that is absent.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| text.as_deref().is_none_or(|text| text == *word));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            misfit(key, &Value::from(text.unwrap_or_default()), &format!("one of {}", known.join(", ")))
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a key is left that nobody read.
    pub fn end(self) -> Result<()> {
        match self.0.keys().next() {
            Some(key) => Err(ProviderError::invalid(format!("config.{key} is not a key of this plugin"))),
            None => Ok(()),
        }
    }
}

fn misfit(key: &str, value: &Value, wanted: &str) -> ProviderError {
    ProviderError::invalid(format!("config.{key} is {value}; write {wanted}"))
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::*;
    use crate::testing::set_config;

    #[test]
    fn a_table_is_read_key_by_key_and_what_is_left_is_a_mistake() {
        set_config(r#"{"name":"a","names":["b","c"],"port":80,"mode":"two","rest":1}"#);
        let mut table = Table::read().unwrap();
        assert_eq!(table.text("name").unwrap().as_deref(), Some("a"));
        assert_eq!(table.texts("names").unwrap(), ["b", "c"]);
        assert_eq!(table.number("port", 1, &(1..=99)).unwrap(), 80);
        assert_eq!(table.word("mode", &[("one", 1), ("two", 2)]).unwrap(), 2);
        assert_eq!(table.word("kind", &[("one", 1), ("two", 2)]).unwrap(), 1);
        assert!(table.end().unwrap_err().message.contains("config.rest"));
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_right_form() {
        set_config(r#"{"name":1,"names":["b",2],"port":100,"mode":"three"}"#);
        let mut table = Table::read().unwrap();
        let told = [
            table.text("name").unwrap_err(),
            table.texts("names").unwrap_err(),
            table.number("port", 1, &(1..=99)).unwrap_err(),
            table.word("mode", &[("one", 1), ("two", 2)]).unwrap_err(),
        ];
        let texts: Vec<_> = told.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            texts,
            [
                "config.name is 1; write a text",
                "config.names is [\"b\",2]; write a list of texts",
                "config.port is 100; write a number from 1 to 99",
                "config.mode is \"three\"; write one of one, two",
            ]
        );
        set_config("[]");
        assert!(Table::read().is_err());
    }
}
