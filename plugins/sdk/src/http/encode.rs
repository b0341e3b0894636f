//! Percent-encoding (RFC 3986 section 2): everything but the unreserved characters is escaped.

/// Appends `text` as one segment of a path. `.` and `..`, which name other paths, are escaped too.
pub fn encode_segment(text: &str, out: &mut String) {
    if matches!(text, "." | "..") {
        out.push_str(if text.len() == 1 { "%2E" } else { "%2E%2E" });
    } else {
        encode(text, out);
    }
}

/// Appends `text` as the key or the value of a query's parameter.
pub fn encode_query(text: &str, out: &mut String) {
    encode(text, out);
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::encode_segment;

    #[test]
    fn only_unreserved_characters_stay() {
        let mut out = String::new();
        encode_segment("a-Z.0_~/ ?%ü", &mut out);
        assert_eq!(out, "a-Z.0_~%2F%20%3F%25%C3%BC");
    }

    #[test]
    fn dot_segments_are_escaped() {
        let mut out = String::new();
        encode_segment("..", &mut out);
        assert_eq!(out, "%2E%2E");
    }
}
