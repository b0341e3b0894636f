//! Cases as they are written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The files of the suite, in the order in which they run.
const FILES: [(&str, &str); 4] = [
    ("asking", include_str!("../../tests/conformance/plugins/asking.json")),
    ("listing", include_str!("../../tests/conformance/plugins/listing.json")),
    ("scaling", include_str!("../../tests/conformance/plugins/scaling.json")),
    ("failing", include_str!("../../tests/conformance/plugins/failing.json")),
];

/// What platforms answer that fail, by what they mean. Authors replace those that their platform says
/// otherwise (`--answers`).
const ANSWERS: &str = include_str!("../../tests/conformance/plugins/answers.json");

/// A file of the suite or of answers that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {source}")]
pub struct SuiteError {
    file: String,
    source: serde_json::Error,
}

/// All cases.
#[derive(Debug)]
pub struct Suite {
    cases: Vec<Case>,
    answers: BTreeMap<String, Answer>,
}

impl Suite {
    /// The suite of this version.
    ///
    /// # Errors
    /// A file of the binary is wrong; a test keeps that from happening.
    pub fn new() -> Result<Self, SuiteError> {
        let mut cases = Vec::new();
        for (area, text) in FILES {
            let file: File = parse(area, text)?;
            cases.extend(file.cases.into_iter().map(|case| Case { area, ..case }));
        }
        Ok(Self { cases, answers: parse("answers", ANSWERS)? })
    }

    /// Puts other answers in the place of those that have the same name.
    ///
    /// # Errors
    /// The text is not an object of answers.
    pub fn with_answers(mut self, name: &str, text: &str) -> Result<Self, SuiteError> {
        let own: BTreeMap<String, Answer> = parse(name, text)?;
        self.answers.extend(own);
        Ok(self)
    }

    pub(super) fn cases(&self) -> &[Case] {
        &self.cases
    }

    pub(super) fn answers(&self) -> &BTreeMap<String, Answer> {
        &self.answers
    }
}

fn parse<'t, T: Deserialize<'t>>(file: &str, text: &'t str) -> Result<T, SuiteError> {
    serde_json::from_str(text).map_err(|source| SuiteError { file: file.to_owned(), source })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where the rules are written down.
    #[serde(rename = "source")]
    _source: String,
    cases: Vec<Case>,
}

/// What a platform says to any request, or does instead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) then: Then,
    /// Which requests it gets; the others reach the real platform.
    #[serde(default)]
    pub(super) to: To,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
}

fn ok() -> u16 {
    200
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Then {
    /// It answers.
    #[default]
    Answer,
    /// It begins to answer, and breaks off.
    Half,
    /// It takes the request and never answers.
    Silent,
    /// Nobody listens.
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum To {
    /// Every request.
    #[default]
    All,
    /// Those whose rule has the effect `write`.
    Writes,
}

/// One rule, as steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Case {
    #[serde(skip)]
    pub(super) area: &'static str,
    pub(super) name: String,
    /// Interfaces without which it says nothing.
    #[serde(default)]
    pub(super) needs: Vec<Need>,
    pub(super) steps: Vec<Step>,
}

/// What a case cannot do without.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Need {
    /// A function was named that may be scaled.
    Function,
    /// The plugin reaches its platform through grants, so that requests can be led elsewhere.
    Grant,
    Scaling,
    Watch,
    Endpoints,
    Functions,
    About,
    Health,
}

/// One question and what may come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Step {
    /// From here on the platform is this one: the name of an answer, or `real`.
    pub(super) platform: Option<String>,
    pub(super) call: Call,
    #[serde(default)]
    pub(super) function: Which,
    pub(super) count: Option<Count>,
    pub(super) limit: Option<u32>,
    #[serde(default)]
    pub(super) expect: Expect,
    /// Ask again until it is as expected; what comes before has to be this.
    pub(super) meanwhile: Option<Expect>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Call {
    GetReplicas,
    SetReplicas,
    Ensure,
    Resolve,
    Get,
    ListAll,
    Changes,
    Describe,
    Check,
}

/// Which function a question is about.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Which {
    /// The one that was named.
    #[default]
    Given,
    /// One that does not exist.
    Unknown,
    /// One with every character that a name may have; it may exist.
    EveryCharacter,
    /// One whose name is as long as names may be.
    Long,
}

/// A number, or the subject's own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Count {
    Exactly(u64),
    Named(Named),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Named {
    Most,
}

/// What an answer has to be. Nothing said: any answer that is no error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Expect {
    pub(super) replicas: Option<Count>,
    pub(super) available: Option<Count>,
    /// Errors, by the contract's names; with `ok` an answer will do too.
    #[serde(default)]
    pub(super) error: Vec<String>,
    /// What the error says of waiting.
    pub(super) retry_after_ms: Option<u64>,
    /// The given function has to be in the list.
    #[serde(default)]
    pub(super) has_given: bool,
}

/// How a case ended, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Passed,
    Failed,
    NotApplicable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_of_this_version_can_be_read_and_says_nothing_twice() {
        let suite = Suite::new().unwrap();
        let mut names: Vec<_> = suite.cases.iter().map(|case| &case.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), suite.cases.len());
        for case in &suite.cases {
            assert!(!case.steps.is_empty(), "{}", case.name);
            for step in &case.steps {
                let platform = step.platform.as_deref().unwrap_or("real");
                assert!(platform == "real" || suite.answers.contains_key(platform), "{}: {platform}", case.name);
                assert!(step.platform.is_none() || case.needs.contains(&Need::Grant), "{}", case.name);
            }
        }
    }

    #[test]
    fn an_author_replaces_an_answer() {
        let suite = Suite::new().unwrap().with_answers("mine", r#"{"conflict":{"to":"writes","status":500}}"#).unwrap();
        assert_eq!(suite.answers["conflict"].status, 500);
        assert!(Suite::new().unwrap().with_answers("mine", r#"{"conflict":{"code":500}}"#).is_err());
    }
}
