//! The processor time of one call.
//!
//! A guest is charged for the spans in which it holds a thread, host calls included, and never for
//! waiting. The engine's ticks interrupt it: each tick charges what passed since the last reading,
//! at most one tick, so that a thread which the system had put aside costs the guest one tick and
//! not the whole pause. Between ticks it yields, so that others on the thread get their turn.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::clock::Moment;
use crate::query::Budget;

/// Ends a guest's run: a budget that the host saw broken while the guest ran.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the call used up its budget: {}", .0.setting())]
pub(super) struct Exceeded(pub(super) Budget);

/// Counts the processor time of one call at a time. Shared between an instance's store and whoever
/// polls its calls; both are on the same thread at any moment, so relaxed ordering is enough.
#[derive(Debug)]
pub(super) struct CpuMeter {
    used: AtomicU64,
    segment: AtomicU64,
    tick: u64,
    max: u64,
}

impl CpuMeter {
    pub(super) fn new(tick: Duration, max: Duration) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self { used: AtomicU64::new(0), segment: AtomicU64::new(0), tick: nanos(tick), max: nanos(max) }
    }

    /// Begins the next call.
    pub(super) fn rearm(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// What the call used so far.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn begin(&self, now: Moment) {
        self.segment.store(now.0, Ordering::Relaxed);
    }

    fn charge(&self, now: Moment) -> u64 {
        let begun = self.segment.swap(now.0, Ordering::Relaxed);
        let used = self.used.load(Ordering::Relaxed).saturating_add(now.0.saturating_sub(begun).min(self.tick));
        self.used.store(used, Ordering::Relaxed);
        used
    }

    /// Charges a tick.
    ///
    /// # Errors
    /// The call has no time left.
    pub(super) fn tick(&self) -> Result<(), Exceeded> {
        if self.charge(Moment::now()) > self.max { Err(Exceeded(Budget::Cpu)) } else { Ok(()) }
    }
}

/// Charges a call for the spans in which it is polled.
pub(super) struct Metered<'a, F> {
    call: F,
    meter: &'a CpuMeter,
    /// When it was polled last, or will be: the caller's reading saves one.
    next: Option<Moment>,
}

impl<'a, F> Metered<'a, F> {
    /// `now` is when the first poll begins.
    pub(super) fn new(call: F, meter: &'a CpuMeter, now: Moment) -> Self {
        Self { call, meter, next: Some(now) }
    }
}

impl<F: Future + Unpin> Future for Metered<'_, F> {
    /// What the call answers, and when it did.
    type Output = (F::Output, Moment);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let begun = self.next.take().unwrap_or_else(Moment::now);
        self.meter.begin(begun);
        let polled = Pin::new(&mut self.call).poll(cx);
        let now = Moment::now();
        self.meter.charge(now);
        polled.map(|output| (output, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn meter() -> CpuMeter {
        CpuMeter::new(Duration::from_millis(10), Duration::from_millis(25))
    }

    #[test]
    fn waiting_is_not_charged_and_a_pause_of_the_thread_costs_one_tick() {
        let meter = meter();
        meter.begin(Moment(0));
        meter.charge(Moment(4 * MILLISECOND));
        // A second of waiting lies between.
        meter.begin(Moment(1004 * MILLISECOND));
        meter.charge(Moment(1006 * MILLISECOND));
        assert_eq!(meter.used(), Duration::from_millis(6));
        meter.charge(Moment(1906 * MILLISECOND));
        assert_eq!(meter.used(), Duration::from_millis(16));
    }

    #[test]
    fn each_call_begins_at_zero() {
        let meter = meter();
        meter.begin(Moment(0));
        meter.charge(Moment(9 * MILLISECOND));
        meter.rearm();
        assert_eq!(meter.used(), Duration::ZERO);
    }

    #[test]
    fn ticks_beyond_the_budget_end_the_call() {
        let meter = CpuMeter::new(Duration::from_millis(10), Duration::ZERO);
        meter.begin(Moment::default());
        // Some time has passed since the process's first reading.
        std::hint::black_box(Moment::now());
        while Moment::now() == Moment::default() {}
        assert!(meter.tick().is_err());
    }
}
