//! Trying a candidate before it takes over.
//!
//! Where both generations speak to the same platform, what the active one was asked last is asked of
//! the candidate, and the answers are compared field by field. Platforms move, so where they differ both
//! are asked again before that counts. Where the candidate speaks to *another* platform its counts mean
//! nothing yet: every function that was called lately must exist there, and those with instances are
//! [warmed up](warm_up) before it is published.
//!
//! The candidate may use only rules with effect `read`, its state is thrown away, and processes are
//! read-only to it. A candidate that tries to write while it is asked a question is refused.

mod compare;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::loaded::Candidate;
use super::record::{Known, Recorded};
use super::registry::PluginProvider;
use crate::name::FunctionRef;
use crate::provider::SwapConfig;
use crate::query::{ServiceQuery as _, ServiceStatus};
pub use report::{Cold, Difference, ShadowReport};

/// Functions that are asked about at once.
const AT_ONCE: usize = 4;
/// How often both generations are asked before a difference counts.
const ATTEMPTS: usize = 3;
/// The pause between two looks at a function that is warmed up: the first, and the longest.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Tries `candidate` with what `provider` was asked last. `called` are functions of the provider that
/// were called within [`SwapConfig::swap_lookback`], as far as the caller knows of them beside the
/// questions that reached the plugin (those under a watch are not asked about).
///
/// Without an active generation there is nothing to compare with, and the report accepts.
///
/// # Cancel safety
/// Dropping the future ends the calls; nothing was changed.
pub async fn shadow(
    provider: &PluginProvider,
    candidate: &Candidate,
    config: &SwapConfig,
    called: &[FunctionRef],
) -> ShadowReport {
    let mut report = ShadowReport { is_same_platform: true, ..ShadowReport::default() };
    let Some(active) = provider.active_plugin() else { return report };
    report.is_same_platform = candidate.plugin.platform.is_same_as(&active.platform);
    let questions = questions(provider, config, called, report.is_same_platform);
    let is_same = report.is_same_platform;
    let ask = |(function, recorded)| async move {
        if is_same {
            compare_one(provider, candidate, config, function, recorded).await
        } else {
            look_for(provider, candidate, function).await
        }
    };
    let deadline = Instant::now() + config.shadow_timeout;
    let mut outcomes = stream::iter(questions).map(ask).buffer_unordered(AT_ONCE);
    loop {
        match tokio::time::timeout_at(deadline, outcomes.next()).await {
            Ok(Some(outcome)) => report.add(outcome),
            Ok(None) => break,
            Err(_elapsed) => {
                report.out_of_time = Some(config.shadow_timeout);
                break;
            }
        }
    }
    drop(outcomes);
    report.finish();
    report
}

/// Asks a candidate for another platform for the instances that functions have on the old one, and waits
/// until each has one. Answers those that have none after `timeout`, with the reason.
///
/// This is the one thing that a candidate does with all rights of a published plugin: call it last.
///
/// # Cancel safety
/// Dropping the future ends the calls; instances that were asked for stay.
pub async fn warm_up(candidate: &Candidate, functions: &[FunctionRef], timeout: Duration) -> Vec<Cold> {
    let deadline = Instant::now() + timeout;
    let each: Vec<_> = functions.iter().map(|function| warm_one(candidate, function, deadline)).collect();
    let outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
    let mut cold: Vec<Cold> = outcomes.filter_map(std::future::ready).collect().await;
    cold.sort_by(|one, other| one.function.cmp(&other.function));
    cold
}

async fn warm_one(candidate: &Candidate, function: &FunctionRef, deadline: Instant) -> Option<Cold> {
    let mut reason = "no instance became available".to_owned();
    let look = async {
        let mut wait = LOOK_MIN;
        let mut is_asked = false;
        loop {
            match candidate.try_replicas(function).await.answer {
                Ok(status) if status.available_replicas > 0 => return,
                Ok(status) if !is_asked && status.replicas == 0 => {
                    let count = status.min_replicas.unwrap_or(1).max(1);
                    match candidate.try_ensure(function, count).await {
                        Ok(()) => is_asked = true,
                        Err(error) => reason = error.message,
                    }
                }
                Ok(_) => {}
                Err(error) => reason = error.message,
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_MAX);
        }
    };
    match tokio::time::timeout_at(deadline, look).await {
        Ok(()) => None,
        Err(_elapsed) => Some(Cold { function: function.clone(), reason }),
    }
}

/// What to ask: what was asked last, then what was called beside that.
fn questions(
    provider: &PluginProvider,
    config: &SwapConfig,
    called: &[FunctionRef],
    is_same_platform: bool,
) -> Vec<(FunctionRef, Option<Known>)> {
    let recorded: Vec<(FunctionRef, Option<Known>)> = if is_same_platform {
        let known = |recorded: Recorded| (recorded.function, Some(recorded.known));
        provider.recorder.all().into_iter().map(known).collect()
    } else {
        provider.recorder.existing(config.swap_lookback).into_iter().map(|function| (function, None)).collect()
    };
    let seen: BTreeSet<FunctionRef> = recorded.iter().map(|(function, _)| function.clone()).collect();
    let others: BTreeSet<&FunctionRef> = called.iter().filter(|function| !seen.contains(*function)).collect();
    let all = recorded.into_iter().chain(others.into_iter().map(|function| (function.clone(), None)));
    // On another platform *every* function must be there; a comparison is a sample.
    if is_same_platform { all.take(config.shadow as usize).collect() } else { all.collect() }
}

/// What came of one question.
enum Outcome {
    /// Nothing to object to.
    Fine,
    /// The active generation does not know either.
    NotCompared,
    /// The answers differ.
    Different(Vec<Difference>),
    /// Another platform does not have the function.
    Missing(FunctionRef),
    /// It has it without an instance, where the old one has one.
    Cold(FunctionRef),
}

/// What the active generation says of a function now; `None` if it cannot say.
async fn ask_active(provider: &PluginProvider, function: &FunctionRef) -> Option<Known> {
    match provider.get_replicas(function).await {
        Ok(status) => Some(Known::Status(Box::new(status))),
        Err(error) if error.is_not_found() => Some(Known::NotFound),
        Err(_) => None,
    }
}

async fn compare_one(
    provider: &PluginProvider,
    candidate: &Candidate,
    config: &SwapConfig,
    function: FunctionRef,
    recorded: Option<Known>,
) -> Outcome {
    let mut recorded = recorded;
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let old = match recorded.take() {
            Some(known) => Some(known),
            None => ask_active(provider, &function).await,
        };
        let Some(old) = old else { return Outcome::NotCompared };
        let trial = candidate.try_replicas(&function).await;
        if let Some(write) = trial.write {
            return Outcome::Different(vec![Difference::wrote(function, &write)]);
        }
        found = compare::differences(&function, &old, &trial.answer, config);
        if found.is_empty() {
            return Outcome::Fine;
        }
    }
    Outcome::Different(found)
}

async fn look_for(provider: &PluginProvider, candidate: &Candidate, function: FunctionRef) -> Outcome {
    let trial = candidate.try_replicas(&function).await;
    if let Some(write) = trial.write {
        return Outcome::Different(vec![Difference::wrote(function, &write)]);
    }
    match trial.answer {
        Ok(status) if status.available_replicas > 0 => Outcome::Fine,
        Ok(_none) => {
            let has_instances = |status: &ServiceStatus| status.available_replicas > 0;
            match ask_active(provider, &function).await {
                Some(Known::Status(status)) if has_instances(&status) => Outcome::Cold(function),
                Some(_) | None => Outcome::Fine,
            }
        }
        Err(error) if error.is_not_found() => Outcome::Missing(function),
        Err(error) => Outcome::Different(vec![Difference::failed(function, "a function that was called", &error)]),
    }
}
