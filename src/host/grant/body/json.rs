//! JSON as whoever reads it might: every key kept, also those that are there twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value. Unlike `serde_json`'s own it keeps all members of an object, since servers differ in
/// which of two equal keys they take.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one JSON value and nothing else. Nesting is bounded by `serde_json`, at 128.
    pub(super) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Whether it says nothing: `null`, `false`, 0, an empty text, list or object, or an object of
    /// which every member is `null`. That is what typed clients send for fields that were not set.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Bool(true) => false,
            Self::Number(number) => number.as_f64() == Some(0.0),
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(members) => members.iter().all(|(_key, value)| *value == Self::Null),
        }
    }

    /// A text as it is, a number or a switch as JSON writes it; `None` for everything else.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(switch) => Some(switch.to_string()),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The members of an object or the items of a list with their names; nothing for the rest.
    pub(super) fn members(&self) -> Box<dyn Iterator<Item = (std::borrow::Cow<'_, str>, &Json)> + '_> {
        match self {
            Self::Object(members) => Box::new(members.iter().map(|(key, value)| (key.as_str().into(), value))),
            Self::List(items) => {
                Box::new(items.iter().enumerate().map(|(index, value)| (index.to_string().into(), value)))
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => Box::new(std::iter::empty()),
        }
    }

    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Object(_))
    }
}

/// Whether two keys may be the same to the server. Go's `encoding/json`, which Docker and Nomad read
/// with, takes any case of a letter, and two letters beyond ASCII for the ASCII ones they fold to.
pub(super) fn is_same_key(one: &str, other: &str) -> bool {
    one.chars().map(fold).eq(other.chars().map(fold))
}

/// The same text for all keys that may be the same to the server.
pub(super) fn folded(key: &str) -> String {
    key.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // `serde_json` reads no number that is not finite.
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}
