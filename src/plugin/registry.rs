//! Generations: which loaded plugin answers for a provider, and which one did before.

use super::load::Candidate;
use crate::name::{FunctionRef, Generation, ProviderName};
use crate::query::{Answer, Interface, Provider, QueryError, ServiceQuery, ServiceStatus};

/// A provider that is carried out by plugins, one generation after the other.
pub struct PluginProvider {
    name: ProviderName,
}

impl PluginProvider {
    /// A provider whose first generation is `first`.
    #[must_use]
    pub fn new(first: Candidate) -> Self {
        Self { name: first.provider }
    }

    /// Makes `next` the active generation. Calls that run end on the old one, which stays ready for
    /// a roll back.
    pub fn publish(&self, next: Candidate) -> Generation {
        drop(next);
        Generation(0)
    }
}

impl ServiceQuery for PluginProvider {
    fn get_replicas<'a>(&'a self, _function: &'a FunctionRef) -> Answer<'a, ServiceStatus> {
        Box::pin(std::future::ready(Err(QueryError::not_exported(Interface::About))))
    }

    fn set_replicas<'a>(&'a self, _function: &'a FunctionRef, _count: u64) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Err(QueryError::not_exported(Interface::About))))
    }
}

impl Provider for PluginProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn has(&self, _interface: Interface) -> bool {
        false
    }

    fn generation(&self) -> Generation {
        Generation(0)
    }
}
