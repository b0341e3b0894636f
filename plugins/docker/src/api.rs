//! The engine's HTTP API: requests, errors, and lists that are read element by element.

use serde_json::{Map, Value};
use wicketgate_sdk::http::{Request, Response};
use wicketgate_sdk::{ErrorKind, ProviderError, Result};

/// The root of the grant under which the operator says where the engine is.
const ROOT: &str = "http://docker/";

/// The longest answer that is one object, in bytes.
pub(crate) const ANSWER_BYTES: usize = 1 << 20;

/// The longest element of a list, in bytes: a service with some hundred variables and labels.
const ELEMENT_BYTES: usize = 1 << 20;

/// The most elements of a list.
const ELEMENTS_MAX: usize = 100_000;

/// How much of an answer is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The URL of a path below the grant.
pub(crate) fn url(path: &str) -> String {
    format!("{ROOT}{path}")
}

/// The engine's `filters` parameter.
pub(crate) fn filters(pairs: &[(&str, &[&str])]) -> String {
    let mut table = Map::new();
    for (key, values) in pairs {
        table.insert((*key).to_owned(), Value::Array(values.iter().map(|value| Value::from(*value)).collect()));
    }
    Value::Object(table).to_string()
}

/// The answer itself for a 2xx status, else its error.
pub(crate) fn success(answer: Response, what: &str) -> Result<Response> {
    answer.success(what).map_err(refine)
}

/// Errors of which the status alone says too little. Swarm answers 500 to a stale version index, and each
/// engine answers 400 to versions of the API that it does not speak.
fn refine(mut error: ProviderError) -> ProviderError {
    if error.platform_status == Some(400) && error.message.contains(" API version is ") {
        error.message += "; write that version into the grant, e.g. base = \"/v1.44\": this plugin needs 1.41 or newer";
    }
    if error.platform_status == Some(500) && error.message.contains("update out of sequence") {
        return ProviderError { kind: ErrorKind::Conflict, ..error };
    }
    error
}

/// A 404 that does not speak of the function: what was asked for needs something else that is missing.
pub(crate) fn missing_part(error: ProviderError) -> ProviderError {
    if error.kind == ErrorKind::NotFound { ProviderError { kind: ErrorKind::Invalid, ..error } } else { error }
}

/// Here 409 means that it is there already.
pub(crate) fn taken(error: ProviderError) -> ProviderError {
    if error.platform_status == Some(409) { ProviderError { kind: ErrorKind::AlreadyExists, ..error } } else { error }
}

/// Sends a request for a list, and hands over its elements one by one.
pub(crate) fn each(request: Request, what: &str, take: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
    let mut answer = success(request.send()?, what)?;
    let mut elements = Elements { is_list: true, ..Elements::default() };
    let mut count = 0;
    while let Some(piece) = answer.read(PIECE_BYTES)? {
        elements.feed(&piece, &mut |element| {
            count += 1;
            if count > ELEMENTS_MAX {
                return Err(ProviderError::internal(format!("{what}: more than {ELEMENTS_MAX} in one answer")));
            }
            take(parse(element, what)?)
        })?;
    }
    if elements.is_whole() { Ok(()) } else { Err(ProviderError::unavailable(format!("{what}: the answer breaks off"))) }
}

/// Reads one element.
pub(crate) fn parse(element: &[u8], what: &str) -> Result<Value> {
    serde_json::from_slice(element).map_err(|e| ProviderError::internal(format!("{what}: cannot read the answer: {e}")))
}

/// The text at a place of an answer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a place of an answer; 0 if there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// The list at a place of an answer; empty if there is none, or `null`.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Sorts by names. One function for all lists, since each instance of a sort costs kilobytes.
pub(crate) fn by_name<T>(list: Vec<T>, name: &dyn Fn(&T) -> String) -> Vec<T> {
    let mut order: Vec<(String, usize)> = Vec::with_capacity(list.len());
    order.extend(list.iter().enumerate().map(|(at, item)| (name(item), at)));
    sort(&mut order);
    let mut places: Vec<Option<T>> = list.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, at)| places.get_mut(at)?.take()).collect()
}

#[inline(never)]
fn sort(order: &mut [(String, usize)]) {
    order.sort_unstable();
}

/// Cuts JSON objects out of a stream: the elements of an array, or values one after another as in
/// the stream of events. Memory is bounded by one element.
#[derive(Default)]
pub(crate) struct Elements {
    element: Vec<u8>,
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// Whether objects may stand in an array only.
    is_list: bool,
    /// An array was opened and not closed.
    is_open: bool,
    /// Something stood where no object may stand.
    is_foreign: bool,
}

impl Elements {
    /// Takes a piece of the stream.
    pub(crate) fn feed(&mut self, piece: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for &byte in piece {
            if self.depth == 0 {
                match byte {
                    b'{' => {
                        self.is_foreign |= self.is_list && !self.is_open;
                        self.depth = 1;
                        self.element.push(byte);
                    }
                    b'[' => self.is_open = true,
                    b']' => self.is_open = false,
                    b',' | b' ' | b'\n' | b'\r' | b'\t' | b'n' | b'u' | b'l' => {}
                    _ => self.is_foreign = true,
                }
                continue;
            }
            self.element.push(byte);
            if self.element.len() > ELEMENT_BYTES {
                return Err(ProviderError::internal(format!(
                    "the engine's answer has an object over {ELEMENT_BYTES} bytes"
                )));
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' if !self.in_text => self.depth += 1,
                b'}' if !self.in_text => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        take(&self.element)?;
                        self.element.clear();
                    }
                }
                _ => {}
            }
        }
        if self.is_foreign {
            return Err(ProviderError::internal("the engine's answer is not a list of JSON objects"));
        }
        Ok(())
    }

    /// Whether the stream ended where it may end. `null` for an empty list is taken too.
    fn is_whole(&self) -> bool {
        self.depth == 0 && !self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str]) -> Result<(Vec<String>, bool)> {
        let mut elements = Elements::default();
        let mut found = Vec::new();
        for piece in pieces {
            elements.feed(piece.as_bytes(), &mut |element| {
                found.push(String::from_utf8_lossy(element).into_owned());
                Ok(())
            })?;
        }
        Ok((found, elements.is_whole()))
    }

    #[test]
    fn elements_are_cut_wherever_the_pieces_end() {
        let text = r#"[{"a":"}]\"{"},{"b":{"c":[1]}}]"#;
        let wanted = (vec![r#"{"a":"}]\"{"}"#.to_owned(), r#"{"b":{"c":[1]}}"#.to_owned()], true);
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(cut(&[one, other]).unwrap(), wanted, "cut at {at}");
        }
        assert_eq!(cut(&["{\"a\":1}\n", "{\"b\":2}\r\n"]).unwrap().0.len(), 2);
    }

    #[test]
    fn a_version_that_the_engine_does_not_speak_is_told_with_what_to_write() {
        let told = "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client";
        let error = refine(ProviderError::invalid(told).with_status(400));
        assert!(error.message.contains("base = \"/v1.44\""), "{}", error.message);
        let other = refine(ProviderError::invalid("invalid filter").with_status(400));
        assert_eq!(other.message, "invalid filter");
    }

    #[test]
    fn a_list_that_breaks_off_and_what_is_no_list_are_seen() {
        assert!(!cut(&["[{\"a\":1},"]).unwrap().1);
        assert!(!cut(&["[{\"a\":1},{"]).unwrap().1);
        assert!(cut(&["[]\n"]).unwrap().1);
        let mut list = Elements { is_list: true, ..Elements::default() };
        assert_eq!(list.feed(b"{}", &mut |_| Ok(())).unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(cut(&["<html>"]).unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(cut(&["{", &"x".repeat(ELEMENT_BYTES)]).unwrap_err().kind, ErrorKind::Internal);
    }
}
