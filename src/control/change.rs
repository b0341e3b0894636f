//! One change of a provider: who asked for it, which steps it passed, how it ended.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::name::{Digest, Generation, ProviderName};
use crate::plugin::LoadStep;
use crate::plugin::shadow::ShadowReport;

/// Changes of one provider that are remembered; the oldest go first.
pub const HISTORY: usize = 32;

/// Who asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Asker {
    /// The start of the gateway.
    Start,
    /// Somebody on the admin socket, by the kernel's word (`SO_PEERCRED`).
    Admin {
        /// The user.
        uid: u32,
        /// The process, if the kernel knows it.
        pid: Option<i32>,
    },
    /// SIGHUP.
    Sighup,
    /// The component's file changed.
    File,
    /// The configuration file changed.
    Config,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Admin { uid, pid: Some(pid) } => write!(f, "admin (uid {uid}, pid {pid})"),
            Self::Admin { uid, pid: None } => write!(f, "admin (uid {uid})"),
            Self::Sighup => f.write_str("SIGHUP"),
            Self::File => f.write_str("file"),
            Self::Config => f.write_str("configuration file"),
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Another component, or the same one read again.
    Swap,
    /// The same up to, and not including, the publish.
    DryRun,
    /// Another configuration.
    Configure,
    /// The generation before.
    RollBack,
    /// No provider of this name any more.
    Remove,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::DryRun => "dry-run",
            Self::Configure => "configure",
            Self::RollBack => "roll-back",
            Self::Remove => "remove",
        }
    }
}

/// A step that a change reached. Refusals name the one that was not passed by the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// The files of the grants' credentials could be read.
    Granted,
    /// The bytes are there, bounded.
    Fetched,
    /// They are the ones that the operator wants.
    Verified,
    /// There is machine code.
    Compiled,
    /// Every import is one that this gateway has.
    Linked,
    /// It wants no more than the lock holds.
    Locked,
    /// Every export is what the contract says.
    Typed,
    /// Imports and manifest were compared with what the operator granted.
    Compared,
    /// The platform answers the candidate and takes its credentials.
    Probed,
    /// The candidate answers what the active generation answers.
    Shadowed,
    /// Functions have the instances on the other platform that they need there.
    WarmedUp,
    /// It serves a share of the functions.
    Canary,
    /// It serves all.
    Published,
    /// The generation before takes no more calls; those that run go on for a while.
    Draining,
    /// The functions of the platform that was left have no instances any more.
    ScaledToZero,
    /// Its last call ended.
    Retired,
    /// Nothing that serves has changed.
    Refused {
        /// The step that was not passed.
        at: &'static str,
        /// Why, and what to do.
        reason: String,
    },
}

impl Step {
    /// One word, for metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Fetched => "fetched",
            Self::Verified => "verified",
            Self::Compiled => "compiled",
            Self::Linked => "linked",
            Self::Locked => "locked",
            Self::Typed => "typed",
            Self::Compared => "compared",
            Self::Probed => "probed",
            Self::Shadowed => "shadowed",
            Self::WarmedUp => "warmed-up",
            Self::Canary => "canary",
            Self::Published => "published",
            Self::Draining => "draining",
            Self::ScaledToZero => "scaled-to-zero",
            Self::Retired => "retired",
            Self::Refused { .. } => "refused",
        }
    }
}

impl From<LoadStep> for Step {
    fn from(step: LoadStep) -> Self {
        match step {
            LoadStep::Fetched(_) => Self::Fetched,
            LoadStep::Verified => Self::Verified,
            LoadStep::Compiled => Self::Compiled,
            LoadStep::Linked => Self::Linked,
            LoadStep::Locked => Self::Locked,
            LoadStep::Typed => Self::Typed,
            LoadStep::Compared => Self::Compared,
        }
    }
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// A generation took over.
    Published,
    /// A dry run passed: it would have.
    Ready,
    /// The generation before took over again, or a canary was taken back.
    RolledBack {
        /// Why, where nobody asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The provider is gone.
    Removed,
    /// Nothing that serves has changed.
    Refused {
        /// The step that was not passed.
        at: &'static str,
        /// Why, and what to do.
        reason: String,
    },
}

impl Outcome {
    /// One word, for metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Ready => "ready",
            Self::RolledBack { .. } => "rolled-back",
            Self::Removed => "removed",
            Self::Refused { .. } => "refused",
        }
    }

    /// Why, if somebody has to know.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::RolledBack { reason } => reason.as_deref(),
            Self::Published | Self::Ready | Self::Removed => None,
        }
    }
}

/// A step with the time at which it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Which one.
    #[serde(flatten)]
    pub step: Step,
    /// Milliseconds after the change began.
    pub after_ms: u64,
}

/// A change, over or under way.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Its number, of all providers' changes since the start.
    pub number: u64,
    /// Whose.
    pub provider: ProviderName,
    /// What was asked for.
    pub kind: Kind,
    /// By whom.
    #[serde(flatten)]
    pub by: Asker,
    /// What was loaded: `builtin:NAME`, a path, or `uploaded`.
    pub component: String,
    /// The digest of its bytes, once they are there.
    #[serde(serialize_with = "as_text")]
    pub digest: Option<Digest>,
    /// The names of its grants.
    pub grants: Vec<String>,
    /// The generation that it made.
    pub generation: Option<Generation>,
    /// The generation that served before.
    pub previous: Option<Generation>,
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// How long it took to its outcome, in milliseconds.
    pub took_ms: Option<u64>,
    /// What it reached, in order.
    pub steps: Vec<Reached>,
    /// What was found on the way that refuses nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// What trying the candidate showed, where there was a generation to compare it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReport>,
    /// How it ended; none while it is under way.
    #[serde(flatten)]
    pub outcome: Option<Outcome>,
}

fn as_text<S: serde::Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => serializer.collect_str(digest),
        None => serializer.serialize_none(),
    }
}

/// A change that is written down while it happens.
pub(super) struct Record {
    change: Mutex<Change>,
    began: Instant,
    metrics: Arc<Metrics>,
}

/// What is known of a change when it begins.
pub(super) struct Begin {
    pub(super) number: u64,
    pub(super) provider: ProviderName,
    pub(super) kind: Kind,
    pub(super) by: Asker,
    pub(super) component: String,
    pub(super) grants: Vec<String>,
    pub(super) previous: Option<Generation>,
}

impl Record {
    pub(super) fn new(begin: Begin, metrics: &Arc<Metrics>) -> Self {
        let Begin { number, provider, kind, by, component, grants, previous } = begin;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        tracing::debug!(%provider, change = number, kind = kind.as_str(), %by, component, "change begins");
        let change = Change {
            number,
            provider,
            kind,
            by,
            component,
            digest: None,
            grants,
            generation: None,
            previous,
            began_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            took_ms: None,
            steps: Vec::new(),
            findings: Vec::new(),
            shadow: None,
            outcome: None,
        };
        Self { change: Mutex::new(change), began: Instant::now(), metrics: Arc::clone(metrics) }
    }

    fn lock(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The change as it is now.
    pub(super) fn now(&self) -> Change {
        self.lock().clone()
    }

    /// Whether nothing is to change.
    pub(super) fn is_dry_run(&self) -> bool {
        self.lock().kind == Kind::DryRun
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes a step that loading passed.
    pub(super) fn loaded(&self, step: LoadStep) {
        if let LoadStep::Fetched(digest) = step {
            self.lock().digest = Some(digest);
        }
        self.reach(step.into());
    }

    /// Notes and counts a step.
    pub(super) fn reach(&self, step: Step) {
        let after_ms = self.elapsed_ms();
        let mut change = self.lock();
        let (provider, number) = (&change.provider, change.number);
        self.metrics.step(provider, &step);
        // The steps of a start are every time the same, and the line of its end has what matters.
        if change.by == Asker::Start {
            tracing::debug!(%provider, change = number, step = step.as_str(), after_ms, "change");
        } else {
            tracing::info!(%provider, change = number, step = step.as_str(), after_ms, "change");
        }
        change.steps.push(Reached { step, after_ms });
    }

    /// Notes something worth knowing.
    pub(super) fn find(&self, finding: String) {
        let mut change = self.lock();
        tracing::warn!(provider = %change.provider, change = change.number, finding, "change");
        change.findings.push(finding);
    }

    /// Notes what trying the candidate showed.
    pub(super) fn shadow(&self, report: &ShadowReport) {
        self.lock().shadow = Some(report.clone());
    }

    /// Notes the digest of a plugin that was not fetched again.
    pub(super) fn digest(&self, digest: Digest) {
        self.lock().digest = Some(digest);
    }

    /// Notes the generation that it made.
    pub(super) fn generation(&self, generation: Generation) {
        self.lock().generation = Some(generation);
    }

    /// Notes the end, writes the line for the audit, and answers with the whole.
    pub(super) fn end(&self, outcome: Outcome) -> Change {
        if let Outcome::Refused { at, reason } = &outcome {
            self.reach(Step::Refused { at, reason: reason.clone() });
        }
        let took = self.began.elapsed();
        let mut change = self.lock();
        change.took_ms = Some(self.elapsed_ms());
        self.metrics.ended(&change.provider, outcome.as_str(), took);
        let Change { provider, number, kind, by, grants, generation, .. } = &*change;
        let digest = change.digest.map(|digest| digest.to_string());
        let generation = generation.map(|generation| generation.0);
        let (kind, outcome_word, reason) = (kind.as_str(), outcome.as_str(), outcome.reason());
        if matches!(outcome, Outcome::Refused { .. }) {
            tracing::warn!(target: "wicketgate::audit", %provider, change = number, kind, %by, digest, ?grants, outcome = outcome_word, reason, ?took, "provider not changed");
        } else {
            tracing::info!(target: "wicketgate::audit", %provider, change = number, kind, %by, digest, ?grants, generation, outcome = outcome_word, reason, ?took, "provider changed");
        }
        change.outcome = Some(outcome);
        change.clone()
    }
}

/// The last changes of one provider, the newest last.
#[derive(Default)]
pub(super) struct History(VecDeque<Arc<Record>>);

impl History {
    pub(super) fn push(&mut self, record: &Arc<Record>) {
        if self.0.len() >= HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(record));
    }

    /// All of them, the newest first.
    pub(super) fn all(&self) -> Vec<Change> {
        self.0.iter().rev().map(|record| record.now()).collect()
    }

    /// The step that a change under way reached last.
    pub(super) fn under_way(&self) -> Option<&'static str> {
        let change = self.0.iter().rev().map(|record| record.now()).find(|change| change.outcome.is_none())?;
        Some(change.steps.last().map_or("begun", |reached| reached.step.as_str()))
    }
}

/// An error with everything that caused it, each cause once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    fn record(number: u64) -> Arc<Record> {
        let begin = Begin {
            number,
            provider: "edge".parse().unwrap(),
            kind: Kind::Swap,
            by: Asker::Admin { uid: 0, pid: Some(7) },
            component: "uploaded".into(),
            grants: vec!["docker".into()],
            previous: None,
        };
        Arc::new(Record::new(begin, &Arc::new(Metrics::new(&Registry::default()))))
    }

    #[tokio::test]
    async fn a_history_is_bounded_and_the_newest_comes_first() {
        let mut history = History::default();
        for number in 0..(HISTORY as u64 + 5) {
            history.push(&record(number));
        }
        let all = history.all();
        assert_eq!(all.len(), HISTORY);
        assert_eq!((all[0].number, all[HISTORY - 1].number), (HISTORY as u64 + 4, 5));
    }

    #[tokio::test]
    async fn a_refusal_is_counted_with_the_step_that_was_not_passed() {
        let registry = Registry::default();
        let metrics = Arc::new(Metrics::new(&registry));
        let refused = Record { metrics: Arc::clone(&metrics), ..Arc::into_inner(record(1)).unwrap() };
        refused.reach(Step::Locked);
        refused.end(Outcome::Refused { at: Step::Typed.as_str(), reason: "another type".into() });
        let text = String::from_utf8(registry.exposition()).unwrap();
        for (at, step) in [("", "locked"), ("typed", "refused")] {
            let line =
                format!("wicketgate_provider_change_steps_total{{at=\"{at}\",provider=\"edge\",step=\"{step}\"}} 1");
            assert!(text.lines().any(|have| have == line), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn a_change_shows_its_steps_and_its_end() {
        let mut history = History::default();
        let record = record(1);
        history.push(&record);
        assert_eq!(history.under_way(), Some("begun"));
        record.loaded(LoadStep::Fetched(Digest::of(b"x")));
        record.reach(Step::Compiled);
        assert_eq!(history.under_way(), Some("compiled"));
        let change = record.end(Outcome::Refused { at: "linked", reason: "no such import".into() });
        assert_eq!(history.under_way(), None);
        let json = serde_json::to_value(&change).unwrap();
        assert_eq!(json["outcome"], "refused");
        assert_eq!(json["at"], "linked");
        assert_eq!(json["by"], "admin");
        assert_eq!(json["uid"], 0);
        let steps: Vec<_> = json["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
        assert_eq!(steps, ["fetched", "compiled", "refused"]);
        assert!(json["digest"].as_str().unwrap().starts_with("sha256:"));
    }
}
