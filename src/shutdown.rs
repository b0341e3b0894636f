//! One way to end: stop accepting, let what is under way finish within a grace, then cut the rest.
//!
//! A [`Trigger`] is held by whoever decides; a [`Drain`] by everybody who works. Work that must be
//! waited for carries a [`Hold`]. A leaf: it knows nothing of connections or requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{Notify, watch};

/// The default of the time between the first signal and the cut.
pub const GRACE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Ended,
}

struct Shared {
    phase: watch::Sender<Phase>,
    holds: AtomicUsize,
    released: Notify,
}

/// Starts the drain and waits for its end.
pub struct Trigger(Arc<Shared>);

/// Tells its holders when to stop. Cheap to clone.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

/// Work that the drain waits for, until this is dropped.
pub struct Hold(Arc<Shared>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All work was finished.
    Finished,
    /// So much was cut, since the grace was over.
    GraceOver(usize),
    /// So much was cut, since a second signal came.
    SecondSignal(usize),
}

/// A trigger and its drain, running.
#[must_use]
pub fn channel() -> (Trigger, Drain) {
    let shared = Arc::new(Shared {
        phase: watch::Sender::new(Phase::Running),
        holds: AtomicUsize::new(0),
        released: Notify::new(),
    });
    (Trigger(Arc::clone(&shared)), Drain(shared))
}

/// SIGTERM and SIGINT, heard from the moment that this was made: so it is made before anybody is told that the
/// gateway is there.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Begins to listen. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one; its name.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Trigger {
    /// Begins the drain: [`Drain::draining`] answers from now on.
    pub fn drain(&self) {
        self.0.phase.send_if_modified(|phase| {
            let begins = *phase == Phase::Running;
            if begins {
                *phase = Phase::Draining;
            }
            begins
        });
    }

    /// Cuts what is still under way: [`Drain::ended`] answers from now on.
    pub fn end(&self) {
        self.0.phase.send_replace(Phase::Ended);
    }

    /// Waits until nothing is held. Work that begins afterwards is not waited for.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn finished(&self) {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            // Registered before the count is read, so that no release falls in between.
            released.as_mut().enable();
            if self.0.holds.load(Ordering::SeqCst) == 0 {
                return;
            }
            released.await;
        }
    }

    /// Waits for a first SIGTERM or SIGINT, drains for at most `grace`, and cuts the rest then or at
    /// a second signal.
    pub async fn on_signals(&self, signals: &mut Signals, grace: Duration) -> Outcome {
        let signal = signals.next().await;
        tracing::info!(signal, ?grace, "draining");
        let second = async {
            signals.next().await;
        };
        self.drain_until(grace, second).await
    }

    /// Drains until nothing is held, `grace` is over, or `second` comes, and cuts the rest.
    pub async fn drain_until(&self, grace: Duration, second: impl Future<Output = ()>) -> Outcome {
        self.drain();
        let outcome = tokio::select! {
            () = self.finished() => Outcome::Finished,
            () = tokio::time::sleep(grace) => Outcome::GraceOver(self.0.holds.load(Ordering::SeqCst)),
            () = second => Outcome::SecondSignal(self.0.holds.load(Ordering::SeqCst)),
        };
        self.end();
        outcome
    }
}

impl Drain {
    /// Waits for the drain to begin.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn draining(&self) {
        self.reach(Phase::Draining).await;
    }

    /// Waits for the cut.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ended(&self) {
        self.reach(Phase::Ended).await;
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.phase.borrow() >= Phase::Draining
    }

    /// Makes the drain wait for the caller's work.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.0.holds.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(&self.0))
    }

    /// How much work is held now.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.0.holds.load(Ordering::SeqCst)
    }

    async fn reach(&self, phase: Phase) {
        let mut now = self.0.phase.subscribe();
        // The sender lives in what `self` shares, so it is not gone.
        drop(now.wait_for(|now| *now >= phase).await);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.released.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_drain_waits_for_what_is_held() {
        let (trigger, drain) = channel();
        let hold = drain.hold();
        let work = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.draining().await;
                drop(hold);
            }
        });
        assert!(!drain.is_draining());
        assert_eq!(trigger.drain_until(GRACE, pending()).await, Outcome::Finished);
        work.await.unwrap();
        assert!(drain.is_draining());
        drain.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_cut_when_the_grace_is_over() {
        let (trigger, drain) = channel();
        let _hold = drain.hold();
        assert_eq!(trigger.drain_until(GRACE, pending()).await, Outcome::GraceOver(1));
        drain.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_at_once() {
        let (trigger, drain) = channel();
        let _holds = (drain.hold(), drain.hold());
        let began = tokio::time::Instant::now();
        assert_eq!(trigger.drain_until(GRACE, async {}).await, Outcome::SecondSignal(2));
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn an_ended_drain_does_not_begin_again() {
        let (trigger, drain) = channel();
        trigger.end();
        trigger.drain();
        drain.ended().await;
    }
}
