//! The bounded queue in front of cold starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::ScaleError;
use super::shared::Shared;
use super::snapshot::Tracked;

/// A caller's place among those who wait; given back when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    tracked: Arc<Tracked>,
}

impl Place {
    /// A place in the queue of a function and of the process.
    pub(super) fn take(shared: &Arc<Shared>, tracked: &Arc<Tracked>) -> Result<Self, ScaleError> {
        let config = &shared.config;
        let full = |limit, setting| {
            shared.meters.refused.with_label_values(&[setting]).inc();
            ScaleError::TooManyWaiting { function: tracked.function.clone(), limit, setting }
        };
        if !enter(&shared.waiting, config.waiting) {
            return Err(full(config.waiting, "waiting"));
        }
        if !enter(&tracked.waiting, config.waiting_per_function) {
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(full(config.waiting_per_function, "waiting-per-function"));
        }
        shared.meters.waiting.inc();
        Ok(Self { shared: Arc::clone(shared), tracked: Arc::clone(tracked) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tracked.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.meters.waiting.dec();
    }
}

/// Counts one in, unless `most` are in.
fn enter(count: &AtomicUsize, most: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).is_ok()
}
