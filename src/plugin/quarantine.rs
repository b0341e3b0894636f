//! Stops a plugin that keeps failing, for a growing while.
//!
//! Only what the plugin did counts: traps and budgets of processor time, memory, bytes and handles.
//! A slow platform (wall time) and one bad object (an answer that the contract forbids) stop nobody
//! else's calls. After the pause one call goes through as a probe; its success ends the quarantine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::query::{Budget, PluginFault};

/// Failures in a row that stop a plugin.
pub(super) const STRIKES: u32 = 5;
/// The first pause. Each failed probe doubles it.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The failures in a row of one generation.
#[derive(Default)]
pub(super) struct Quarantine {
    /// Read by every call; the lock is only for plugins that failed.
    strikes: AtomicU32,
    pause: Mutex<Option<Pause>>,
}

#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
    /// Whether a probe is under way: only its failure makes the pause longer.
    is_probed: bool,
}

impl Quarantine {
    /// Lets a call pass, or says how long the plugin is still stopped.
    ///
    /// # Errors
    /// The rest of the pause.
    pub(super) fn pass(&self, now: impl FnOnce() -> Instant) -> Result<(), Duration> {
        #[cfg(test)]
        if is_off(Check::Quarantine) {
            return Ok(());
        }
        if self.strikes.load(Ordering::Relaxed) < STRIKES {
            return Ok(());
        }
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = pause.as_mut() else { return Ok(()) };
        let now = now();
        if now < current.until {
            return Err(current.until - now);
        }
        // This call is the probe; the others wait for what it finds.
        current.until = now + current.length;
        current.is_probed = true;
        Ok(())
    }

    /// Whether the plugin is stopped.
    pub(super) fn is_active(&self) -> bool {
        self.strikes.load(Ordering::Relaxed) >= STRIKES
    }

    /// A call ended well. Answers whether that ended a quarantine.
    pub(super) fn succeeded(&self) -> bool {
        if self.strikes.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let had = self.strikes.swap(0, Ordering::Relaxed);
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = None;
        had >= STRIKES
    }

    /// A call failed. Answers the pause if one begins.
    pub(super) fn failed(&self, fault: &PluginFault, now: Instant) -> Option<Duration> {
        if !is_strike(fault) {
            return None;
        }
        if self.strikes.fetch_add(1, Ordering::Relaxed).saturating_add(1) < STRIKES {
            return None;
        }
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let length = match *pause {
            None => PAUSE_MIN,
            Some(before) if before.is_probed => (before.length * 2).min(PAUSE_MAX),
            // It had begun before the pause did.
            Some(_) => return None,
        };
        *pause = Some(Pause { until: now + length, length, is_probed: false });
        Some(length)
    }
}

fn is_strike(fault: &PluginFault) -> bool {
    match fault {
        PluginFault::Trap => true,
        PluginFault::Budget(budget) => match budget {
            Budget::Cpu | Budget::Memory | Budget::HostCallBytes | Budget::Handles => true,
            Budget::Wall | Budget::Requests | Budget::RequestBytes | Budget::ResponseBytes => false,
        },
        PluginFault::BadOutput(_) | PluginFault::Quarantined | PluginFault::Busy => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_keeps_trapping_is_stopped_for_growing_whiles() {
        let quarantine = Quarantine::default();
        let begin = Instant::now();
        for _ in 1..STRIKES {
            assert_eq!(quarantine.failed(&PluginFault::Trap, begin), None);
            assert_eq!(quarantine.pass(|| begin), Ok(()));
        }
        assert_eq!(quarantine.failed(&PluginFault::Trap, begin), Some(PAUSE_MIN));
        assert_eq!(quarantine.pass(|| begin), Err(PAUSE_MIN));
        let later = begin + PAUSE_MIN;
        assert_eq!(quarantine.pass(|| later), Ok(()), "one probe");
        assert!(quarantine.pass(|| later).is_err(), "and no second one beside it");
        assert_eq!(quarantine.failed(&PluginFault::Trap, later), Some(PAUSE_MIN * 2));
        let later = later + PAUSE_MIN * 2;
        assert_eq!(quarantine.pass(|| later), Ok(()));
        assert!(quarantine.succeeded());
        assert_eq!(quarantine.pass(|| later), Ok(()));
    }

    #[test]
    fn calls_that_were_under_way_do_not_make_the_pause_longer() {
        let quarantine = Quarantine::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..20).filter_map(|_| quarantine.failed(&PluginFault::Trap, now)).collect();
        assert_eq!(pauses, [PAUSE_MIN]);
        assert_eq!(quarantine.pass(|| now), Err(PAUSE_MIN));
    }

    #[test]
    fn the_pause_grows_to_its_bound() {
        let quarantine = Quarantine::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..STRIKES + 10 {
            if let Some(pause) = quarantine.failed(&PluginFault::Trap, now) {
                pauses.push(pause.as_secs());
                now += pause;
                assert_eq!(quarantine.pass(|| now), Ok(()), "the probe");
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn what_the_platform_did_does_not_count() {
        let quarantine = Quarantine::default();
        for fault in [PluginFault::Budget(Budget::Wall), PluginFault::BadOutput("labels"), PluginFault::Busy] {
            for _ in 0..2 * STRIKES {
                assert_eq!(quarantine.failed(&fault, Instant::now()), None);
            }
        }
        assert_eq!(quarantine.pass(Instant::now), Ok(()));
    }

    #[test]
    fn a_success_forgives_what_came_before() {
        let quarantine = Quarantine::default();
        for _ in 0..10 {
            for _ in 1..STRIKES {
                quarantine.failed(&PluginFault::Trap, Instant::now());
            }
            assert!(!quarantine.succeeded());
        }
        assert_eq!(quarantine.pass(Instant::now), Ok(()));
    }
}
