//! The watch table: for each provider whose plugin has `watch`, a task that follows its changes.
//!
//! While the watch is healthy (a full snapshot was read and no call failed since), what it said is
//! fresh and nothing is polled. When it is not, snapshots age as if they had been asked for at the
//! moment it ended.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::endpoints::below;
use super::home::Home;
use super::shared::Shared;
use super::snapshot::{Ticket, Tracked};
use crate::name::{FunctionRef, Generation};
use crate::query::{Cause, ChangeSet, ErrorKind, Interface, QueryError};

/// The waits after failed watches: doubling, at random up to a half more.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether a provider got `watch`; a swap says so at once.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// By how much a watch call may be late before it is given up.
const LATE: Duration = Duration::from_secs(10);

/// The shortest time between two calls that brought nothing, and how far it grows: a watch that
/// does not wait must not spin.
const IDLE_PAUSE: Duration = Duration::from_millis(20);
const IDLE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pages of a snapshot; one that never completes is given up.
const SNAPSHOT_PAGES: u32 = 10_000;

/// Why a watch ended.
enum Ended {
    /// Begin again at once: a new generation answers.
    Swapped,
    /// Begin again without the cursor.
    CursorExpired,
    Failed(QueryError),
}

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, home: Arc<Home>) {
    // A provider that serves only what nobody claims has nothing to name in a watch.
    if home.entry.namespaces.is_empty() {
        return;
    }
    let provider = &home.entry.provider;
    let name = provider.name().as_str();
    let mut failures: u32 = 0;
    loop {
        if !provider.has(Interface::Watch) {
            tokio::select! {
                () = home.swapped.notified() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
            continue;
        }
        let mut follow = Follow::new(&shared, &home);
        let ended = AssertUnwindSafe(follow.run()).catch_unwind().await;
        let had_success = follow.is_complete;
        become_watching(&shared, &home, false);
        let outcome = match ended {
            Ok(Ended::Swapped) => "swapped",
            Ok(Ended::CursorExpired) => "cursor-expired",
            Ok(Ended::Failed(error)) => {
                tracing::warn!(provider = name, %error, "watch ended; polling until it is back");
                "failed"
            }
            Err(_panic) => {
                tracing::error!(provider = name, "watch panicked; polling until it is back");
                "panicked"
            }
        };
        shared.meters.watch_calls.with_label_values(&[name, outcome]).inc();
        failures = if had_success { 0 } else { failures.saturating_add(1) };
        // A first expired cursor or swap is the ordinary course of things.
        if failures > 1 || !matches!(outcome, "swapped" | "cursor-expired") {
            let wait = (BACKOFF * 2_u32.saturating_pow(failures.min(8))).min(BACKOFF_MAX);
            let wait = wait + wait / 2000 * u32::try_from(below(1000)).unwrap_or(0);
            tokio::select! {
                () = home.swapped.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }
}

/// Notes whether the watch is healthy, and brings all snapshots in line with that.
fn become_watching(shared: &Shared, home: &Arc<Home>, watching: bool) {
    shared.meters.watching.with_label_values(&[home.entry.provider.name().as_str()]).set(i64::from(watching));
    // The flag first: who publishes later reads it, who published before is found in the table.
    if home.set_watching(watching) {
        for tracked in shared.table.filter(|tracked| Arc::ptr_eq(&tracked.home(), home)) {
            tracked.rewatch(&shared.config);
        }
    }
}

/// One run of a watch, from its snapshot to its end.
struct Follow<'a> {
    shared: &'a Shared,
    home: &'a Arc<Home>,
    generation: Generation,
    cursor: Option<String>,
    is_complete: bool,
    /// Functions that were known when the snapshot began and that no page has named.
    unnamed: HashMap<FunctionRef, (Ticket, Arc<Tracked>)>,
}

impl<'a> Follow<'a> {
    fn new(shared: &'a Shared, home: &'a Arc<Home>) -> Self {
        let known = shared.table.filter(|tracked| {
            Arc::ptr_eq(&tracked.home(), home) && home.entry.namespaces.contains(&tracked.function.namespace)
        });
        let unnamed =
            known.into_iter().map(|tracked| (tracked.function.clone(), (tracked.ticket(), tracked))).collect();
        let generation = home.entry.provider.generation();
        Self { shared, home, generation, cursor: None, is_complete: false, unnamed }
    }

    async fn run(&mut self) -> Ended {
        let provider = &self.home.entry.provider;
        let wait = self.shared.config.watch_wait;
        let mut pause = IDLE_PAUSE;
        let mut pages = 0;
        loop {
            let asked = Instant::now();
            let call = provider.changes(&self.home.entry.namespaces, self.cursor.as_deref(), wait);
            let changes = tokio::select! {
                changes = timeout(wait + LATE, call) => changes,
                () = self.home.swapped.notified() => return Ended::Swapped,
            };
            let changes = match changes {
                Ok(Ok(changes)) => changes,
                Ok(Err(error)) if error.cause == Cause::Platform(ErrorKind::CursorExpired) => {
                    return Ended::CursorExpired;
                }
                Ok(Err(error)) => return Ended::Failed(error),
                Err(_elapsed) => {
                    return Ended::Failed(failure(format!("no answer within {} s", (wait + LATE).as_secs())));
                }
            };
            if provider.generation() != self.generation {
                return Ended::Swapped;
            }
            pages += 1;
            let is_idle = changes.changed.is_empty() && changes.removed.is_empty() && !changes.complete
                || self.is_complete && changes.changed.is_empty() && changes.removed.is_empty();
            self.apply(changes);
            if !self.is_complete && pages > SNAPSHOT_PAGES {
                return Ended::Failed(failure(format!("the snapshot is not complete after {SNAPSHOT_PAGES} pages")));
            }
            if is_idle && asked.elapsed() < pause {
                sleep(pause).await;
                pause = (pause * 2).min(IDLE_PAUSE_MAX);
            } else {
                pause = IDLE_PAUSE;
            }
        }
    }

    fn apply(&mut self, changes: ChangeSet) {
        let shared = self.shared;
        for (function, status) in changes.changed {
            self.unnamed.remove(&function);
            match self.own(&function) {
                Some(tracked) => {
                    tracked.observe(status, &shared.config);
                    // Its instances may be others by now. Who is sent to an address that was given up would
                    // reach whoever has it next, so nobody's next request is waited for.
                    if tracked.has_endpoints(Instant::now()) {
                        Home::refresh(&tracked);
                    }
                }
                // It exists by now, whatever was said of its name before.
                None => shared.negative.remove(&function),
            }
        }
        for function in changes.removed {
            self.unnamed.remove(&function);
            if let Some(tracked) = self.own(&function) {
                self.forget(&tracked);
            }
        }
        self.cursor = Some(changes.cursor);
        if changes.complete && !self.is_complete {
            self.is_complete = true;
            // What no page named does not exist, unless somebody learned better meanwhile.
            for (ticket, tracked) in std::mem::take(&mut self.unnamed).into_values() {
                if tracked.ticket() == ticket && tracked.snapshot().is_some() {
                    self.forget(&tracked);
                }
            }
            become_watching(shared, self.home, true);
        }
    }

    /// The function, if it is known and this provider's: a plugin speaks only for its own.
    fn own(&self, function: &FunctionRef) -> Option<Arc<Tracked>> {
        self.shared.table.get(function).filter(|tracked| {
            Arc::ptr_eq(&tracked.home(), self.home) && self.home.entry.namespaces.contains(&function.namespace)
        })
    }

    fn forget(&self, tracked: &Arc<Tracked>) {
        if tracked.control().episode.is_some() {
            // Its cold start asks the platform itself.
            tracked.invalidate();
            return;
        }
        let provider = &self.home.entry.provider;
        let gone = QueryError::platform(ErrorKind::NotFound, "the watch says that it is gone")
            .of(provider.name(), self.generation)
            .about(&tracked.function);
        self.shared.forget(tracked, Arc::new(gone));
    }
}

fn failure(message: String) -> QueryError {
    QueryError::new(Cause::Platform(ErrorKind::Timeout), message)
}
