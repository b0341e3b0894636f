//! The smallest rules for what a plugin used, as TOML, and in the place of those that a file has.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::host::grant::{BodySpec, Grant, Rule};
use crate::name::ProviderName;
use crate::trust::used::merge;

/// What `allow` of a grant is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tightened {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What was used under a rule that the grant has no more, so that nothing stands for it.
    pub gone: Vec<String>,
    /// Where the platform has the functions, which the profile said so far.
    pub functions: Option<String>,
    /// The same for their instances.
    pub endpoints: Vec<String>,
}

impl Tightened {
    /// The smallest rules of a grant for what was recorded. Those that look at header fields or bodies stay as
    /// they are and come first, in their order.
    #[must_use]
    pub fn of(grant: &Grant, shapes: &BTreeSet<String>) -> Self {
        let (mut plain, mut gone) = (Vec::new(), Vec::new());
        let mut used = BTreeSet::new();
        for text in merge(shapes) {
            match (text.parse::<Rule>(), grant.rules.iter().position(|rule| rule.identity() == text)) {
                (Ok(rule), _) => plain.push(rule),
                (Err(_), Some(position)) => drop(used.insert(position)),
                (Err(_), None) => gone.push(text),
            }
        }
        let conditional = used.into_iter().filter_map(|position| grant.rules.get(position)).cloned();
        let functions = grant.functions.as_ref().map(|path| path.as_str().to_owned());
        let endpoints = grant.endpoints.iter().map(ToString::to_string).collect();
        Self { rules: conditional.chain(plain).collect(), gone, functions, endpoints }
    }

    fn allow(&self) -> Value {
        let mut rules: Array = self.rules.iter().map(value).collect();
        for rule in rules.iter_mut() {
            rule.decor_mut().set_prefix("\n    ");
        }
        rules.set_trailing("\n");
        rules.set_trailing_comma(true);
        Value::Array(rules)
    }
}

/// Why a file was not rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// It is no TOML.
    #[error(transparent)]
    Form(#[from] toml_edit::TomlError),
    /// It has no table for a grant.
    #[error("it has no table [provider.{provider}.grant.{grant}]")]
    NoTable {
        /// Whose.
        provider: ProviderName,
        /// Which one.
        grant: String,
    },
}

/// The rules as a piece of a configuration.
#[must_use]
pub fn snippet(provider: &ProviderName, grants: &BTreeMap<String, Tightened>) -> String {
    let mut document = DocumentMut::new();
    for (grant, tightened) in grants {
        let mut table = Table::new();
        put(&mut table, tightened);
        let mut parent: &mut Table = document.as_table_mut();
        for key in ["provider", provider.as_str(), "grant"] {
            let item = parent.entry(key).or_insert_with(|| {
                let mut between = Table::new();
                between.set_implicit(true);
                Item::Table(between)
            });
            let Some(next) = item.as_table_mut() else { return String::new() };
            parent = next;
        }
        parent.insert(grant, Item::Table(table));
    }
    document.to_string()
}

/// Puts the rules in the place of `profile` and `allow` of each grant. Everything else of the text stays as it is.
///
/// # Errors
/// See [`RewriteError`].
pub fn rewrite(
    text: &str,
    provider: &ProviderName,
    grants: &BTreeMap<String, Tightened>,
) -> Result<String, RewriteError> {
    let mut document: DocumentMut = text.parse()?;
    for (grant, tightened) in grants {
        let mut table: Option<&mut dyn TableLike> = Some(document.as_table_mut());
        for key in ["provider", provider.as_str(), "grant", grant] {
            table = table.and_then(|table| table.get_mut(key)?.as_table_like_mut());
        }
        let no_table = || RewriteError::NoTable { provider: provider.clone(), grant: grant.clone() };
        put(table.ok_or_else(no_table)?, tightened);
    }
    Ok(document.to_string())
}

fn put(table: &mut dyn TableLike, tightened: &Tightened) {
    // Comments above a line belong to its key.
    let above = |table: &dyn TableLike, key: &str| {
        let comment = table.key(key).and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned));
        comment.unwrap_or_default()
    };
    let comments = format!("{}{}", above(&*table, "profile"), above(&*table, "allow"));
    let had_profile = table.remove("profile").is_some();
    if let (true, Some(functions), false) = (had_profile, &tightened.functions, table.contains_key("functions")) {
        table.insert("functions", Item::Value(functions.as_str().into()));
    }
    if had_profile && !tightened.endpoints.is_empty() && !table.contains_key("endpoints") {
        table
            .insert("endpoints", Item::Value(tightened.endpoints.iter().map(String::as_str).collect::<Array>().into()));
    }
    table.insert("allow", Item::Value(tightened.allow()));
    if let Some(mut key) = table.key_mut("allow").filter(|_| !comments.is_empty()) {
        key.leaf_decor_mut().set_prefix(comments);
    }
}

/// A rule: in the short form where that says all.
fn value(rule: &Rule) -> Value {
    let short = rule.to_string();
    if rule.is_plain() && short.parse::<Rule>().is_ok() {
        return short.into();
    }
    let spec = rule.spec();
    let pairs = |pairs: &BTreeMap<String, String>| -> InlineTable {
        pairs.iter().map(|(key, value)| (key.as_str(), Value::from(value.as_str()))).collect()
    };
    let mut table = InlineTable::new();
    table.insert("method", spec.method.as_str().into());
    table.insert("path", spec.path.as_str().into());
    if !spec.query.is_empty() {
        table.insert("query", pairs(&spec.query).into());
    }
    if !spec.headers.is_empty() {
        table.insert("headers", pairs(&spec.headers).into());
    }
    if let Some(effect) = &spec.effect {
        table.insert("effect", effect.as_str().into());
    }
    if let Some(body) = &spec.body {
        table.insert("body", body_value(body));
    }
    table.into()
}

fn body_value(body: &BodySpec) -> Value {
    if body.is_none {
        return "none".into();
    }
    let mut table = InlineTable::new();
    for (key, places) in
        [("only", &body.only), ("forbid", &body.forbid), ("require", &body.require), ("except", &body.except)]
    {
        if !places.is_empty() {
            table.insert(key, Value::Array(places.iter().map(String::as_str).collect()));
        }
    }
    if let Some(unchanged) = &body.unchanged {
        table.insert("unchanged", unchanged.as_str().into());
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::AllowedHost;

    fn grant(rules: &[&str]) -> Grant {
        Grant {
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            functions: Some("/function".parse().unwrap()),
            endpoints: vec![AllowedHost::Network("127.64.0.0/10".parse().unwrap())],
            ..Grant::new("http://127.0.0.1:1".parse().unwrap())
        }
    }

    fn changes(shapes: &[&str]) -> BTreeMap<String, Tightened> {
        let shapes = shapes.iter().map(|shape| (*shape).to_owned()).collect();
        [("api".to_owned(), Tightened::of(&grant(&["GET /**"]), &shapes))].into()
    }

    const TEXT: &str = "\
# The edge.
[listen]
http = \"127.0.0.1:8080\"   # as before

[provider.edge]
component = 'acme.wasm'

[provider.edge.grant.api]
connect = \"http://127.0.0.1:1\"
# All that it may.
profile = \"faas-provider\"
limits.in-flight = 4

[provider.other.grant.api]
connect = \"http://127.0.0.1:2\"
allow = [\"GET /x\"]
";

    #[test]
    fn all_but_the_rules_stays_as_it_is() {
        let provider: ProviderName = "edge".parse().unwrap();
        let text = rewrite(TEXT, &provider, &changes(&["GET /a", "GET /b?c=*"])).unwrap();
        let expected = TEXT.replace(
            "# All that it may.\nprofile = \"faas-provider\"\nlimits.in-flight = 4\n",
            "limits.in-flight = 4\nfunctions = \"/function\"\nendpoints = [\"127.64.0.0/10\"]\n# All that it may.\nallow = [\n    \"GET /a\",\n    \"GET /b?c=*\",\n]\n",
        );
        assert_eq!(text, expected);
        // A second time nothing changes, not even `functions` and `endpoints`.
        assert_eq!(rewrite(&text, &provider, &changes(&["GET /a", "GET /b?c=*"])).unwrap(), text);
        // A grant in one line is a table too.
        let inline =
            "provider.edge.grant.api = { connect = \"http://127.0.0.1:1\", profile = \"x\", allow = [\"GET /**\"] }\n";
        let text = rewrite(inline, &provider, &changes(&["GET /a"])).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let api = &table["provider"]["edge"]["grant"]["api"];
        assert_eq!(api["allow"].as_array().unwrap().len(), 1, "{text}");
        assert!(api.get("profile").is_none() && api["connect"].is_str(), "{text}");
    }

    #[test]
    fn a_grant_without_a_table_is_no_place_for_rules() {
        let provider: ProviderName = "edge".parse().unwrap();
        let changes = changes(&["GET /a"]);
        assert!(matches!(rewrite("[provider.edge]\n", &provider, &changes), Err(RewriteError::NoTable { .. })));
        assert!(matches!(rewrite("provider = 7\n", &provider, &changes), Err(RewriteError::NoTable { .. })));
        assert!(matches!(rewrite("[provider\n", &provider, &changes), Err(RewriteError::Form(_))));
    }

    #[test]
    fn what_was_used_under_a_rule_that_is_gone_is_told() {
        let tightened = Tightened::of(&grant(&["GET /a"]), &["POST /b (no body) 0123456789abcdef".to_owned()].into());
        assert_eq!((tightened.rules, tightened.gone.len()), (Vec::new(), 1));
    }
}
