//! What came out, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Subject;
use super::case::{Case, Verdict};

/// What a case found.
pub(super) enum Found {
    /// As the contract says.
    Passed,
    /// Not as it says, and how.
    Failed(String),
    /// It could not be tried, and why.
    NotApplicable(String),
}

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    component: String,
    provider: String,
    function: Option<String>,
    passed: usize,
    failed: usize,
    not_applicable: usize,
    cases: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    area: &'static str,
    name: String,
    /// `reused` or `per-call`.
    instances: &'static str,
    verdict: Verdict,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// How all of it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing failed.
    Passed,
    /// Something did.
    Failed,
}

impl Report {
    pub(super) fn new(subject: &Subject) -> Self {
        Self {
            component: subject.config.component.to_string(),
            provider: subject.config.name.to_string(),
            function: subject.function.as_ref().map(ToString::to_string),
            passed: 0,
            failed: 0,
            not_applicable: 0,
            cases: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, instances: &'static str, case: &Case, found: Found) {
        let (verdict, reason, count) = match found {
            Found::Passed => (Verdict::Passed, String::new(), &mut self.passed),
            Found::Failed(reason) => (Verdict::Failed, reason, &mut self.failed),
            Found::NotApplicable(reason) => (Verdict::NotApplicable, reason, &mut self.not_applicable),
        };
        *count += 1;
        self.cases.push(Line { area: case.area, name: case.name.clone(), instances, verdict, reason });
    }

    /// Whether anything failed. A run in which nothing could be tried failed too.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.failed == 0 && self.passed > 0 { Outcome::Passed } else { Outcome::Failed }
    }

    /// A page for people.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = format!("{} for provider {}\n", self.component, self.provider);
        let mut instances = "";
        for line in &self.cases {
            if line.instances != instances {
                instances = line.instances;
                // Writing to a text cannot fail.
                let _ = write!(page, "\ninstances: {instances}\n");
            }
            let verdict = match line.verdict {
                Verdict::Passed => "ok",
                Verdict::Failed => "FAILED",
                Verdict::NotApplicable => "n/a",
            };
            let _ = writeln!(page, "  {verdict:<6}  {}: {}", line.area, line.name);
            // What a plugin says is its author's text: no control characters reach the terminal.
            for reason in line.reason.lines() {
                let reason: String = reason.chars().filter(|character| !character.is_control()).collect();
                let _ = writeln!(page, "            {reason}");
            }
        }
        let _ =
            write!(page, "\n{} passed, {} failed, {} not applicable\n", self.passed, self.failed, self.not_applicable);
        page
    }
}
