//! Reads a TOML table key by key and notes every mistake with its place, instead of ending at the
//! first one. A key that nobody asked for is a mistake too: dropping a [`Section`] reports it.
//!
//! Every key that is asked for is also noted by its pattern (`provider.NAME.limits.memory`), so that
//! a test can hold the documentation against the code.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::Problem;
use super::value::{as_number, as_text, narrow, nearest, to_json, within};
use crate::parse;

/// The longest value that is quoted in a mistake, in characters.
const SHOWN: usize = 60;

/// A parsed file and the mistakes found so far.
pub(super) struct Document<'t> {
    text: &'t str,
    /// Relative paths are relative to this.
    base: &'t Path,
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, base: &'t Path) -> Self {
        Self { text, base, problems: RefCell::default(), keys: RefCell::default() }
    }

    /// Line and column, both from 1, of a byte of the file.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// Notes a mistake at a place of the file.
    pub(super) fn report(&self, span: Option<Range<usize>>, mut problem: Problem) {
        problem.place = span.map(|span| self.place(span.start));
        self.problems.borrow_mut().push(problem);
    }

    /// The mistakes in the order of the file, those without a place last.
    pub(super) fn into_findings(self) -> (Vec<Problem>, BTreeSet<String>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.place.unwrap_or((usize::MAX, 0)));
        (problems, self.keys.into_inner())
    }

    fn shown(&self, span: &Range<usize>) -> Option<String> {
        let text = self.text.get(span.clone())?.split_whitespace().collect::<Vec<_>>().join(" ");
        // A URL with credentials in it is a mistake; showing it would spread them.
        if text.contains("://") && text.contains('@') {
            return None;
        }
        if text.chars().count() <= SHOWN {
            return Some(text);
        }
        Some(format!("{}...", text.chars().take(SHOWN).collect::<String>()))
    }
}

/// One value with its place.
pub(super) type Value<'d> = &'d Spanned<DeValue<'d>>;

/// One item of a list.
pub(super) struct Item<'d> {
    pub(super) value: &'d DeValue<'d>,
    pub(super) section: Section<'d>,
}

/// One table of the file; an absent one is empty.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,
    span: Option<Range<usize>>,
    path: String,
    pattern: String,
    asked: RefCell<Vec<&'static str>>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(super) fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Self {
        Self {
            document,
            table: Some(table),
            span: None,
            path: String::new(),
            pattern: String::new(),
            asked: RefCell::default(),
        }
    }

    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file has this key. Does not count as asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether a key that may be a text or a table is a text.
    pub(super) fn is_text(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Whether a key is exactly this word.
    pub(super) fn says(&self, key: &'static str, word: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().as_str() == Some(word))
    }

    /// Notes a mistake of this table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.document.report(self.span.clone(), Problem::new(self.path.clone(), message));
    }

    /// Notes a mistake of one of its keys.
    pub(super) fn problem_at(&self, key: &str, message: impl Into<String>) {
        let found = self.table.and_then(|table| table.get(key));
        let value = found.and_then(|value| self.document.shown(&value.span()));
        let span = found.map(Spanned::span).or_else(|| self.span.clone());
        let problem = Problem { place: None, key: join(&self.path, key), value, message: message.into() };
        self.document.report(span, problem);
    }

    fn ask(&self, key: &'static str) -> Option<Value<'d>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table?.get(key)
    }

    /// The value of a key in whatever form.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'d>> {
        self.document.keys.borrow_mut().insert(join(&self.pattern, key));
        self.ask(key)
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let value = self.ask(key);
        self.within(key, key, value)
    }

    /// The tables within a table whose keys are names that the operator chose.
    pub(super) fn named(&self, key: &'static str) -> Vec<(&'d str, Section<'d>)> {
        let outer = self.section(key);
        // Its keys are names, so none of them is unknown.
        outer.asked.borrow_mut().push("*");
        let Some(table) = outer.table else { return Vec::new() };
        let mut entries = table.iter().collect::<Vec<_>>();
        entries.sort_by_key(|(name, _)| name.span().start);
        entries
            .into_iter()
            .map(|(name, value)| {
                let name: &'d str = name.get_ref();
                (name, outer.within(name, "NAME", Some(value)))
            })
            .collect()
    }

    fn within(&self, key: &str, pattern: &str, value: Option<Value<'d>>) -> Section<'d> {
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.problem_at(key, format!("must be a table; write [{}]", join(&self.path, key)));
            }
            table
        });
        Section {
            document: self.document,
            table,
            span: value.map(Spanned::span),
            path: join(&self.path, key),
            pattern: join(&self.pattern, pattern),
            asked: RefCell::default(),
        }
    }

    /// The value of a key through `read`, whose error says what to write.
    pub(super) fn read<T, E: Display>(
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
    pub(super) fn text(&self, key: &'static str) -> Option<&'d str> {
        self.read(key, as_text)
    }

    /// A text that its type can read.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        self.read(key, |value| as_text(value)?.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |value| {
            let text = value.as_str().unwrap_or_default();
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice).ok_or_else(|| {
                let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
                format!("must be {}", words.join(" or "))
            })
        })
    }

    /// `true` or `false`.
    pub(super) fn switch(&self, key: &'static str, default: bool) -> bool {
        self.read(key, |value| value.as_bool().ok_or("must be true or false, without quotes")).unwrap_or(default)
    }

    /// A path, relative to the configuration file.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.read(key, |value| match as_text(value)? {
            "" => Err("must not be empty".to_owned()),
            text => Ok(text),
        })?;
        Some(self.resolve(text))
    }

    /// A path, relative to the configuration file, made absolute.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.document.base.join(path)
    }

    /// The path of a file that there is.
    pub(super) fn existing_file(&self, key: &'static str) -> Option<PathBuf> {
        let path = self.file(key)?;
        if path.is_file() {
            return Some(path);
        }
        self.problem_at(key, format!("there is no file {}", path.display()));
        None
    }

    /// A span of time.
    pub(super) fn duration(&self, key: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        self.read(key, |value| {
            let text = value.as_integer().map(DeInteger::as_str).or_else(|| value.as_str());
            let text = text.ok_or("must be a text such as \"5s\" or \"250ms\"")?;
            let span = parse::duration(text).map_err(|error| error.to_string())?;
            within(span, &range, |span| parse::show_duration(*span))
        })
        .unwrap_or(default)
    }

    /// A number of bytes, if the file has the key.
    pub(super) fn size_if<N>(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<N>
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
    pub(super) fn size<N: TryFrom<u64>>(&self, key: &'static str, default: N, range: RangeInclusive<u64>) -> N {
        self.size_if(key, range).unwrap_or(default)
    }

    /// A whole number, if the file has the key.
    pub(super) fn count_if<N: TryFrom<u64>>(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<N> {
        self.read(key, |value| narrow(within(as_number(value)?, &range, u64::to_string)?))
    }

    /// A whole number.
    pub(super) fn count<N: TryFrom<u64>>(&self, key: &'static str, default: N, range: RangeInclusive<u64>) -> N {
        self.count_if(key, range).unwrap_or(default)
    }

    /// A whole number that is not zero.
    pub(super) fn nonzero(&self, key: &'static str, default: NonZeroU32, most: u32) -> NonZeroU32 {
        self.count_if::<u32>(key, 1..=u64::from(most)).and_then(NonZeroU32::new).unwrap_or(default)
    }

    /// A list of texts, each through `read`; the mistakes of all of them are noted.
    pub(super) fn list<T, E: Display>(
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
    pub(super) fn items(&self, key: &'static str) -> Vec<Item<'d>> {
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
    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        self.list(key, |value| as_text(value).map(str::to_owned)).unwrap_or_default()
    }

    /// A table of texts, e.g. labels.
    pub(super) fn pairs(&self, key: &'static str) -> BTreeMap<String, String> {
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
    pub(super) fn json(&self, key: &'static str) -> serde_json::Value {
        let Some(value) = self.value(key) else { return serde_json::json!({}) };
        if value.get_ref().is_table() {
            to_json(value.get_ref())
        } else {
            self.problem_at(key, format!("must be a table; write [{}]", join(&self.path, key)));
            serde_json::json!({})
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.borrow();
        if asked.contains(&"*") {
            return;
        }
        for (key, value) in table {
            let name: &str = key.get_ref();
            if !asked.contains(&name) {
                let what = if value.get_ref().is_table() { "no such table" } else { "no such key" };
                let message = match nearest(name, &asked) {
                    Some(known) => format!("{what}; did you mean `{known}`?"),
                    None if asked.is_empty() => what.into(),
                    None => format!("{what}; here stand {}", asked.join(", ")),
                };
                self.document.report(Some(key.span()), Problem::new(join(&self.path, name), message));
            }
        }
    }
}
