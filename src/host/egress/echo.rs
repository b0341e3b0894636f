//! Recognises a credential in what comes back, also encoded.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::header::{HeaderName, HeaderValue};

/// A shorter secret is recognised only as a whole value: found *within* values it would strip
/// fields that have nothing to do with it.
const ECHO_MIN_BYTES: usize = 4;

/// The forms in which a platform, or something in front of it, might give a secret back.
pub(super) struct Echo {
    /// Shorter than [`ECHO_MIN_BYTES`]: only as a whole.
    whole: Vec<Box<[u8]>>,
    /// As they are, and in base64 wherever they begin within the encoded text.
    parts: Vec<Box<[u8]>>,
    /// In hexadecimal, of any case; also what a field's name may hold, which is always in lower case.
    caseless: Vec<Box<[u8]>>,
}

impl Echo {
    pub(super) fn of(secrets: &[&str]) -> Self {
        let mut echo = Self { whole: Vec::new(), parts: Vec::new(), caseless: Vec::new() };
        for secret in secrets.iter().map(|secret| secret.as_bytes()).filter(|secret| !secret.is_empty()) {
            if secret.len() < ECHO_MIN_BYTES {
                echo.whole.push(secret.into());
                continue;
            }
            echo.parts.push(secret.into());
            for shift in 0..3 {
                echo.parts.extend(base64_within(secret, shift));
            }
            echo.caseless.push(secret.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        }
        echo
    }

    /// Whether a field of a response gives a secret away: as it is, percent-encoded, in base64 or in
    /// hexadecimal.
    pub(super) fn is_in(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let raw = value.as_bytes();
        let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode(raw).into();
        let is_in_value = |text: &[u8]| {
            self.whole.iter().any(|secret| *text == **secret)
                || self.parts.iter().any(|part| contains(text, part))
                || self.caseless.iter().any(|part| contains_ignoring_case(text, part))
        };
        let name = name.as_str().as_bytes();
        is_in_value(raw)
            || (*decoded != *raw && is_in_value(&decoded))
            || self.parts.iter().chain(&self.caseless).any(|part| contains_ignoring_case(name, part))
    }
}

/// What of a secret's base64 is the same whatever stands around it, if `shift` bytes of a group of
/// three come before it: the letters that hold bits of nothing else.
fn base64_within(secret: &[u8], shift: usize) -> Vec<Box<[u8]>> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(secret);
    // The first letter that holds only the secret's bits, and how many follow.
    let first = (shift * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    let cut = |text: String| text.as_bytes().get(first..end).map(Box::from);
    [cut(STANDARD_NO_PAD.encode(&padded)), cut(URL_SAFE_NO_PAD.encode(&padded))].into_iter().flatten().collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    fn is_in(secret: &str, value: &str) -> bool {
        Echo::of(&[secret]).is_in(&HeaderName::from_static("x-a"), &HeaderValue::from_str(value).unwrap())
    }

    #[test]
    fn a_secret_is_recognised_in_every_form() {
        let secret = "s?cr~t/pass>word";
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "z", "zz", "@host"] {
                let text = format!("{before}{secret}{after}");
                for value in [text.clone(), STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    assert!(is_in(secret, &format!("it was [{value}]")), "{before} {after} {value}");
                }
            }
        }
        let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert!(is_in(secret, &hex) && is_in(secret, &hex.to_lowercase()));
        let all: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert!(is_in(secret, &format!("?token={all}&x=1")));
        assert!(is_in(secret, "?token=s%3Fcr~t%2Fpass%3Eword"));
        let encoded = STANDARD.encode(secret).replace('=', "%3D").replace('+', "%2B").replace('/', "%2F");
        assert!(is_in(secret, &encoded));
        for other in ["s?cr~t", "password", "c2VjcmV0", "", "%", "%zz"] {
            assert!(!is_in(secret, other), "{other}");
        }
    }

    #[test]
    fn a_short_secret_is_recognised_only_as_a_whole() {
        assert!(is_in("ye", "ye") && is_in("ye", "%79e"));
        assert!(!is_in("ye", "yes"));
        assert!(!is_in("", ""));
    }

    #[test]
    fn a_field_may_be_named_after_a_secret() {
        let echo = Echo::of(&["Token-1"]);
        assert!(echo.is_in(&HeaderName::from_static("x-token-1"), &HeaderValue::from_static("1")));
    }
}
