//! What is wrong with a configuration: all of it at once, each with its place and the right form.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column in the file, both from 1; `None` for what no single place caused.
    pub place: Option<(usize, usize)>,
    /// The key's path, e.g. `provider.edge.limits.memory`; empty for the file as a whole.
    pub key: String,
    /// The value as it is written, cut when long. `None` where there is none, or where it might be
    /// a secret: the values of unknown keys are never shown.
    pub value: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Problem {
    /// A mistake that concerns a key as a whole, or several.
    #[must_use]
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: None, key: key.into(), value: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        match (&*self.key, &self.value) {
            ("", _) => {}
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
            (key, None) => write!(f, "{key}: ")?,
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path} cannot be read")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Mistakes, in the order of the file.
    #[error("{} in {origin}\n{}", count(.problems), list(.problems))]
    Invalid {
        /// The file, or what stands for it.
        origin: String,
        /// The mistakes.
        problems: Vec<Problem>,
    },
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "one mistake".into(),
        more => format!("{more} mistakes"),
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// An error and its causes, joined with `: `. A cause that its parent already told is left out.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}
