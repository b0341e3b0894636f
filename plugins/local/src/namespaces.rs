//! `namespaces`: those of the operator's `config`, and no others.

use wicketgate_sdk::{NamespaceEntry, NamespacePage, Namespaces, ProviderError, Result};

use crate::Local;

impl Namespaces for Local {
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let mut names = self.settings.namespaces.clone();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| cursor.is_none_or(|cursor| name.as_str() > cursor));
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let more = names.len() > limit;
        names.truncate(limit);
        let next = names.last().filter(|_| more).cloned();
        Ok(NamespacePage { names, next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        self.check_namespace(name)?;
        Ok(NamespaceEntry { name: name.to_owned(), ..NamespaceEntry::default() })
    }

    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        if self.has_namespace(&entry.name) {
            return Err(ProviderError::already_exists(format!("there is a namespace {}", entry.name)));
        }
        Err(fixed())
    }

    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        self.check_namespace(&entry.name)?;
        Err(fixed())
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        self.check_namespace(name)?;
        Err(fixed())
    }
}

fn fixed() -> ProviderError {
    ProviderError::unsupported(
        "the namespaces of this machine are those of the operator's config = { namespaces = [...] }",
    )
}
