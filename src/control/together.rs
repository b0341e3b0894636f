//! Candidates that take over together: all of them or none.
//!
//! What may take long or fail comes first, for all of them: instances on other platforms, canaries. The
//! publish of each is then a moment's work that cannot fail.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt as _};

use super::change::{Change, Outcome, Record, Step};
use super::pipeline::{Prepared, Taken};
use super::slot::{Slot, Version};
use super::{Control, Refused};
use crate::plugin::{CanaryVerdict, Candidate};

/// A change whose candidate was tried.
pub(super) struct Work {
    pub(super) slot: Arc<Slot>,
    pub(super) record: Arc<Record>,
    pub(super) prepared: Result<Prepared, Refused>,
}

/// A change that nothing is in the way of any more.
struct Ready {
    slot: Arc<Slot>,
    record: Arc<Record>,
    version: Version,
    is_same_platform: bool,
    /// None where it serves already, as a canary.
    candidate: Option<Candidate>,
}

/// What became of a canary that is not to take over.
struct TakenBack {
    /// Which of the changes.
    index: usize,
    reason: Option<String>,
}

impl Control {
    /// Publishes all of them, or none: then each change has its end. The directory and the scaler are to be
    /// told afterwards. The caller has the turn of every provider.
    pub(super) async fn take_over(&self, works: Vec<Work>) -> Result<Vec<Taken>, Vec<Change>> {
        let works = none_refused(works)?;
        let each: Vec<_> = works.into_iter().map(|work| self.warm_up(work)).collect();
        let works: Vec<Work> = stream::iter(each).buffered(self.shared.at_once).collect().await;
        let ready = self.begin_canaries(none_refused(works)?);
        match self.judge(&ready).await {
            Ok(()) => Ok(ready.into_iter().map(|ready| self.publish_ready(ready)).collect()),
            Err(taken_back) => Err(self.take_back(ready, &taken_back)),
        }
    }

    /// Gets instances on another platform, where the trial found that they are needed.
    async fn warm_up(&self, work: Work) -> Work {
        let Work { slot, record, prepared } = work;
        let prepared = match prepared {
            Ok(prepared) => self.warm(&prepared, &record).await.map(|()| prepared),
            Err(refused) => Err(refused),
        };
        Work { slot, record, prepared }
    }

    /// Canaries begin. Where there are several, the longest time holds for all.
    fn begin_canaries(&self, works: Vec<Work>) -> Vec<Ready> {
        let is_canary = |slot: &Slot, prepared: &Prepared| {
            let is_wanted = prepared.config.swap.canary.share > 0 && prepared.report.is_same_platform;
            is_wanted && slot.provider.status().is_ok()
        };
        let canaries = works.iter().filter_map(|work| {
            let prepared = work.prepared.as_ref().ok()?;
            is_canary(&work.slot, prepared).then_some(prepared.config.swap.canary.time)
        });
        let time: Duration = canaries.max().unwrap_or_default();
        let mut ready = Vec::with_capacity(works.len());
        for Work { slot, record, prepared } in works {
            let Ok(prepared) = prepared else { continue };
            let version = self.version(&slot, &prepared);
            let mut config = prepared.config.swap.canary;
            let candidate = if is_canary(&slot, &prepared) {
                config.time = time;
                record.generation(slot.provider.publish_canary(prepared.candidate, config));
                record.reach(Step::Canary);
                None
            } else {
                Some(prepared.candidate)
            };
            ready.push(Ready { slot, record, version, is_same_platform: prepared.report.is_same_platform, candidate });
        }
        ready
    }

    /// Waits until every canary passed, or one did not.
    async fn judge(&self, ready: &[Ready]) -> Result<(), TakenBack> {
        let canaries = || ready.iter().enumerate().filter(|(_, ready)| ready.candidate.is_none());
        let judge = |(index, ready): (usize, &Ready)| {
            let provider = Arc::clone(&ready.slot.provider);
            let known = self.known(&ready.slot, ready.version.config.swap.swap_lookback);
            async move { (index, provider.judge_canary(&known).await) }
        };
        let mut verdicts: FuturesUnordered<_> = canaries().map(judge).collect();
        while let Some((index, verdict)) = verdicts.next().await {
            match verdict {
                Some(CanaryVerdict::Passed { finding, .. }) => {
                    if let (Some(finding), Some(ready)) = (finding, ready.get(index)) {
                        ready.record.find(finding);
                    }
                }
                Some(CanaryVerdict::RolledBack { reason, .. }) => {
                    return Err(TakenBack { index, reason: Some(reason) });
                }
                Some(CanaryVerdict::Superseded(_)) | None => return Err(TakenBack { index, reason: None }),
            }
        }
        // Somebody may have taken one back since; from here on nobody does.
        match canaries().find(|(_, ready)| !ready.slot.provider.accept_canary()) {
            Some((index, _)) => Err(TakenBack { index, reason: None }),
            None => Ok(()),
        }
    }

    fn publish_ready(&self, ready: Ready) -> Taken {
        let Ready { slot, record, version, is_same_platform, candidate } = ready;
        if let Some(candidate) = candidate {
            self.publish(&slot, candidate, &record);
        } else {
            // It has its number since it began.
            let _generation = slot.provider.promote_canary();
        }
        self.took_over(&slot, version, is_same_platform, &record)
    }

    /// Nothing changes, since a canary was taken back.
    fn take_back(&self, ready: Vec<Ready>, taken_back: &TakenBack) -> Vec<Change> {
        let culprit = ready.get(taken_back.index).map(|ready| ready.slot.name.clone());
        let same = format!("the canary of {} was taken back", culprit.as_ref().map_or("", |name| name.as_str()));
        let mut changes = Vec::with_capacity(ready.len());
        for (index, Ready { slot, record, candidate, .. }) in ready.into_iter().enumerate() {
            let outcome = if index == taken_back.index {
                Outcome::RolledBack { reason: taken_back.reason.clone() }
            } else if candidate.is_none() {
                Outcome::RolledBack { reason: Some(same.clone()) }
            } else {
                Refused { at: Step::Published.as_str(), reason: same.clone() }.into()
            };
            if candidate.is_none() {
                slot.provider.drop_canary(&same);
                self.shared.scaler.invalidate_provider(&slot.name);
                self.drain(&slot, &record, None);
            }
            changes.push(record.end(outcome));
        }
        changes
    }
}

/// All of them, if none was refused; otherwise all changes end here.
fn none_refused(works: Vec<Work>) -> Result<Vec<Work>, Vec<Change>> {
    let refused: Vec<&str> =
        works.iter().filter(|work| work.prepared.is_err()).map(|work| work.slot.name.as_str()).collect();
    if refused.is_empty() {
        return Ok(works);
    }
    let reason = format!("the same change was refused for {}", refused.join(", "));
    let end = |work: Work| {
        let refused =
            work.prepared.err().unwrap_or_else(|| Refused { at: Step::Published.as_str(), reason: reason.clone() });
        work.record.end(refused.into())
    };
    Err(works.into_iter().map(end).collect())
}
