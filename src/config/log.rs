//! `[log]`: what is logged, and in which form.

use tracing_subscriber::EnvFilter;

use super::section::Section;
use super::value::as_text;

/// What is logged where nothing was said.
pub const LEVEL: &str = "info";

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A level, or directives such as `info,wicketgate::scaler=debug`. Default [`LEVEL`].
    pub level: String,
    /// Default [`Format::Auto`].
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: LEVEL.into(), format: Format::default() }
    }
}

/// Checks a level or directives.
///
/// # Errors
/// A sentence that says what to write.
pub fn check_level(text: &str) -> Result<String, String> {
    // A single word that is no level would be taken for the name of a crate.
    let is_level = ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let directives = text.contains('=') || text.contains(',');
    match EnvFilter::try_new(text) {
        Ok(_) if is_level || directives => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("must be off, error, warn, info, debug or trace, or directives such as \
             \"info,wicketgate::scaler=debug\""
            .into()),
    }
}

pub(super) fn read(section: &Section<'_>) -> Config {
    let formats = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
    Config {
        level: section.read("level", |value| check_level(as_text(value)?)).unwrap_or_else(|| LEVEL.into()),
        format: section.choice("format", &formats).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_directives() {
        for good in ["info", "off", "info,wicketgate::scaler=debug", "wicketgate=trace"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "INFO!", "info,=", "wicketgate=loud"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
