//! The id of one call, from the client's request to the last log line.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it, in requests and responses.
pub const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// The longest id that is taken over from a request, in bytes; a longer one is replaced.
pub const CALL_ID_MAX_BYTES: usize = 128;

/// The id of one call: what the client sent, or a random UUID (version 4). Visible ASCII, at most
/// [`CALL_ID_MAX_BYTES`] long. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct CallId(HeaderValue);

impl CallId {
    /// The id that a request carries, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(CALL_ID) {
            Some(sent) if is_usable(sent.as_bytes()) => Self(sent.clone()),
            _none_or_unusable => Self::random(),
        }
    }

    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        let mut text = uuid::Uuid::encode_buffer();
        let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
        // Hexadecimal digits and hyphens are always a field's value.
        Self(HeaderValue::from_str(text).unwrap_or_else(|_never| HeaderValue::from_static("-")))
    }

    /// The id as a field's value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// The same, for whoever needs the id no longer.
    #[must_use]
    pub fn into_value(self) -> HeaderValue {
        self.0
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// What would not garble a log line.
fn is_usable(bytes: &[u8]) -> bool {
    (1..=CALL_ID_MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(CALL_ID, HeaderValue::from_str(id).unwrap())])
    }

    #[test]
    fn the_clients_id_is_kept() {
        assert_eq!(CallId::of(&sent("abc-1")).as_str(), "abc-1");
    }

    #[test]
    fn a_new_id_is_a_version_4_uuid() {
        let id = CallId::of(&HeaderMap::new());
        assert_eq!(uuid::Uuid::parse_str(id.as_str()).unwrap().get_version_num(), 4);
        assert_ne!(id, CallId::random());
    }

    #[test]
    fn an_id_that_would_garble_a_log_is_replaced() {
        for bad in ["", "a b", &"x".repeat(CALL_ID_MAX_BYTES + 1)] {
            assert_eq!(CallId::of(&sent(bad)).as_str().len(), 36, "{bad:?}");
        }
    }
}
