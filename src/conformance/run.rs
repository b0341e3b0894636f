//! One case: its questions in their order, each answer held to what was written down.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Subject;
use super::case::{Call, Case, Count, Expect, Named, Need, Step, Which};
use super::platform::Platform;
use super::report::Found;
use crate::name::{FunctionRef, NAME_MAX_BYTES};
use crate::plugin::PluginProvider;
use crate::query::{Cause, ErrorKind, Interface, PluginFault, Provider as _, QueryError, ServiceQuery as _};

/// The names of the contract's errors, as cases write them.
const KINDS: [(&str, ErrorKind); 13] = [
    ("not-found", ErrorKind::NotFound),
    ("already-exists", ErrorKind::AlreadyExists),
    ("invalid", ErrorKind::Invalid),
    ("unauthenticated", ErrorKind::Unauthenticated),
    ("denied", ErrorKind::Denied),
    ("conflict", ErrorKind::Conflict),
    ("rate-limited", ErrorKind::RateLimited),
    ("unavailable", ErrorKind::Unavailable),
    ("timeout", ErrorKind::Timeout),
    ("cursor-expired", ErrorKind::CursorExpired),
    ("quota", ErrorKind::Quota),
    ("unsupported", ErrorKind::Unsupported),
    ("internal", ErrorKind::Internal),
];

/// A function with every character that a name may have (`[-a-zA-Z0-9_.]`).
const EVERY_CHARACTER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz_0123456789.z";

/// A function that no platform has.
const UNKNOWN: &str = "wicketgate-no-such-function";

/// The pause between two questions that wait for a platform.
const PAUSE: Duration = Duration::from_millis(50);

/// Pages of a list or a snapshot that are read at most.
const PAGES_MAX: usize = 10_000;

/// How long a watch is asked to wait for changes while its snapshot is read.
const WATCH: Duration = Duration::from_millis(100);

/// What was answered, as far as cases look at it.
#[derive(Debug, Default)]
struct Answered {
    counts: Option<(u64, u64)>,
    names: Option<BTreeSet<String>>,
}

pub(super) struct Run<'a> {
    pub(super) provider: &'a PluginProvider,
    pub(super) platform: &'a Platform,
    pub(super) subject: &'a Subject,
}

impl Run<'_> {
    pub(super) async fn case(&self, case: &Case) -> Found {
        if let Some(reason) = case.needs.iter().find_map(|need| self.lacks(*need)) {
            return Found::NotApplicable(reason);
        }
        for (index, step) in case.steps.iter().enumerate() {
            if let Err(reason) = self.step(step).await {
                return Found::Failed(format!("step {}, {}: {reason}", index + 1, name_of(step.call)));
            }
        }
        Found::Passed
    }

    fn lacks(&self, need: Need) -> Option<String> {
        let interface = match need {
            Need::Function => {
                let reason = "no function was named that may be scaled: --function NAME[.NAMESPACE]";
                return self.subject.function.is_none().then(|| reason.to_owned());
            }
            Need::Grant => {
                let reason = "the provider has no grant, so no request can be led elsewhere";
                return self.subject.config.grants.is_empty().then(|| reason.to_owned());
            }
            Need::Scaling => Interface::Scaling,
            Need::Watch => Interface::Watch,
            Need::Endpoints => Interface::Endpoints,
            Need::Functions => Interface::Functions,
            Need::About => Interface::About,
            Need::Health => Interface::Health,
        };
        (!self.provider.has(interface)).then(|| format!("the plugin does not export `{}`", interface.as_str()))
    }

    async fn step(&self, step: &Step) -> Result<(), String> {
        if let Some(name) = &step.platform {
            self.platform.become_one(name)?;
        }
        let function = self.function(step.function)?;
        let Some(meanwhile) = &step.meanwhile else {
            return self.compare(&step.expect, &self.settled(step, &function).await);
        };
        let end = Instant::now() + self.subject.patience;
        loop {
            let answer = self.settled(step, &function).await;
            let Err(differs) = self.compare(&step.expect, &answer) else { return Ok(()) };
            self.compare(meanwhile, &answer).map_err(|reason| format!("{reason}, while it had to become so"))?;
            if Instant::now() >= end {
                return Err(format!("{differs}, still after {:?}", self.subject.patience));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What comes back once nothing is in the way any more: a conflict that says how long to wait is a change
    /// that is still under way on the platform, and asked again after that time, within the patience. Steps
    /// that are about conflicts get it as it is.
    async fn settled(&self, step: &Step, function: &FunctionRef) -> Result<Answered, QueryError> {
        let end = Instant::now() + self.subject.patience;
        let is_expected = step.expect.error.iter().any(|name| name == "conflict");
        loop {
            let answer = self.ask(step, function).await;
            let wait = match &answer {
                Err(error) if error.cause == Cause::Platform(ErrorKind::Conflict) => error.retry_after,
                _ => None,
            };
            match wait.map(|wait| Instant::now() + wait) {
                Some(next) if next <= end && !is_expected => tokio::time::sleep_until(next).await,
                _ => return answer,
            }
        }
    }

    fn function(&self, which: Which) -> Result<FunctionRef, String> {
        let long = "x".repeat(NAME_MAX_BYTES);
        let name = match which {
            // Calls that are about no function take any.
            Which::Given => match &self.subject.function {
                Some(function) => return Ok(function.clone()),
                None => UNKNOWN,
            },
            Which::Unknown => UNKNOWN,
            Which::EveryCharacter => EVERY_CHARACTER,
            Which::Long => &long,
        };
        let name = name.parse().map_err(|error| format!("{name}: {error}"))?;
        Ok(FunctionRef { name, namespace: self.subject.namespace.clone() })
    }

    fn count(&self, count: Count) -> u64 {
        match count {
            Count::Exactly(count) => count,
            Count::Named(Named::Most) => self.subject.most,
        }
    }

    async fn ask(&self, step: &Step, function: &FunctionRef) -> Result<Answered, QueryError> {
        let provider = self.provider;
        let count = step.count.map_or(1, |count| self.count(count));
        let counts = |replicas, available| Answered { counts: Some((replicas, available)), names: None };
        Ok(match step.call {
            Call::GetReplicas => {
                let status = provider.get_replicas(function).await?;
                counts(status.replicas, status.available_replicas)
            }
            Call::SetReplicas => {
                provider.set_replicas(function, count).await?;
                Answered::default()
            }
            Call::Ensure => match provider.ensure(function, count, None).await? {
                Some(status) => counts(status.replicas, status.available_replicas),
                None => Answered::default(),
            },
            Call::Get => {
                let status = provider.get(function, false).await?;
                counts(status.replicas, status.available_replicas)
            }
            Call::Resolve => {
                provider.resolve(function).await?;
                Answered::default()
            }
            Call::ListAll => Answered { counts: None, names: Some(self.list(step.limit.unwrap_or(100)).await?) },
            Call::Changes => Answered { counts: None, names: Some(self.snapshot().await?) },
            Call::Describe => {
                provider.describe().await?;
                Answered::default()
            }
            Call::Check => {
                provider.check().await?;
                Answered::default()
            }
        })
    }

    /// All functions of the namespace, page by page. That no page is longer than it may be is checked by the host.
    async fn list(&self, limit: u32) -> Result<BTreeSet<String>, QueryError> {
        let mut names = BTreeSet::new();
        let mut cursor: Option<String> = None;
        for _page in 0..PAGES_MAX {
            let page = self.provider.list(&self.subject.namespace, cursor.as_deref(), limit).await?;
            for status in page.functions {
                let name = status.deployment.service;
                if !names.insert(name.clone()) {
                    return Err(QueryError::new(Cause::Gateway, format!("{name} is on two pages")));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(names);
            }
        }
        Err(QueryError::new(Cause::Gateway, format!("the list does not end within {PAGES_MAX} pages")))
    }

    /// The functions of a watch's first snapshot.
    async fn snapshot(&self) -> Result<BTreeSet<String>, QueryError> {
        let namespaces = [self.subject.namespace.clone()];
        let mut names = BTreeSet::new();
        let mut cursor: Option<String> = None;
        for _page in 0..PAGES_MAX {
            let changes = self.provider.changes(&namespaces, cursor.as_deref(), WATCH).await?;
            for (function, _status) in &changes.changed {
                names.insert(function.name.to_string());
            }
            for function in &changes.removed {
                names.remove(function.name.as_str());
            }
            if changes.complete {
                return Ok(names);
            }
            cursor = Some(changes.cursor);
        }
        Err(QueryError::new(Cause::Gateway, format!("the snapshot is not complete within {PAGES_MAX} pages")))
    }

    fn compare(&self, expect: &Expect, answer: &Result<Answered, QueryError>) -> Result<(), String> {
        let answered = match answer {
            Ok(_) if !expect.error.is_empty() && !expect.error.iter().any(|name| name == "ok") => {
                return Err(format!("answered, where {} had to come back", expect.error.join(" or ")));
            }
            Ok(answered) => answered,
            Err(error) => return self.compare_error(expect, error),
        };
        for (what, expected, got) in [
            ("replicas", expect.replicas, answered.counts.map(|counts| counts.0)),
            ("available replicas", expect.available, answered.counts.map(|counts| counts.1)),
        ] {
            if let Some(expected) = expected.map(|count| self.count(count))
                && let Some(got) = got
                && got != expected
            {
                return Err(format!("{got} {what}, where {expected} were to be"));
            }
        }
        if let Some(names) = &answered.names {
            if names.len() < self.subject.functions {
                return Err(format!("{} functions of at least {}", names.len(), self.subject.functions));
            }
            if let Some(given) = self.subject.function.as_ref().filter(|_| expect.has_given)
                && !names.contains(given.name.as_str())
            {
                return Err(format!("{} is not among the {} functions", given.name, names.len()));
            }
        }
        Ok(())
    }

    fn compare_error(&self, expect: &Expect, error: &QueryError) -> Result<(), String> {
        let kind = kind_of(&error.cause);
        if !expect.error.iter().any(|name| *name == kind) {
            let expected = if expect.error.is_empty() { "an answer".to_owned() } else { expect.error.join(" or ") };
            return Err(format!("{kind}, where {expected} had to come back\n{}", error.message));
        }
        if let Some(ms) = expect.retry_after_ms
            && error.retry_after != Some(Duration::from_millis(ms))
        {
            return Err(format!("{:?} to wait, where the platform said {ms} ms", error.retry_after));
        }
        Ok(())
    }
}

/// The name of a cause, as cases write it: the contract's, or what the host saw.
fn kind_of(cause: &Cause) -> &'static str {
    match cause {
        Cause::Platform(kind) => KINDS.iter().find(|(_, known)| known == kind).map_or("?", |(name, _)| name),
        Cause::Plugin(fault) => match fault {
            PluginFault::Trap => "trap",
            PluginFault::Budget(budget) => budget.setting(),
            PluginFault::BadOutput(_) => "bad-output",
            PluginFault::Quarantined => "quarantined",
            PluginFault::Busy => "busy",
        },
        Cause::NotExported(_) => "not-exported",
        Cause::NoProvider | Cause::NoPlugin | Cause::Gateway => "gateway",
    }
}

fn name_of(call: Call) -> &'static str {
    match call {
        Call::GetReplicas => "get-replicas",
        Call::SetReplicas => "set-replicas",
        Call::Ensure => "ensure",
        Call::Resolve => "resolve",
        Call::Get => "get",
        Call::ListAll => "list",
        Call::Changes => "changes",
        Call::Describe => "describe",
        Call::Check => "check",
    }
}
