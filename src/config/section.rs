//! Reads a TOML table key by key and notes every mistake with its place, instead of ending at the
//! first one. A key that nobody asked for is a mistake too: dropping a [`Section`] reports it.
//!
//! Every key that is asked for is also noted by its pattern (`provider.NAME.limits.memory`), so that
//! a test can hold the documentation against the code.

mod typed;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::value::nearest;
use crate::host::files::ExposedSecrets;

/// The longest value that is quoted in a mistake, in characters.
const SHOWN: usize = 60;

/// A parsed file and the mistakes found so far.
pub(super) struct Document<'t> {
    text: &'t str,
    /// Relative paths are relative to this.
    base: &'t Path,
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
    exposed_secrets: Cell<ExposedSecrets>,
    /// Files of secrets that every user of the machine can read.
    exposed: RefCell<BTreeSet<PathBuf>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, base: &'t Path) -> Self {
        Self {
            text,
            base,
            problems: RefCell::default(),
            keys: RefCell::default(),
            exposed_secrets: Cell::default(),
            exposed: RefCell::default(),
        }
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

pub(super) fn join(path: &str, key: &str) -> String {
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
