//! What trying a candidate showed, for people and for the admin API.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Outcome;
use crate::name::FunctionRef;
use crate::query::QueryError;

/// Differences, missing and cold functions that a report names; more are counted.
const NAMED_MAX: usize = 32;
/// Characters of a guest's text that are shown.
const SHOWN_MAX: usize = 120;

/// One field in which a candidate answers otherwise than the active generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// About which function.
    #[serde(serialize_with = "as_text")]
    pub function: FunctionRef,
    /// Which field: `replicas`, `labels.KEY`, ..., `answer` (found or not, or an error), or `effect` (it
    /// tried to write).
    pub field: String,
    /// What the active generation says.
    pub old: String,
    /// What the candidate says.
    pub new: String,
}

impl Difference {
    pub(super) fn wrote(function: FunctionRef, request: &str) -> Self {
        Self { function, field: "effect".into(), old: "a question reads".into(), new: format!("it wrote: {request}") }
    }

    pub(super) fn failed(function: FunctionRef, old: &str, error: &QueryError) -> Self {
        Self { function, field: "answer".into(), old: old.into(), new: shown(&error.message) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: was {}, is {}", self.function, self.field, self.old, self.new)
    }
}

/// A function that got no instance on another platform in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cold {
    /// Which one.
    #[serde(serialize_with = "as_text")]
    pub function: FunctionRef,
    /// What was in its way.
    pub reason: String,
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.reason)
    }
}

/// What trying a candidate showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// Whether both generations speak to one platform.
    pub is_same_platform: bool,
    /// How many functions it was asked about.
    pub asked: usize,
    /// How many of them the active generation could not answer for, so that nothing was compared.
    pub not_compared: usize,
    /// Where it answers otherwise. At most 32; see [`unnamed`](Self::unnamed).
    pub differences: Vec<Difference>,
    /// Functions that were called lately and are not on the other platform. At most 32.
    #[serde(serialize_with = "as_texts")]
    pub missing: Vec<FunctionRef>,
    /// Functions with instances on the old platform and none on the other: to be warmed up.
    #[serde(serialize_with = "as_texts")]
    pub to_warm: Vec<FunctionRef>,
    /// Differences and missing functions beyond those that are named.
    pub unnamed: usize,
    /// The time that was over before every function was asked about, if it was. In milliseconds, where it is
    /// written.
    #[serde(rename = "out_of_time_ms", serialize_with = "as_millis", skip_serializing_if = "Option::is_none")]
    pub out_of_time: Option<Duration>,
}

impl ShadowReport {
    /// Whether nothing was found that refuses the swap.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.differences.is_empty() && self.missing.is_empty() && self.unnamed == 0 && self.out_of_time.is_none()
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.asked += 1;
        match outcome {
            Outcome::Fine => {}
            Outcome::NotCompared => self.not_compared += 1,
            Outcome::Different(differences) => self.differences.extend(differences),
            Outcome::Missing(function) => self.missing.push(function),
            Outcome::Cold(function) => self.to_warm.push(function),
        }
    }

    /// Puts everything in order, whatever came first.
    pub(super) fn finish(&mut self) {
        self.differences.sort_by(|one, other| (&one.function, &one.field).cmp(&(&other.function, &other.field)));
        self.missing.sort();
        self.to_warm.sort();
        let named = self.differences.len() + self.missing.len();
        self.differences.truncate(NAMED_MAX);
        self.missing.truncate(NAMED_MAX);
        self.unnamed = named - self.differences.len() - self.missing.len();
    }
}

impl fmt::Display for ShadowReport {
    /// One sentence for each finding, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_accepted() {
            return write!(f, "asked about {} functions, no difference", self.asked);
        }
        let mut parts: Vec<String> = self.differences.iter().map(ToString::to_string).collect();
        parts.extend(self.missing.iter().map(|function| {
            format!("{function}: called within swap.swap-lookback and not on the other platform; deploy it there first")
        }));
        if self.unnamed > 0 {
            parts.push(format!("and {} more", self.unnamed));
        }
        if let Some(limit) = self.out_of_time {
            parts.push(format!("not every question was answered within {limit:?}; raise `swap.shadow-timeout`"));
        }
        if !self.differences.is_empty() {
            parts.push("if that is meant, write `swap.tolerance` or `swap.ignore`".into());
        }
        f.write_str(&parts.join("; "))
    }
}

/// A guest's text, quoted, short and without control characters.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "..." } else { "" })
}

fn as_text<S: serde::Serializer>(function: &FunctionRef, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(function)
}

fn as_millis<S: serde::Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    millis.serialize(serializer)
}

fn as_texts<S: serde::Serializer>(functions: &[FunctionRef], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(functions.iter().map(ToString::to_string))
}
