//! `namespaces`: Nomad's own. Labels are their `Meta`, which Nomad keeps from 1.2 on.

use serde_json::{Map, Value, json};
use wicketgate_sdk::{ErrorKind, NamespaceEntry, NamespacePage, Namespaces, ProviderError, Result};

use crate::json::{list, text};
use crate::{ANNOTATION, Nomad, api, meta};

impl Namespaces for Nomad {
    /// All at once: Nomad has no pages of them.
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let all = api::fetch(api::get(&["v1", "namespaces"], ""), "namespaces")?;
        let after = cursor.unwrap_or_default();
        let mut names: Vec<String> = list(&all).iter().map(|one| text(one, "Name")).collect();
        names.retain(|name| name.as_str() > after);
        names.sort_unstable();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let has_more = names.len() > limit;
        names.truncate(limit);
        let next = if has_more { names.last().cloned() } else { None };
        Ok(NamespacePage { names, next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        let found = api::fetch(api::get(&["v1", "namespace", name], ""), &format!("namespace {name}"))?;
        let (labels, annotations) = meta(&found);
        Ok(NamespaceEntry { name: text(&found, "Name"), labels, annotations })
    }

    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        match self.get_namespace(&entry.name) {
            Ok(_) => Err(ProviderError::already_exists(format!("there is a namespace {}", entry.name))),
            Err(error) if error.kind == ErrorKind::NotFound => write(&entry, "functions", "create"),
            Err(error) => Err(error),
        }
    }

    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        let what = format!("namespace {}", entry.name);
        let there = api::fetch(api::get(&["v1", "namespace", &entry.name], ""), &what)?;
        write(&entry, &text(&there, "Description"), "update")
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        self.get_namespace(name)?;
        let request = api::request("DELETE", &["v1", "namespace", name], "");
        api::send(request, &format!("delete namespace {name}")).map(drop)
    }
}

fn write(entry: &NamespaceEntry, description: &str, verb: &str) -> Result<()> {
    let labels = entry.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
    let annotations = entry.annotations.iter().map(|(key, value)| (format!("{ANNOTATION}{key}"), json!(value)));
    let meta: Map<String, Value> = labels.chain(annotations).collect();
    let mut body = json!({ "Name": entry.name, "Description": description });
    if let (false, Some(body)) = (meta.is_empty(), body.as_object_mut()) {
        body.insert("Meta".to_owned(), Value::Object(meta));
    }
    api::send(api::post(&["v1", "namespace"], "", &body), &format!("{verb} namespace {}", entry.name)).map(drop)
}
