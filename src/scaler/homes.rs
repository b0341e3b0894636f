//! Every provider's home, by the directory that the scaler follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::home::Home;
use crate::name::{FunctionRef, Namespace, ProviderName};
use crate::provider::{Directory, Entry, Listing};

/// The homes, replaced as a whole together with the listing that they were made from: who reads them
/// never sees a provider without a home.
pub(super) struct Homes {
    directory: Arc<Directory>,
    now: ArcSwap<Table>,
    /// Updates come one after the other.
    following: Mutex<()>,
}

#[derive(Default)]
struct Table {
    listing: Arc<Listing>,
    by_name: BTreeMap<ProviderName, Arc<Home>>,
    /// Grows with every update.
    mark: u64,
}

impl Homes {
    /// None yet: [`follow`](Self::follow) makes them.
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, now: ArcSwap::default(), following: Mutex::default() }
    }

    /// The home of a function.
    pub(super) fn of(&self, function: &FunctionRef) -> Option<Arc<Home>> {
        let table = self.now.load();
        let entry = table.listing.of(function)?;
        table.by_name.get(entry.provider.name()).cloned()
    }

    /// A provider's home.
    pub(super) fn named(&self, provider: &ProviderName) -> Option<Arc<Home>> {
        self.now.load().by_name.get(provider).cloned()
    }

    /// Whether a namespace is served from this home.
    pub(super) fn serves(&self, home: &Home, namespace: &Namespace) -> bool {
        let table = self.now.load();
        table.listing.of_namespace(namespace).is_some_and(|entry| entry.provider.name() == home.entry.provider.name())
    }

    /// Which update these are from.
    pub(super) fn mark(&self) -> u64 {
        self.now.load().mark
    }

    /// Makes homes for the entries that have none, by `open`, and answers with those that are no longer
    /// one; `None` if nothing changed.
    pub(super) fn follow(&self, open: impl Fn(&Arc<Entry>) -> Arc<Home>) -> Option<Vec<Arc<Home>>> {
        let _one_at_a_time = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, listing) = (self.now.load_full(), self.directory.listing());
        if before.mark > 0 && Arc::ptr_eq(&before.listing, &listing) {
            return None;
        }
        let home = |entry: &Arc<Entry>| {
            let known = before.by_name.get(entry.provider.name()).filter(|home| Arc::ptr_eq(&home.entry, entry));
            known.cloned().unwrap_or_else(|| open(entry))
        };
        let by_name: BTreeMap<_, _> =
            listing.entries().iter().map(|entry| (entry.provider.name().clone(), home(entry))).collect();
        let is_kept = |old: &Arc<Home>| by_name.get(old.entry.provider.name()).is_some_and(|new| Arc::ptr_eq(new, old));
        let ended = before.by_name.values().filter(|old| !is_kept(old)).cloned().collect();
        self.now.store(Arc::new(Table { listing, by_name, mark: before.mark + 1 }));
        Some(ended)
    }
}
