//! Which paths may be matched at all.
//!
//! Rules are matched against the exact bytes that are sent. That is worth nothing if the server
//! reads other segments out of them than the matcher did, so whatever servers are known to read
//! differently is refused before any rule is asked.

#[cfg(test)]
use crate::provider::switches::{Check, is_off};

/// The longest path with its query, in bytes: the least that RFC 9110 section 4.1 asks servers to take.
pub const TARGET_MAX_BYTES: usize = 8000;

/// Why a path is not matched and not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with `/`.
    #[error("a path begins with \"/\"")]
    Relative,
    /// It has more than [`TARGET_MAX_BYTES`].
    #[error("a path has at most {TARGET_MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// Two slashes follow each other: some servers read one, some an empty segment.
    #[error("\"//\" is ambiguous; write one slash")]
    DoubleSlash,
    /// A `.` or `..` segment, also percent-encoded or with parameters: servers resolve them.
    #[error("the segment {0:?} would be resolved by servers; write the path that is meant")]
    DotSegment(String),
    /// `%2F`, `%5C`, `%00` or another encoded control character: servers decode at different times.
    #[error("{0:?} is read differently by different servers and never sent in a path")]
    Encoded(String),
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("\"%\" is followed by two hexadecimal digits")]
    BadEscape,
    /// A byte that no path has: a backslash, a control character, a space, one beyond ASCII.
    #[error("the character {0:?} is not allowed in a path; percent-encode it if it is meant")]
    Character(char),
}

/// Checks a path without its query.
///
/// # Errors
/// See [`InvalidPath`].
pub fn check_path(path: &str) -> Result<(), InvalidPath> {
    #[cfg(test)]
    if is_off(Check::Paths) {
        return Ok(());
    }
    if path.len() > TARGET_MAX_BYTES {
        return Err(InvalidPath::TooLong(path.len()));
    }
    let Some(rest) = path.strip_prefix('/') else { return Err(InvalidPath::Relative) };
    if let Some(bad) = path.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '?' | '#')) {
        return Err(InvalidPath::Character(bad));
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Only the last one may be empty: a final slash.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(InvalidPath::DoubleSlash);
        }
        check_segment(segment)?;
    }
    Ok(())
}

/// Checks a query, without its `?`.
///
/// # Errors
/// See [`InvalidPath`]. `;` is refused since some servers end a parameter there.
pub fn check_query(query: &str) -> Result<(), InvalidPath> {
    if query.len() > TARGET_MAX_BYTES {
        return Err(InvalidPath::TooLong(query.len()));
    }
    match query.chars().find(|c| !c.is_ascii_graphic() || matches!(c, ';' | '#' | '\\')) {
        Some(bad) => Err(InvalidPath::Character(bad)),
        None => Ok(()),
    }
}

fn check_segment(segment: &str) -> Result<(), InvalidPath> {
    let mut length = 0_usize;
    let mut only_dots = true;
    let mut in_parameters = false;
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = if byte == b'%' {
            let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
                return Err(InvalidPath::BadEscape);
            };
            let decoded = high << 4 | low;
            if matches!(decoded, b'/' | b'\\' | 0..=0x1F | 0x7F) {
                return Err(InvalidPath::Encoded(format!("%{decoded:02X}")));
            }
            decoded
        } else {
            byte
        };
        // `..;x` is a dot segment for servers that cut path parameters off.
        in_parameters |= decoded == b';';
        if !in_parameters {
            length += 1;
            only_dots &= decoded == b'.';
        }
    }
    if only_dots && (1..=2).contains(&length) {
        return Err(InvalidPath::DotSegment(segment.to_owned()));
    }
    Ok(())
}

/// Whether some server could read a `..` segment out of a path: encoded, behind an encoded slash or
/// a backslash, or with parameters. For paths that are not checked otherwise, being a client's.
#[must_use]
pub fn climbs(path: &str) -> bool {
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| segment.split(|byte| *byte == b';').next() == Some(b"..".as_slice()))
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
