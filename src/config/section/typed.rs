//! The values of a section by their types: each reports what is wrong with it, and what to write.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::{Item, Section, join};
use crate::config::problem::Problem;
use crate::config::value::{as_number, as_text, narrow, to_json, within};
use crate::host::files::{self, ExposedSecrets};
use crate::parse;

impl<'d> Section<'d> {
    /// The value of a key through `read`, whose error says what to write.
    pub(in crate::config) fn read<T, E: Display>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'d DeValue<'d>) -> Result<T, E>,
    ) -> Option<T> {
        match read(self.value(key)?.get_ref()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem_at(key, error.to_string());
                None
            }
        }
    }

    /// A text.
    pub(in crate::config) fn text(&self, key: &'static str) -> Option<&'d str> {
        self.read(key, as_text)
    }

    /// A text that its type can read.
    pub(in crate::config) fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        self.read(key, |value| as_text(value)?.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// One of some words.
    pub(in crate::config) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |value| {
            let text = value.as_str().unwrap_or_default();
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice).ok_or_else(|| {
                let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
                format!("must be {}", words.join(" or "))
            })
        })
    }

    /// `true` or `false`.
    pub(in crate::config) fn switch(&self, key: &'static str, default: bool) -> bool {
        self.read(key, |value| value.as_bool().ok_or("must be true or false, without quotes")).unwrap_or(default)
    }

    /// A path, relative to the configuration file.
    pub(in crate::config) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.read(key, |value| match as_text(value)? {
            "" => Err("must not be empty".to_owned()),
            text => Ok(text),
        })?;
        Some(self.resolve(text))
    }

    /// A path, relative to the configuration file, made absolute.
    pub(in crate::config) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.document.base.join(path)
    }

    /// The path of a file that there is.
    pub(in crate::config) fn existing_file(&self, key: &'static str) -> Option<PathBuf> {
        let path = self.file(key)?;
        if path.is_file() {
            return Some(path);
        }
        self.problem_at(key, format!("there is no file {}", path.display()));
        None
    }

    /// What is done with files of secrets that everybody can read. To be said before the first of
    /// them is asked for.
    pub(in crate::config) fn set_exposed_secrets(&self, exposed: ExposedSecrets) {
        self.document.exposed_secrets.set(exposed);
    }

    /// What [`set_exposed_secrets`](Self::set_exposed_secrets) said.
    pub(in crate::config) fn exposed_secrets(&self) -> ExposedSecrets {
        self.document.exposed_secrets.get()
    }

    /// The path of a secret's file that there is.
    pub(in crate::config) fn secret_file(&self, key: &'static str) -> Option<PathBuf> {
        let path = self.existing_file(key)?;
        self.note_secret(&path);
        Some(path)
    }

    /// Notes a secret's file for [`exposed_files`](Self::exposed_files).
    pub(in crate::config) fn note_secret(&self, path: &Path) {
        if self.exposed_secrets() == ExposedSecrets::Warn && files::is_exposed(path) {
            self.document.exposed.borrow_mut().insert(path.to_owned());
        }
    }

    /// The files of secrets so far that everybody can read and that are used nevertheless.
    pub(in crate::config) fn exposed_files(&self) -> Vec<PathBuf> {
        self.document.exposed.borrow().iter().cloned().collect()
    }

    /// A span of time.
    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(key, |value| {
            let text = value.as_integer().map(DeInteger::as_str).or_else(|| value.as_str());
            let text = text.ok_or("must be a text such as \"5s\" or \"250ms\"")?;
            let span = parse::duration(text).map_err(|error| error.to_string())?;
            within(span, &range, |span| parse::show_duration(*span))
        })
        .unwrap_or(default)
    }

    /// A number of bytes, if the file has the key.
    pub(in crate::config) fn size_if<N>(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<N>
    where
        N: TryFrom<u64>,
    {
        self.read(key, |value| {
            let size = if value.is_integer() {
                as_number(value)?
            } else {
                let text = value.as_str().ok_or("must be a number of bytes or a text such as \"64MiB\"")?;
                parse::size(text).map_err(|error| error.to_string())?
            };
            narrow(within(size, &range, |size| parse::show_size(*size))?)
        })
    }

    /// A number of bytes.
    pub(in crate::config) fn size<N: TryFrom<u64>>(
        &self,
        key: &'static str,
        default: N,
        range: RangeInclusive<u64>,
    ) -> N {
        self.size_if(key, range).unwrap_or(default)
    }

    /// A whole number, if the file has the key.
    pub(in crate::config) fn count_if<N: TryFrom<u64>>(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<N> {
        self.read(key, |value| narrow(within(as_number(value)?, &range, u64::to_string)?))
    }

    /// A whole number.
    pub(in crate::config) fn count<N: TryFrom<u64>>(
        &self,
        key: &'static str,
        default: N,
        range: RangeInclusive<u64>,
    ) -> N {
        self.count_if(key, range).unwrap_or(default)
    }

    /// A whole number that is not zero.
    pub(in crate::config) fn nonzero(&self, key: &'static str, default: NonZeroU32, most: u32) -> NonZeroU32 {
        self.count_if::<u32>(key, 1..=u64::from(most)).and_then(NonZeroU32::new).unwrap_or(default)
    }

    /// A list of texts, each through `read`; the mistakes of all of them are noted.
    pub(in crate::config) fn list<T, E: Display>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&'d DeValue<'d>) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.problem_at(key, "must be a list; write [\"...\"]");
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match read(item.get_ref()) {
                Ok(item) => list.push(item),
                Err(error) => {
                    let problem = Problem {
                        place: None,
                        key: format!("{}[{index}]", join(&self.path, key)),
                        value: self.document.shown(&item.span()),
                        message: error.to_string(),
                    };
                    self.document.report(Some(item.span()), problem);
                }
            }
        }
        Some(list)
    }

    /// The items of a list that may be tables; each comes with a section that reads its keys.
    pub(in crate::config) fn items(&self, key: &'static str) -> Vec<Item<'d>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problem_at(key, "must be a list; write [\"...\"]");
            return Vec::new();
        };
        let item = |(index, item): (usize, &'d Spanned<DeValue<'d>>)| Item {
            value: item.get_ref(),
            section: Section {
                document: self.document,
                table: item.get_ref().as_table(),
                span: Some(item.span()),
                path: format!("{}[{index}]", join(&self.path, key)),
                pattern: join(&self.pattern, key),
                asked: RefCell::default(),
            },
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A list of texts.
    pub(in crate::config) fn texts(&self, key: &'static str) -> Vec<String> {
        self.list(key, |value| as_text(value).map(str::to_owned)).unwrap_or_default()
    }

    /// A table of texts, e.g. labels.
    pub(in crate::config) fn pairs(&self, key: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.value(key) else { return BTreeMap::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.problem_at(key, format!("must be a table of texts; write {{ {key} = \"...\" }}"));
            return BTreeMap::new();
        };
        let mut pairs = BTreeMap::new();
        for (name, value) in table {
            match as_text(value.get_ref()) {
                Ok(text) => drop(pairs.insert(name.get_ref().to_string(), text.to_owned())),
                Err(message) => {
                    let key = join(&join(&self.path, key), name.get_ref());
                    let shown = self.document.shown(&value.span());
                    self.document.report(Some(value.span()), Problem { place: None, key, value: shown, message });
                }
            }
        }
        pairs
    }

    /// Any table as JSON, an empty object if there is none.
    pub(in crate::config) fn json(&self, key: &'static str) -> serde_json::Value {
        let Some(value) = self.value(key) else { return serde_json::json!({}) };
        if value.get_ref().is_table() {
            to_json(value.get_ref())
        } else {
            self.problem_at(key, format!("must be a table; write [{}]", join(&self.path, key)));
            serde_json::json!({})
        }
    }
}
