//! Two answers about one function, field by field.

use std::collections::BTreeSet;

use super::super::record::Known;
use super::report::{Difference, shown};
use crate::name::FunctionRef;
use crate::provider::SwapConfig;
use crate::query::{Pairs, QueryError, ServiceStatus};

/// Differences of one function that are named.
const PER_FUNCTION_MAX: usize = 32;

/// Where the candidate's answer is not what the active generation's was. The version is not compared:
/// it is a word between a plugin and its platform.
pub(super) fn differences(
    function: &FunctionRef,
    old: &Known,
    new: &Result<ServiceStatus, QueryError>,
    config: &SwapConfig,
) -> Vec<Difference> {
    let one = |field: &str, old: String, new: String| Difference {
        function: function.clone(),
        field: field.to_owned(),
        old,
        new,
    };
    let (old, new) = match (old, new) {
        (Known::Status(old), Ok(new)) => (old, new),
        (Known::NotFound, Ok(new)) => {
            return vec![one("answer", "not found".into(), format!("{} replicas", new.replicas))];
        }
        (Known::NotFound, Err(error)) if error.is_not_found() => return Vec::new(),
        (Known::Status(old), Err(error)) => {
            return vec![Difference::failed(function.clone(), &format!("{} replicas", old.replicas), error)];
        }
        (Known::NotFound, Err(error)) => return vec![Difference::failed(function.clone(), "not found", error)],
    };
    let mut found = Vec::new();
    for (field, old, new) in [
        ("replicas", old.replicas, new.replicas),
        ("available-replicas", old.available_replicas, new.available_replicas),
    ] {
        if old.abs_diff(new) > config.tolerance && config.compares(field) {
            found.push(one(field, old.to_string(), new.to_string()));
        }
    }
    for (field, old, new) in [
        ("min-replicas", old.min_replicas, new.min_replicas),
        ("max-replicas", old.max_replicas, new.max_replicas),
        ("scaling-factor", old.scaling_factor.map(u64::from), new.scaling_factor.map(u64::from)),
    ] {
        if old != new && config.compares(field) {
            let text = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
            found.push(one(field, text(old), text(new)));
        }
    }
    for (table, old, new) in [("labels", &old.labels, &new.labels), ("annotations", &old.annotations, &new.annotations)]
    {
        for (key, old, new) in different_pairs(old, new) {
            let field = format!("{table}.{key}");
            if config.compares(&field) {
                found.push(one(&field.escape_debug().to_string(), old, new));
            }
        }
    }
    // One function is not the whole report.
    found.truncate(PER_FUNCTION_MAX);
    found
}

fn different_pairs<'a>(old: &'a Pairs, new: &'a Pairs) -> Vec<(&'a str, String, String)> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |value: Option<&String>| value.map_or("none".to_owned(), |value| shown(value));
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| (key.as_str(), text(old.get(key)), text(new.get(key))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::ErrorKind;

    fn fields(old: ServiceStatus, new: ServiceStatus, config: &SwapConfig) -> Vec<String> {
        let function = FunctionRef { name: "figlet".parse().unwrap(), namespace: "dev".parse().unwrap() };
        let found = differences(&function, &Known::Status(Box::new(old)), &Ok(new), config);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_is_named_with_both_values() {
        let pairs = |key: &str, value: &str| Pairs::from([(key.to_owned(), value.to_owned())]);
        let old = ServiceStatus { replicas: 2, min_replicas: Some(1), labels: pairs("a", "1"), ..Default::default() };
        let new = ServiceStatus {
            replicas: 5,
            scaling_factor: Some(10),
            labels: pairs("a", "2\n"),
            annotations: pairs("b", "x"),
            version: Some("other".into()),
            ..Default::default()
        };
        assert_eq!(
            fields(old.clone(), new.clone(), &SwapConfig::default()),
            [
                "figlet.dev: replicas: was 2, is 5",
                "figlet.dev: min-replicas: was 1, is none",
                "figlet.dev: scaling-factor: was none, is 10",
                r#"figlet.dev: labels.a: was "1", is "2\n""#,
                r#"figlet.dev: annotations.b: was none, is "x""#,
            ]
        );
        let ignore = ["labels.a", "annotations", "min-replicas", "scaling-factor"].map(str::to_owned).to_vec();
        let lenient = SwapConfig { tolerance: 3, ignore, ..SwapConfig::default() };
        assert_eq!(fields(old, new, &lenient), [""; 0]);
    }

    #[test]
    fn to_exist_or_not_is_a_difference_and_so_is_an_error() {
        let function = FunctionRef { name: "figlet".parse().unwrap(), namespace: "dev".parse().unwrap() };
        let config = SwapConfig::default();
        let not_found = || Err(QueryError::platform(ErrorKind::NotFound, "no"));
        assert_eq!(differences(&function, &Known::NotFound, &not_found(), &config), []);
        let status = || Known::Status(Box::default());
        for (old, new) in [
            (Known::NotFound, Ok(ServiceStatus::default())),
            (status(), not_found()),
            (status(), Err(QueryError::platform(ErrorKind::Unavailable, "down"))),
            (Known::NotFound, Err(QueryError::platform(ErrorKind::Internal, "odd"))),
        ] {
            assert_eq!(differences(&function, &old, &new, &config)[0].field, "answer");
        }
    }
}
