//! From requests to the rules that they need.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, Uri};

use crate::host::grant::Rule;
use crate::host::grant::rule::parameters;
use crate::name::Namespace;

/// From so many paths that differ in one segment on, the segment is taken for a name.
const SIBLINGS: usize = 4;

/// What begins a shape whose segments no rule tells apart: they may be names.
const OPEN: char = '?';

/// Methods and segments of paths, with the queries that each had.
type Paths = BTreeMap<(String, Vec<String>), Vec<BTreeMap<String, String>>>;

/// The shape of a request. The rule that let it pass says which segments are names: those that it writes as `*`.
/// A rule that also looks at header fields or bodies is its own shape, since those are what it is for.
#[must_use]
pub fn shape(method: &Method, uri: &Uri, rule: Option<&Rule>, namespaces: &[Namespace]) -> String {
    if let Some(rule) = rule.filter(|rule| !rule.is_plain()) {
        return rule.identity();
    }
    let is_namespace = |text: &str| namespaces.iter().any(|namespace| namespace.as_str() == text);
    let pattern = rule.map_or("**", Rule::path);
    let mut patterns = pattern.split('/');
    let mut is_open = rule.is_none();
    let mut shape = format!("{method} ");
    if pattern.contains("**") {
        shape.insert(0, OPEN);
    }
    for (index, segment) in uri.path().split('/').enumerate() {
        if index > 0 {
            shape.push('/');
        }
        let pattern = patterns.next().filter(|_| !is_open).unwrap_or("**");
        // From `**` on the rule says nothing about segments.
        is_open = is_open || pattern.contains("**");
        shape.push_str(match segment {
            _ if is_namespace(segment) => "{namespace}",
            _ if is_open || pattern == segment => segment,
            _ if pattern == "*" => "*",
            // `services*` met `services`: the star was not needed.
            _ if pattern.replace('*', "") == segment => segment,
            _ => pattern,
        });
    }
    let names: BTreeMap<&str, bool> =
        parameters(uri.query().unwrap_or_default()).map(|(name, value)| (name, is_namespace(value))).collect();
    for (index, (name, is_namespace)) in names.into_iter().enumerate() {
        shape.push(if index == 0 { '?' } else { '&' });
        shape.push_str(name);
        shape.push_str(if is_namespace { "={namespace}" } else { "=*" });
    }
    shape
}

/// The smallest list of rules for these shapes: shapes of one path become one, whose parameters may be absent
/// where some did not have them, and segments that no rule tells apart and in which many paths differ become `*`.
#[must_use]
pub fn merge(shapes: &BTreeSet<String>) -> BTreeSet<String> {
    let (mut closed, mut open) = (Paths::new(), Paths::new());
    let mut whole = BTreeSet::new();
    for text in shapes {
        // What has more than method and target is a rule with conditions; it stays as it is.
        match text.split_once(' ').filter(|(_, target)| !target.contains(' ')) {
            Some((method, target)) => {
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let segments = path.split('/').map(str::to_owned).collect();
                let query = parameters(query).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let (paths, method) = match method.strip_prefix(OPEN) {
                    Some(method) => (&mut open, method),
                    None => (&mut closed, method),
                };
                paths.entry((method.to_owned(), segments)).or_default().push(query);
            }
            None => drop(whole.insert(text.clone())),
        }
    }
    let longest = open.keys().map(|(_, segments)| segments.len()).max().unwrap_or(0);
    for at in 0..longest {
        open = widen(open, at);
    }
    for (path, queries) in open {
        closed.entry(path).or_default().extend(queries);
    }
    for ((method, segments), queries) in closed {
        whole.insert(format!("{method} {}{}", segments.join("/"), query(&queries)));
    }
    whole
}

/// Makes a segment `*` where at least [`SIBLINGS`] paths differ in nothing else.
fn widen(paths: Paths, at: usize) -> Paths {
    let with_star = |(method, segments): &(String, Vec<String>)| {
        let mut segments = segments.clone();
        if let Some(segment) = segments.get_mut(at).filter(|segment| !segment.is_empty()) {
            "*".clone_into(segment);
        }
        (method.clone(), segments)
    };
    let mut siblings: BTreeMap<_, usize> = BTreeMap::new();
    for path in paths.keys() {
        *siblings.entry(with_star(path)).or_default() += 1;
    }
    let mut widened = Paths::new();
    for (path, queries) in paths {
        let star = with_star(&path);
        let has_many = siblings.get(&star).is_some_and(|count| *count >= SIBLINGS);
        widened.entry(if has_many { star } else { path }).or_default().extend(queries);
    }
    widened
}

/// One query for all: a parameter that only some have may be absent, one with different values may have any.
fn query(queries: &[BTreeMap<String, String>]) -> String {
    let mut all: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for (name, value) in queries.iter().flatten() {
        let known = all.entry(name).or_insert((value, 0));
        known.1 += 1;
        if known.0 != value {
            known.0 = "*";
        }
    }
    let mut text = String::new();
    for (index, (name, (value, count))) in all.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        // `*` may be absent anyway.
        if count < queries.len() && value != "*" {
            text.push('?');
        }
        text.push('=');
        text.push_str(value);
    }
    text
}
