use http::{HeaderMap, Method, Uri};
use proptest::prelude::*;

use super::*;

fn namespaces() -> Vec<Namespace> {
    vec!["dev".parse().unwrap(), "prod".parse().unwrap()]
}

fn of(target: &str, rule: Option<&str>) -> String {
    let rule: Option<Rule> = rule.map(|rule| rule.parse().unwrap());
    shape(&Method::GET, &target.parse::<Uri>().unwrap(), rule.as_ref(), &namespaces())
}

#[test]
fn names_become_stars_and_namespaces_say_so() {
    for (target, rule, expected) in [
        ("/apps/figlet", Some("GET /apps/*"), "GET /apps/*"),
        ("/ns/dev/apps/figlet", Some("GET /ns/*/apps/*"), "GET /ns/{namespace}/apps/*"),
        ("/services", Some("GET /services*"), "GET /services"),
        ("/services-x", Some("GET /services*"), "GET /services*"),
        ("/a/b/c", Some("GET /a/**"), "?GET /a/b/c"),
        ("/a/b", None, "?GET /a/b"),
        ("/f?namespace=dev&usage=1", Some("GET /f?namespace=*&usage=*"), "GET /f?namespace={namespace}&usage=*"),
        ("/f?token=secret", None, "?GET /f?token=*"),
        ("/", Some("GET /"), "GET /"),
    ] {
        assert_eq!(of(target, rule), expected, "{target} {rule:?}");
    }
}

fn merged(shapes: &[&str]) -> Vec<String> {
    merge(&shapes.iter().map(|shape| (*shape).to_owned()).collect()).into_iter().collect()
}

#[test]
fn shapes_of_one_path_are_one_rule() {
    assert_eq!(
        merged(&["GET /f?namespace={namespace}", "GET /f", "GET /f?usage=*", "GET /g", "POST /f"]),
        ["GET /f?namespace?={namespace}&usage=*", "GET /g", "POST /f"]
    );
    assert_eq!(merged(&["GET /a/one", "GET /a/two"]), ["GET /a/one", "GET /a/two"]);
    // Where a rule tells segments apart they are not names.
    assert_eq!(merged(&["GET /a/1", "GET /a/2", "GET /a/3", "GET /a/4"]).len(), 4);
    assert_eq!(
        merged(&["?GET /a/1/x", "?GET /a/2/x", "?GET /a/3/x", "?GET /a/4/x", "?GET /a/1/y", "?GET /a"]),
        ["GET /a", "GET /a/*/x", "GET /a/1/y"]
    );
    assert_eq!(merged(&["?GET /a", "GET /a?b=*"]), ["GET /a?b=*"]);
    assert_eq!(merged(&["POST / x-amz-target: *.Describe (read)"]), ["POST / x-amz-target: *.Describe (read)"]);
    assert_eq!(merged(&[]), Vec::<String>::new());
}

#[test]
fn what_is_used_outlives_a_restart_and_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let provider: ProviderName = "edge".parse().unwrap();
    let recorder = Use::new(folder.path()).of(&provider);
    let note = |recorder: &Arc<Recorder>, target: &str| {
        recorder.note("api", &Method::GET, &target.parse().unwrap(), None, &namespaces());
    };
    for number in 0..SHAPES_MAX + 10 {
        note(&recorder, &format!("/{number}"));
        note(&recorder, &format!("/{number}"));
    }
    note(&recorder, &format!("/{}", "x".repeat(SHAPE_MAX_BYTES)));
    let again = Use::new(folder.path()).of(&provider);
    assert_eq!(again.shapes().get("api").map(BTreeSet::len), Some(SHAPES_MAX));
    assert_eq!(again.shapes(), recorder.shapes());
    // A file that nobody wrote is no reason to stop.
    std::fs::write(file(folder.path(), &provider), "hello").unwrap();
    assert_eq!(Use::new(folder.path()).of(&provider).shapes(), Shapes::new());
}

proptest! {
    #[test]
    fn a_tightened_rule_lets_every_recorded_request_pass(
        targets in proptest::collection::vec("(/(apps|ns|dev|[a-z]{1,3})){1,4}(\\?(a|namespace)=(dev|[a-z]{0,3}))?", 1..12),
    ) {
        let shapes = targets.iter().map(|target| of(target, None)).collect();
        let rules: Vec<Rule> = merge(&shapes).iter().map(|rule| rule.parse().unwrap()).collect();
        for target in &targets {
            let uri: Uri = target.parse().unwrap();
            let passes = rules.iter().any(|rule| rule.matches(&Method::GET, &uri, &HeaderMap::new(), &namespaces()));
            prop_assert!(passes, "{} by {:?}", target, rules);
        }
    }
}
