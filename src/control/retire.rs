//! After another platform took over: the end of the old generation, and of its instances where that is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::Control;
use super::change::{Record, Step};
use super::slot::{Slot, Version};
use crate::name::FunctionRef;
use crate::plugin::Retiring;
use crate::provider::{Retire, SwapConfig};

/// What is to become of the platform that was left.
pub(super) struct Order {
    /// Its functions, as far as callers and the plugin were asked for them.
    known: Vec<FunctionRef>,
    swap: SwapConfig,
}

/// A platform whose functions are being set to no instances.
pub(super) struct Retirement {
    retiring: Retiring,
    is_stopped: Arc<AtomicBool>,
    /// Closed when it is over.
    end: watch::Sender<()>,
}

impl Control {
    /// What `version` wants done with the platform that it leaves. To be asked before the scaler is told, which
    /// forgets what was called there.
    pub(super) fn order(&self, slot: &Slot, version: &Version, is_same_platform: bool) -> Option<Order> {
        let swap = &version.config.swap;
        if is_same_platform || swap.retire == Retire::Leave {
            return None;
        }
        Some(Order { known: self.known(slot, swap.swap_lookback), swap: swap.clone() })
    }

    /// The functions of a provider that were called, or that its plugin was asked about, within `span`.
    pub(super) fn known(&self, slot: &Slot, span: Duration) -> Vec<FunctionRef> {
        let mut known = self.shared.scaler.called_within(&slot.name, span);
        known.extend(slot.provider.existing(span));
        known.sort();
        known.dedup();
        known
    }

    /// Waits in the background until the generations that were replaced ended, and carries out the order.
    pub(super) fn drain(&self, slot: &Arc<Slot>, record: &Arc<Record>, order: Option<Order>) {
        let order = order.map(Arc::new);
        for retiring in slot.provider.take_retiring() {
            let (metrics, record) = (Arc::clone(&self.shared.metrics), Arc::clone(record));
            let (generation, calls, timeout) = (retiring.generation().0, retiring.calls(), retiring.timeout());
            tracing::info!(provider = %slot.name, generation, calls, ?timeout, "draining");
            record.reach(Step::Draining);
            let work = order.clone().map(|order| (order, slot.state().begin_retirement(&retiring)));
            let slot = Arc::clone(slot);
            self.shared.runtime.spawn(async move {
                let overdue = retiring.ended().await.overdue;
                if overdue > 0 {
                    metrics.overdue(&slot.name, overdue);
                }
                if let Some((order, (is_stopped, end))) = work {
                    scale_to_zero(&retiring, &order, &is_stopped, &record).await;
                    drop(end);
                    slot.state().retirements.retain(|retirement| !retirement.end.is_closed());
                }
                tracing::info!(provider = %slot.name, generation, overdue, "retired");
                record.reach(Step::Retired);
            });
        }
    }

    /// Stops setting functions to no instances on the platforms that are needed again, and waits for what is
    /// under way, at most `limits.call-timeout`.
    pub(super) async fn stop_retiring(&self, slot: &Slot, is_needed: impl Fn(&Retiring) -> bool) {
        let ends: Vec<_> = {
            let state = slot.state();
            let needed = state.retirements.iter().filter(|retirement| is_needed(&retirement.retiring));
            needed
                .map(|retirement| {
                    retirement.is_stopped.store(true, Ordering::SeqCst);
                    retirement.end.clone()
                })
                .collect()
        };
        for end in ends {
            end.closed().await;
        }
    }
}

impl super::slot::State {
    fn begin_retirement(&mut self, retiring: &Retiring) -> (Arc<AtomicBool>, watch::Receiver<()>) {
        let (end, open) = watch::channel(());
        let is_stopped = Arc::new(AtomicBool::new(false));
        let retirement = Retirement { retiring: retiring.clone(), is_stopped: Arc::clone(&is_stopped), end };
        self.retirements.push(retirement);
        (is_stopped, open)
    }
}

/// Sets the functions of a generation that ended to no instances, and writes down what came of it.
async fn scale_to_zero(retiring: &Retiring, order: &Order, is_stopped: &AtomicBool, record: &Record) {
    let done = retiring.scale_to_zero(&order.known, &order.swap, is_stopped).await;
    for problem in &done.problems {
        record.find(format!("not set to no instances: {problem}"));
    }
    if done.left > 0 {
        let reason = if is_stopped.load(Ordering::SeqCst) {
            "the platform is needed again".to_owned()
        } else {
            format!("swap.retire-timeout ({:?}) was over", order.swap.retire_timeout)
        };
        record.find(format!("{} functions were not set to no instances: {reason}", done.left));
    }
    tracing::info!(provider = %record.now().provider, generation = retiring.generation().0, functions = done.done, "scaled to zero");
    record.reach(Step::ScaledToZero);
}
