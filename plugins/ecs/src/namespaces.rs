//! `namespaces`: the clusters that the operator named.

use wicketgate_sdk::{NamespaceEntry, NamespacePage, Namespaces, ProviderError, Result};

use crate::Ecs;

impl Namespaces for Ecs {
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let mut rest = self.settings.clusters.keys().filter(|name| cursor.is_none_or(|cursor| name.as_str() > cursor));
        let names: Vec<String> = rest.by_ref().take(limit).cloned().collect();
        let next = rest.next().and(names.last().cloned());
        Ok(NamespacePage { names, next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        let cluster = self.cluster(name)?;
        let annotations = vec![("cluster".to_owned(), cluster.to_owned())];
        Ok(NamespaceEntry { name: name.to_owned(), annotations, ..NamespaceEntry::default() })
    }

    fn create_namespace(&self, _entry: NamespaceEntry) -> Result<()> {
        Err(the_operators())
    }

    fn update_namespace(&self, _entry: NamespaceEntry) -> Result<()> {
        Err(the_operators())
    }

    fn delete_namespace(&self, _name: &str) -> Result<()> {
        Err(the_operators())
    }
}

fn the_operators() -> ProviderError {
    ProviderError::unsupported("a namespace is a cluster that the operator names in config.clusters; change it there")
}
