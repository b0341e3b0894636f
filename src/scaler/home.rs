//! What the scaler keeps for each provider.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::policy::{AddressPolicy, OwnListeners};
use super::snapshot::Tracked;
use super::template::Template;
use crate::name::Namespace;
use crate::provider::Entry;

/// How many functions may be due for a refresh at one provider; the others are due with their next request.
const REFRESH_QUEUE: usize = 4096;

/// A provider, its address policy and the state of its watch.
pub(super) struct Home {
    pub(super) entry: Arc<Entry>,
    pub(super) policy: Arc<AddressPolicy>,
    pub(super) template: Option<Template>,
    watching: AtomicBool,
    /// Wakes the watch after a swap.
    pub(super) swapped: Notify,
    refreshes: mpsc::Sender<Turn>,
    /// What runs in the background for it.
    work: OnceLock<[AbortHandle; 2]>,
}

impl Home {
    /// The provider's home, and the queue that its refresher reads.
    pub(super) fn new(entry: &Arc<Entry>, own: &Arc<OwnListeners>) -> (Arc<Self>, mpsc::Receiver<Turn>) {
        let (refreshes, queue) = mpsc::channel(REFRESH_QUEUE);
        let name = entry.provider.name();
        let template = entry.endpoints.template.as_deref().and_then(|text| {
            // The configuration's reader reports this with its place; here it only must not pass.
            text.parse().inspect_err(|error| tracing::error!(provider = %name, %error, "template ignored")).ok()
        });
        let home = Self {
            entry: Arc::clone(entry),
            policy: Arc::new(AddressPolicy::new(name, &entry.endpoints, Arc::clone(own))),
            template,
            watching: AtomicBool::new(false),
            swapped: Notify::new(),
            refreshes,
            work: OnceLock::new(),
        };
        (Arc::new(home), queue)
    }

    /// Whether a healthy watch tells of every change in `namespace`.
    pub(super) fn is_watching(&self, namespace: &Namespace) -> bool {
        self.watching.load(Ordering::Acquire) && self.entry.namespaces.contains(namespace)
    }

    /// Notes whether the watch is healthy; `true` if that is new.
    pub(super) fn set_watching(&self, watching: bool) -> bool {
        self.watching.swap(watching, Ordering::AcqRel) != watching
    }

    /// Hands it the work that ends with it.
    pub(super) fn works(&self, work: [AbortHandle; 2]) {
        if let Err(second) = self.work.set(work) {
            second.iter().for_each(AbortHandle::abort);
        }
    }

    /// Ends its background work. Functions that are still here move away.
    pub(super) fn end(&self) {
        self.work.get().into_iter().flatten().for_each(AbortHandle::abort);
        self.set_watching(false);
    }

    /// Queues a refresh unless one is queued or under way. Never waits.
    pub(super) fn refresh(tracked: &Arc<Tracked>) {
        if tracked.queued.load(Ordering::Relaxed) || tracked.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        // A full queue gives the turn back by dropping it.
        drop(tracked.home().refreshes.try_send(Turn(Arc::clone(tracked))));
    }
}

/// A function's one place in its provider's queue of refreshes, from queueing to the answer; given
/// back when dropped.
pub(super) struct Turn(Arc<Tracked>);

impl Deref for Turn {
    type Target = Arc<Tracked>;

    fn deref(&self) -> &Arc<Tracked> {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.queued.store(false, Ordering::Release);
    }
}
