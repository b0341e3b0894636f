//! Every profile, held to what its name promises, by the cases in `cases.toml`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use toml::{Table, Value};

use super::super::Config;
use super::super::rewrite::{Tightened, rewrite};
use super::*;
use crate::host::grant::Grant;
use crate::host::grant::path::{check_path, check_query};
use crate::name::Namespace;
use crate::trust::used::shape;

const CASES: &str = include_str!("cases.toml");

/// A request of a case: `"METHOD target"`, or a table with fields, a body and what the platform holds.
#[derive(Debug)]
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
    held: Option<String>,
}

impl Asked {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let request = value.as_str().map(str::to_owned).or_else(|| text("request")).unwrap();
        let (method, target) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in value.get("headers").and_then(Value::as_table).into_iter().flatten() {
            headers
                .insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        Self {
            method: method.parse().unwrap(),
            uri: target.parse().unwrap(),
            headers,
            body: text("body").unwrap_or_default(),
            held: text("held"),
        }
    }

    fn passes(&self, rules: &[Rule], namespaces: &[Namespace]) -> bool {
        self.rule(rules, namespaces).is_some()
    }

    /// As the gate decides: the first rule that matches the head and whose body passes.
    fn rule<'r>(&self, rules: &'r [Rule], namespaces: &[Namespace]) -> Option<&'r Rule> {
        let is_safe = check_path(self.uri.path()).is_ok() && check_query(self.uri.query().unwrap_or_default()).is_ok();
        let held = self.held.as_deref().map(str::as_bytes);
        rules
            .iter()
            .filter(|rule| is_safe && rule.matches(&self.method, &self.uri, &self.headers, namespaces))
            .find(|rule| rule.body().is_none_or(|body| body.check(self.body.as_bytes(), held, namespaces).is_ok()))
    }
}

fn requests(table: &Table, key: &str) -> Vec<Asked> {
    table.get(key).and_then(Value::as_array).into_iter().flatten().map(Asked::read).collect()
}

#[test]
fn no_profile_has_a_mistake() {
    for name in names() {
        for is_default in [false, true] {
            let mut profile = Profile::default();
            let problems = add(name, is_default, &mut profile).unwrap();
            assert_eq!(problems, [], "{name}");
            assert!(!profile.rules.is_empty(), "{name}");
        }
    }
    assert!(read("docker-root", false).is_none());
}

#[test]
fn a_profile_passes_what_its_plugin_needs_and_refuses_what_its_name_promises() {
    let cases: Table = CASES.parse().unwrap();
    let namespaces = ["fns".parse::<Namespace>().unwrap()];
    for name in names() {
        let case = cases.get(name).and_then(Value::as_table).unwrap_or_else(|| panic!("{name} has no cases"));
        let rules = read(name, false).unwrap().rules;
        let (allowed, refused) = (requests(case, "allowed"), requests(case, "refused"));
        assert!(allowed.len() >= 3 && refused.len() >= 3, "{name} has too few cases");
        for asked in allowed {
            assert!(asked.passes(&rules, &namespaces), "{name} should pass {asked:?}");
        }
        for asked in refused {
            assert!(!asked.passes(&rules, &namespaces), "{name} should refuse {asked:?}");
        }
    }
    assert_eq!(cases.len(), names().len() + 1, "cases for a profile that is not there");
}

#[test]
fn a_full_profile_passes_what_its_scale_only_sister_passes() {
    let cases: Table = CASES.parse().unwrap();
    let namespaces = ["fns".parse::<Namespace>().unwrap()];
    for name in names().into_iter().filter(|name| name.ends_with("-scale-only")) {
        let full = name.strip_suffix("-scale-only").unwrap();
        for is_default in [false, true] {
            let rules = read(full, is_default).unwrap().rules;
            for asked in requests(cases[name].as_table().unwrap(), "allowed") {
                assert!(asked.passes(&rules, &namespaces), "{full} should pass {asked:?}");
            }
        }
    }
}

#[test]
fn no_scale_only_profile_reads_secrets_makes_anything_or_enters_it() {
    let cases: Table = CASES.parse().unwrap();
    let namespaces = ["fns".parse::<Namespace>().unwrap()];
    let never = requests(cases["never-scale-only"].as_table().unwrap(), "refused");
    assert!(never.len() > 60);
    for name in names().into_iter().filter(|name| name.ends_with("-scale-only")) {
        for is_default in [false, true] {
            let rules = read(name, is_default).unwrap().rules;
            for asked in &never {
                assert!(!asked.passes(&rules, &namespaces), "{name} should refuse {asked:?}");
            }
        }
    }
}

#[test]
fn only_get_and_what_says_so_is_open_to_a_plugin_that_is_not_published() {
    for name in names() {
        for rule in read(name, true).unwrap().rules {
            let shown = rule.to_string();
            let is_get = shown.starts_with("GET ") || shown.starts_with("HEAD ");
            let is_query = ["Describe", "List"].iter().any(|verb| shown.contains(&format!("V20141113.{verb}")));
            let reads = rule.effect() == crate::host::grant::Effect::Read;
            assert_eq!(reads, is_get || is_query, "{name}: {shown}");
        }
    }
}

/// A text with something else at one place.
fn replaced(text: &str, at: usize, old: &str, new: &str) -> String {
    let (before, rest) = text.split_at(at);
    format!("{before}{new}{}", rest.strip_prefix(old).unwrap())
}

/// Requests that act on a foreign namespace, made out of those that pass: with another name wherever the own one
/// stands, one place at a time, and with the namespace left out of the query.
#[test]
fn a_provider_with_namespaces_of_its_own_reaches_no_others() {
    let cases: Table = CASES.parse().unwrap();
    let namespaces = ["fns".parse::<Namespace>().unwrap()];
    let mut changed = 0;
    for name in [
        "faas-provider-scale-only",
        "faas-provider",
        "kubernetes-scale-only",
        "kubernetes",
        "nomad-scale-only",
        "nomad",
    ] {
        let rules = read(name, false).unwrap().rules;
        for asked in requests(cases[name].as_table().unwrap(), "allowed") {
            let target = asked.uri.to_string();
            let with = |target: &str, body: &str| Asked {
                method: asked.method.clone(),
                uri: target.parse().unwrap(),
                headers: asked.headers.clone(),
                body: body.to_owned(),
                held: None,
            };
            let mut foreign: Vec<Asked> = target
                .match_indices("fns")
                .map(|(at, own)| with(&replaced(&target, at, own, "prod"), &asked.body))
                .collect();
            foreign.extend(
                asked
                    .body
                    .match_indices("\"fns\"")
                    .map(|(at, own)| with(&target, &replaced(&asked.body, at, own, "\"prod\""))),
            );
            if target.contains("namespace=fns") {
                foreign.push(with(&target.replace("namespace=fns", ""), &asked.body));
            }
            changed += foreign.len();
            for asked in foreign {
                assert!(!asked.passes(&rules, &namespaces), "{name} should refuse {asked:?}");
            }
        }
    }
    assert!(changed > 60, "{changed}");
}

/// A configuration with one grant.
fn configuration(profile: &str) -> String {
    format!(
        "[provider.edge]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"fns\"]\n\
         [provider.edge.grant.api]\nconnect = \"http://127.0.0.1:1\"\nprofile = \"{profile}\"\n"
    )
}

/// The rules of that grant after the file was tightened to some requests.
fn tightened(profile: &str, rules: &[Rule], asked: &[&Asked], namespaces: &[Namespace]) -> Vec<Rule> {
    let uses =
        asked.iter().map(|asked| shape(&asked.method, &asked.uri, asked.rule(rules, namespaces), namespaces)).collect();
    let grant = Grant { rules: rules.to_vec(), ..Grant::new("http://127.0.0.1:1".parse().unwrap()) };
    let tightened = Tightened::of(&grant, &uses);
    assert_eq!(tightened.gone, Vec::<String>::new(), "{profile}");
    let changes = [("api".to_owned(), tightened)].into();
    let text = rewrite(&configuration(profile), &"edge".parse().unwrap(), &changes).unwrap();
    let config = Config::from_toml(&text, "test", Path::new("/"), &["faas-provider"]).unwrap();
    config.providers[0].grants["api"].rules.clone()
}

#[test]
fn what_tighten_writes_lets_the_recorded_use_pass_and_nothing_of_another_path() {
    let cases: Table = CASES.parse().unwrap();
    let namespaces = ["fns".parse::<Namespace>().unwrap()];
    let never = requests(cases["never-scale-only"].as_table().unwrap(), "refused");
    for name in names() {
        let case = cases[name].as_table().unwrap();
        let (allowed, refused) = (requests(case, "allowed"), requests(case, "refused"));
        let rules = read(name, false).unwrap().rules;
        let all = tightened(name, &rules, &allowed.iter().collect::<Vec<_>>(), &namespaces);
        for asked in &allowed {
            assert!(asked.passes(&all, &namespaces), "{name} tightened to all should pass {asked:?}");
        }
        for asked in refused.iter().chain(&never).filter(|asked| !asked.passes(&rules, &namespaces)) {
            assert!(!asked.passes(&all, &namespaces), "{name} tightened to all should refuse {asked:?}");
        }
        for used in &allowed {
            let one = tightened(name, &rules, &[used], &namespaces);
            assert_eq!(one.len(), 1, "{name}: {one:?}");
            assert!(used.passes(&one, &namespaces), "{name} tightened to it should pass {used:?}");
            let decided = used.rule(&rules, &namespaces).map(Rule::identity);
            for other in allowed.iter().chain(&refused).chain(&never) {
                let is_same_rule = other.rule(&rules, &namespaces).map(Rule::identity) == decided;
                assert!(
                    is_same_rule || !other.passes(&one, &namespaces),
                    "{name} tightened to {used:?} should refuse {other:?}"
                );
            }
        }
    }
}
