//! Which part of the gateway a request is for: a pure function of its path.
//!
//! The rules are OpenFaaS's (as observed, gateway 0.27): a path with doubled slashes or dot
//! segments is redirected to its clean form, and `/function/{name}` with whatever follows is an
//! invocation by any method. Two differences, both deliberate:
//!
//! - what follows the name is passed on as it was written, never decoded and encoded again;
//! - a segment after `/function/` that is no name is a mistake of the caller (400), so that 404 keeps
//!   its one meaning. And a path that hides dot segments behind percent signs, parameters or backslashes is
//!   refused, since what stands behind an endpoint may read it so and walk out of the function's prefix.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::name::{FunctionRef, InvalidName, NAME_MAX_BYTES, Namespace};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'p> {
    /// `/function/{name}` and below: an invocation.
    Function {
        /// `name` or `name.namespace`, percent-decoded, not yet checked.
        name: Cow<'p, str>,
        /// What follows the name, as it was written: empty, or beginning with a slash.
        rest: &'p str,
    },
    /// Everything else: the admin API, which has its own table of paths and methods.
    Admin,
    /// The path is not clean; this one is. To be answered with 301 and the query kept.
    Moved(String),
    /// The path can mean nothing good.
    Refused(PathRefused),
}

/// Why a path is answered with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRefused {
    /// The function's name, or its namespace, is no name.
    #[error("not a function's name: {shown:?}; {source}")]
    Name {
        /// The beginning of what was written.
        shown: String,
        /// What is wrong with it.
        source: InvalidName,
    },
    /// Percent signs, parameters or backslashes hide `.` or `..` segments.
    #[error("the path hides `.` or `..` segments behind `%`, `;` or `\\`; write them out or leave them out")]
    HiddenDots,
}

/// The path of all invocations.
const FUNCTION: &str = "/function/";

/// Decides where a request with this path goes. The method does not matter for invocations, and the
/// admin API looks at it itself.
#[must_use]
pub fn route(path: &str) -> Route<'_> {
    if !is_clean(path) {
        return Route::Moved(clean(path));
    }
    // Most paths have none of these, and nothing can hide in them.
    let may_hide = path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\'));
    if may_hide && hides_dots(path) {
        return Route::Refused(PathRefused::HiddenDots);
    }
    let Some(named) = path.strip_prefix(FUNCTION) else { return Route::Admin };
    let (name, rest) = match named.find('/') {
        Some(end) => named.split_at(end),
        None => (named, ""),
    };
    if name.is_empty() {
        // As OpenFaaS: no such page.
        return Route::Admin;
    }
    let name = if may_hide { percent_decode_str(name).decode_utf8_lossy() } else { Cow::Borrowed(name) };
    Route::Function { name, rest }
}

/// The function that the name in a path means.
///
/// # Errors
/// What is wrong with the name; shown shortened, since anybody can send anything.
pub fn function(name: &str, default_namespace: &Namespace) -> Result<FunctionRef, PathRefused> {
    FunctionRef::parse(name, default_namespace)
        .map_err(|source| PathRefused::Name { shown: name.chars().take(NAME_MAX_BYTES).take(64).collect(), source })
}

/// Whether nothing in a path wants cleaning. Most paths are, so this looks at each byte once.
fn is_clean(path: &str) -> bool {
    let mut segment_begins = false;
    let mut dots = 0_u8;
    for &byte in path.as_bytes() {
        match byte {
            // A segment that is empty, or nothing but one or two dots, ends here.
            b'/' if segment_begins || dots > 0 => return false,
            b'/' => segment_begins = true,
            b'.' if segment_begins => (segment_begins, dots) = (false, 1),
            b'.' if dots == 1 => dots = 2,
            _other => (segment_begins, dots) = (false, 0),
        }
    }
    dots == 0
}

/// The path without empty and dot segments. A final slash stays; a path that ends in a dot segment
/// loses it without a slash, as Go's `path.Clean` has it.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path.len());
    for segment in &segments {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    if path.ends_with('/') || segments.is_empty() {
        cleaned.push('/');
    }
    cleaned
}

/// Whether a segment of the decoded path is `.` or `..`, where a backslash separates too and a segment ends
/// before its parameters (`..;x`): there are servers that read paths so.
fn hides_dots(path: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .filter_map(|segment| segment.split(|byte| *byte == b';').next())
        .any(|name| matches!(name, b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invocation(path: &str) -> (String, String) {
        let found = route(path);
        let Route::Function { name, rest } = found else { panic!("{path}: {found:?}") };
        (name.into_owned(), rest.to_owned())
    }

    #[test]
    fn a_function_is_named_by_the_second_segment() {
        assert_eq!(invocation("/function/figlet"), ("figlet".into(), String::new()));
        assert_eq!(invocation("/function/figlet/"), ("figlet".into(), "/".into()));
        assert_eq!(invocation("/function/figlet.dev/a/b/"), ("figlet.dev".into(), "/a/b/".into()));
        assert_eq!(invocation("/function/%66iglet/a"), ("figlet".into(), "/a".into()));
    }

    #[test]
    fn what_follows_the_name_is_not_touched() {
        for rest in ["/a%2Fb", "/%25", "/a%20b", "/%3F", "/ä", "/a..b", "/..a", "/a.", "/...", "/%2F%2F"] {
            assert_eq!(invocation(&format!("/function/f{rest}")).1, rest);
        }
    }

    #[test]
    fn a_path_that_is_not_clean_moves() {
        for (path, cleaned) in [
            ("/function/fn//b", "/function/fn/b"),
            ("/function/fn/../b", "/function/b"),
            ("/function/fn/./b", "/function/fn/b"),
            ("//function/fn", "/function/fn"),
            ("/function//fn", "/function/fn"),
            ("/function/fn/", "/function/fn/"),
            ("/function/fn//", "/function/fn/"),
            ("/function/fn/..", "/function"),
            ("/function/fn/.", "/function/fn"),
            ("/../..", "/"),
            ("//", "/"),
        ] {
            let moved = if path == cleaned { None } else { Some(Route::Moved(cleaned.to_owned())) };
            assert_eq!(route(path), moved.unwrap_or_else(|| route(cleaned)), "{path}");
            assert!(is_clean(cleaned), "{cleaned}");
        }
    }

    #[test]
    fn hidden_dots_are_refused() {
        for path in [
            "/function/f/..;/x",
            "/function/f/..;**/%2e%",
            "/function/f/a/%2e.%3bx",
            "/function/f/%2e%2e/x",
            "/function/f/..%2f..%2fsystem",
            "/function/f/.%2e",
            "/a/%2E",
            "/a/..%5cb",
            "/function/f/..\\b",
            "/function/..\\",
        ] {
            assert_eq!(route(path), Route::Refused(PathRefused::HiddenDots), "{path}");
        }
    }

    #[test]
    fn everything_else_is_the_admin_apis() {
        for path in ["/", "", "*", "/function", "/function/", "/functions/x", "/system/info", "/async-function/x"] {
            assert_eq!(route(path), Route::Admin, "{path}");
        }
    }

    #[test]
    fn a_bad_name_says_what_is_wrong_and_is_shown_shortened() {
        let namespace = "openfaas-fn".parse().unwrap();
        assert_eq!(function("figlet", &namespace).unwrap().to_string(), "figlet.openfaas-fn");
        let refused = function(&"~".repeat(10_000), &namespace).unwrap_err().to_string();
        assert!(refused.len() < 300 && refused.contains("at most 253 bytes"), "{refused}");
        assert!(function("fn~x", &namespace).unwrap_err().to_string().contains("'~'"));
    }

    proptest! {
        #[test]
        fn a_cleaned_path_is_clean_and_stays_as_it_is(path in "/[a-c./%2]{0,40}") {
            let cleaned = clean(&path);
            prop_assert!(is_clean(&cleaned), "{} -> {}", path, cleaned);
            prop_assert_eq!(clean(&cleaned), cleaned);
        }

        #[test]
        fn what_is_clean_is_not_changed_by_cleaning(path in "/[a-c./]{0,40}") {
            prop_assert_eq!(is_clean(&path), clean(&path) == path);
        }

        #[test]
        fn routing_never_panics_and_never_lets_dot_segments_through(path in ".{0,60}") {
            if let Route::Function { rest, .. } = route(&path) {
                let decoded = percent_decode_str(rest).decode_utf8_lossy().into_owned();
                prop_assert!(!decoded.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn name_and_rest_are_the_whole_path(name in "[a-zA-Z0-9_-]{1,20}", rest in "(/[a-z0-9%]{1,5}){0,4}") {
            // A percent sign followed by anything is passed on as it is; dots cannot come of these characters
            // but by `%2e`, which the expression can write.
            let path = format!("/function/{name}{rest}");
            if let Route::Function { name: found, rest: followed } = route(&path) {
                prop_assert_eq!(found, name);
                prop_assert_eq!(followed, rest);
            } else {
                prop_assert!(rest.contains('%'));
            }
        }
    }
}
