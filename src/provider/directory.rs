//! Which provider serves which namespace, now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::EndpointPolicy;
use crate::name::{FunctionRef, Namespace, ProviderName};
use crate::query::Provider;

/// A provider and what the data plane must know of its configuration. Immutable: a changed
/// configuration makes a new one.
pub struct Entry {
    /// Asks the platform.
    pub provider: Arc<dyn Provider>,
    /// Where its functions may be.
    pub endpoints: EndpointPolicy,
    /// The namespaces that it claims.
    pub namespaces: Vec<Namespace>,
    /// Whether it serves the namespaces that nobody claims.
    pub is_default: bool,
}

/// All providers at one moment. Immutable.
#[derive(Clone, Default)]
pub struct Listing {
    entries: Vec<Arc<Entry>>,
    by_namespace: BTreeMap<Namespace, usize>,
    default: Option<usize>,
}

impl Listing {
    /// A listing of these providers. Whoever calls made sure that no namespace is claimed twice.
    #[must_use]
    pub fn new(entries: Vec<Arc<Entry>>) -> Self {
        let mut listing = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            for namespace in &entry.namespaces {
                listing.by_namespace.insert(namespace.clone(), index);
            }
            if entry.is_default {
                listing.default = Some(index);
            }
        }
        listing.entries = entries;
        listing
    }

    /// The provider of a function's namespace, or the default one.
    #[must_use]
    pub fn of(&self, function: &FunctionRef) -> Option<&Arc<Entry>> {
        self.of_namespace(&function.namespace)
    }

    /// The provider of a namespace, or the default one.
    #[must_use]
    pub fn of_namespace(&self, namespace: &Namespace) -> Option<&Arc<Entry>> {
        let index = self.by_namespace.get(namespace).copied().or(self.default)?;
        self.entries.get(index)
    }

    /// A provider by its name.
    #[must_use]
    pub fn named(&self, name: &ProviderName) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.provider.name() == name)
    }

    /// All providers, in the order of the configuration.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}

/// The listing that holds now. Reading it takes no lock; the control plane replaces it as a whole, so
/// nobody sees half of a change.
#[derive(Default)]
pub struct Directory {
    listing: ArcSwap<Listing>,
}

impl Directory {
    /// A directory of these providers; see [`Listing::new`].
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let entries = entries.into_iter().map(Arc::new).collect();
        Self { listing: ArcSwap::from_pointee(Listing::new(entries)) }
    }

    /// What holds now. For one request it is read once.
    #[must_use]
    pub fn listing(&self) -> Arc<Listing> {
        self.listing.load_full()
    }

    /// Replaces it. The [scaler](crate::scaler::Scaler::update) is to be told afterwards.
    pub fn publish(&self, listing: Listing) {
        self.listing.store(Arc::new(listing));
    }

    /// The provider of a namespace, or the default one.
    #[must_use]
    pub fn of_namespace(&self, namespace: &Namespace) -> Option<Arc<Entry>> {
        self.listing.load().of_namespace(namespace).cloned()
    }
}
