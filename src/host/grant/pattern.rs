//! Patterns of paths and of values: literal text, `*`, `**` and `{namespace}`.

use std::fmt;

use crate::name::Namespace;

/// The longest pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 1024;

/// The most wildcards of one pattern. Matching takes time in proportion to their number.
pub const WILDCARDS_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Exactly these bytes.
    Literal(Box<str>),
    /// `*`: any bytes but the separator, also none.
    Star,
    /// A segment that is only `*`: at least one byte, so that `/services/*` is not `/services/`.
    Segment,
    /// `**`: any bytes.
    Any,
    /// `{namespace}`: the name of one of the provider's namespaces.
    Namespace,
}

/// A compiled pattern. Matched as a whole, against exact bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    tokens: Box<[Token]>,
    /// What `*` stops at: `/` in a path, nothing in a value.
    separator: Option<u8>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It has more than [`PATTERN_MAX_BYTES`].
    #[error("a pattern has at most {PATTERN_MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// It has more than [`WILDCARDS_MAX`] wildcards.
    #[error("a pattern has at most {WILDCARDS_MAX} wildcards, this one has {0}")]
    TooManyWildcards(usize),
    /// Three or more stars.
    #[error("\"***\" has no meaning; write \"*\" (within a segment) or \"**\" (anything)")]
    Stars,
    /// Braces around something else than `namespace`.
    #[error("{0:?} has no meaning; the only name in braces is \"{{namespace}}\"")]
    Braces(String),
}

impl Pattern {
    /// A pattern for a path: `*` stops at `/`.
    ///
    /// # Errors
    /// See [`InvalidPattern`]. The path itself is the business of [`Rule`](super::Rule).
    pub fn path(text: &str) -> Result<Self, InvalidPattern> {
        Self::parse(text, Some(b'/'))
    }

    /// A pattern for the value of a query parameter or a header field: `*` and `**` mean the same.
    ///
    /// # Errors
    /// See [`InvalidPattern`].
    pub fn value(text: &str) -> Result<Self, InvalidPattern> {
        Self::parse(text, None)
    }

    fn parse(text: &str, separator: Option<u8>) -> Result<Self, InvalidPattern> {
        if text.len() > PATTERN_MAX_BYTES {
            return Err(InvalidPattern::TooLong(text.len()));
        }
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(position) = rest.find(['*', '{', '}']) {
            let (literal, special) = rest.split_at(position);
            if !literal.is_empty() {
                tokens.push(Token::Literal(literal.into()));
            }
            if let Some(after) = special.strip_prefix("{namespace}") {
                tokens.push(Token::Namespace);
                rest = after;
                continue;
            }
            let after = special.trim_start_matches('*');
            let begins = tokens.last().is_none_or(|token| matches!(token, Token::Literal(text) if text.ends_with('/')));
            let token = match special.len() - after.len() {
                0 => {
                    let end = special.find('}').map_or(special.len(), |end| end + 1);
                    return Err(InvalidPattern::Braces(special.split_at(end).0.to_owned()));
                }
                1 if separator.is_none() => Token::Any,
                1 if begins && (after.is_empty() || after.starts_with('/')) => Token::Segment,
                1 => Token::Star,
                2 => Token::Any,
                _ => return Err(InvalidPattern::Stars),
            };
            tokens.push(token);
            rest = after;
        }
        if !rest.is_empty() {
            tokens.push(Token::Literal(rest.into()));
        }
        let wildcards = tokens.iter().filter(|token| !matches!(token, Token::Literal(_))).count();
        if wildcards > WILDCARDS_MAX {
            return Err(InvalidPattern::TooManyWildcards(wildcards));
        }
        Ok(Self { text: text.into(), tokens: tokens.into(), separator })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches everything, so that it says nothing about a value.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(&*self.tokens, [Token::Any])
    }

    /// Whether all of `subject` matches. Time: the length of `subject` times the number of tokens,
    /// whatever a guest sends; there is no backtracking.
    #[must_use]
    pub fn matches(&self, subject: &[u8], namespaces: &[Namespace]) -> bool {
        // Most patterns begin with literal text, and most rules fail there.
        let (tokens, start) = match self.tokens.split_first() {
            Some((Token::Literal(text), rest)) if subject.starts_with(text.as_bytes()) => (rest, text.len()),
            Some((Token::Literal(_), _)) => return false,
            _ => (&*self.tokens, 0),
        };
        if tokens.is_empty() {
            return start == subject.len();
        }
        // The ends of all ways in which the tokens so far match, in ascending order.
        let mut ends = vec![start];
        let mut next = Vec::new();
        for token in tokens {
            next.clear();
            for &end in &ends {
                let rest = subject.get(end..).unwrap_or_default();
                self.extend(token, end, rest, namespaces, &mut next);
            }
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return false;
            }
            std::mem::swap(&mut ends, &mut next);
        }
        ends.last() == Some(&subject.len())
    }

    fn extend(&self, token: &Token, end: usize, rest: &[u8], namespaces: &[Namespace], next: &mut Vec<usize>) {
        // A wildcard takes anything from `least` up to the end of what it may take. Ends come in
        // ascending order, so one within the last run adds nothing, and each byte is looked at once.
        let run = |least: usize, separator: Option<u8>, next: &mut Vec<usize>| {
            if next.last().is_some_and(|last| *last >= end) {
                return;
            }
            let stop = separator.and_then(|separator| rest.iter().position(|byte| *byte == separator));
            next.extend(end + least..=end + stop.unwrap_or(rest.len()));
        };
        match token {
            Token::Literal(text) if rest.starts_with(text.as_bytes()) => next.push(end + text.len()),
            Token::Literal(_) => {}
            Token::Star => run(0, self.separator, next),
            Token::Segment => run(1, self.separator, next),
            Token::Any => run(0, None, next),
            Token::Namespace => next.extend(
                namespaces
                    .iter()
                    .map(|namespace| namespace.as_str().as_bytes())
                    .filter(|namespace| rest.starts_with(namespace))
                    .map(|namespace| end + namespace.len()),
            ),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}
