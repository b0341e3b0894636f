//! `namespaces`: `/system/namespaces` and `/system/namespace/{name}`.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{NamespaceEntry, NamespacePage, Namespaces, ProviderError, Result};

use crate::{ANSWER_BYTES, FaasProvider, create, page, url, wire};

impl Namespaces for FaasProvider {
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let answer = Request::get(url("system/namespaces")).send()?;
        if answer.status() == 404 {
            // Here 404 says that the provider has no such route, not that something is absent.
            return Err(ProviderError::unsupported("the provider has no namespaces").with_status(404));
        }
        let all: Option<Vec<String>> = answer.success("namespaces")?.json(ANSWER_BYTES)?;
        let (names, next) = page::cut(all.unwrap_or_default(), String::as_str, cursor, limit);
        Ok(NamespacePage { names, next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        let answer = Request::get(url("system/namespace/")).segment(name).send()?;
        Ok(answer.success(&format!("namespace {name}"))?.json::<wire::Namespace>(ANSWER_BYTES)?.into())
    }

    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        let what = format!("create namespace {}", entry.name);
        let request = Request::post(url("system/namespace/")).segment(&entry.name);
        create(request.json(&wire::Namespace::from(entry))?, &what)
    }

    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        let what = format!("update namespace {}", entry.name);
        let request = Request::put(url("system/namespace/")).segment(&entry.name);
        request.json(&wire::Namespace::from(entry))?.send()?.success(&what)?;
        Ok(())
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        let entry = NamespaceEntry { name: name.to_owned(), ..NamespaceEntry::default() };
        Request::delete(url("system/namespace/"))
            .segment(name)
            .json(&wire::Namespace::from(entry))?
            .send()?
            .success(&format!("delete namespace {name}"))?;
        Ok(())
    }
}
