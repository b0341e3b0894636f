//! `namespaces`: those that are marked for functions, as OpenFaaS marks them.

use serde_json::{Map, Value, json};
use wicketgate_sdk::{NamespaceEntry, NamespacePage, Namespaces, Pairs, ProviderError, Result};

use crate::Kubernetes;
use crate::api::{self, PAGE};
use crate::object::{List, Metadata, find, object};

/// The annotation (or label) of namespaces that hold functions.
const MARK: &str = "openfaas";

impl Namespaces for Kubernetes {
    /// A page holds fewer names than were asked for where other namespaces lie between.
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let request = api::get(all()).query("limit", &limit.clamp(1, PAGE).to_string());
        let page: List<Metadata> = api::page(&request, cursor, true, "namespaces")?;
        let marked = page.items.into_iter().filter(is_marked);
        let names = marked.filter(|found| !found.is_going()).map(|found| found.name).collect();
        Ok(NamespacePage { names, next: page.next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        let metadata = read(name)?;
        Ok(NamespaceEntry {
            labels: metadata.label_pairs(),
            annotations: metadata.annotation_pairs(),
            name: metadata.name,
        })
    }

    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        let mut annotations = object(&entry.annotations);
        if !annotations.contains_key(MARK) {
            annotations.insert(MARK.to_owned(), json!("1"));
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": entry.name, "labels": object(&entry.labels), "annotations": annotations },
        });
        api::send(api::create(all(), &body), &format!("create namespace {}", entry.name)).map(drop)
    }

    /// Labels and annotations of Kubernetes itself stay as they are.
    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        let what = format!("update namespace {}", entry.name);
        let there = own(&entry.name, &what)?;
        let mut annotations = replaced(&there.annotations, &entry.annotations);
        // Without its mark it would be found no more.
        annotations.insert(MARK.to_owned(), json!("1"));
        let body = json!({ "metadata": {
            "resourceVersion": there.resource_version,
            "labels": replaced(&there.labels, &entry.labels),
            "annotations": annotations,
        } });
        api::send(api::merge(one(&entry.name), &body), &what).map(drop)
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        let what = format!("delete namespace {name}");
        let there = own(name, &what)?;
        api::send(api::delete(one(name), &there.uid), &what).map(drop)
    }
}

fn all() -> String {
    api::root("api/v1/namespaces")
}

fn one(name: &str) -> String {
    let mut url = all();
    url.push('/');
    wicketgate_sdk::http::encode_segment(name, &mut url);
    url
}

fn read(name: &str) -> Result<Metadata> {
    api::fetch(api::get(one(name)), &format!("namespace {name}"))
}

/// A namespace that may be changed and deleted: one that is marked.
fn own(name: &str, what: &str) -> Result<Metadata> {
    let there = read(name)?;
    if is_marked(&there) {
        return Ok(there);
    }
    Err(ProviderError::denied(format!("{what}: it is not marked for functions; annotate it with {MARK}=1")))
}

fn is_marked(metadata: &Metadata) -> bool {
    let annotation = find(&metadata.annotations, MARK);
    [annotation, metadata.label(MARK)].into_iter().flatten().any(|value| matches!(value, "1" | "true"))
}

/// A merge patch that turns `there` into `wanted`: `null` takes a key away.
fn replaced(there: &Pairs, wanted: &Pairs) -> Map<String, Value> {
    let is_kubernetes_own = |key: &str| {
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        ["kubernetes.io", "k8s.io"].iter().any(|own| domain == *own || domain.ends_with(&format!(".{own}")))
    };
    let mut patch = object(wanted);
    for (key, _) in there.iter().filter(|(key, _)| !is_kubernetes_own(key)) {
        if !patch.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}
