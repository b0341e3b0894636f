//! `docs/metrics.md` against what a gateway exposes: every name, type and label, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use crate::harness::{self, Gateway, GatewayBuilder, Platform, faas_provider, variant_of, wait_until};
use crate::plugins::fixtures;

/// The type and the labels of each family.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// What the tables of the document say.
fn documented() -> Families {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let families: Families = rows
        .iter()
        .map(|cells| {
            let [name, kind, labels, what] = cells[..] else { panic!("not a row: {cells:?}") };
            assert!(!what.is_empty(), "{name} says nothing");
            let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels))
        })
        .collect();
    assert!(families.len() > 50 && families.len() == rows.len(), "{} of {} rows", families.len(), rows.len());
    families
}

/// The labels of a series, but for the bounds of a histogram's buckets, and the name before them.
fn series(line: &str) -> (&str, BTreeSet<String>) {
    let (series, _value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
    (name, labels.filter(|label| label != "le").collect())
}

/// What a gateway exposes now.
fn exposed(gateway: &Gateway) -> Families {
    let text = gateway.metrics("/metrics").text();
    let mut families = Families::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = series(line);
        let of_histogram = || ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = if families.contains_key(name) { name } else { of_histogram().unwrap() };
        families.get_mut(name).unwrap().1.extend(labels);
    }
    families
}

/// Whether a family with labels has a series.
fn is_counted(gateway: &Gateway, name: &str) -> bool {
    gateway.metrics("/metrics").text().contains(&format!("{name}{{"))
}

/// A gateway to which everything can happen that is counted: a provider that scales, one that breaks its budget, and
/// one whose requests and watch are denied.
fn start(platform: &Platform) -> Gateway {
    let tables = "[provider.platform.swap]\nshadow = 0\n\
                  [provider.platform.limits]\ndrain-timeout = \"0s\"\ncall-timeout = \"5m\"\n\
                  [provider.loops]\ncomponent = \"loops.wasm\"\nnamespaces = [\"loops\"]\n\
                  [provider.loops.limits]\ncpu-time = \"50ms\"\n\
                  [provider.asks]\ncomponent = \"asks.wasm\"\nnamespaces = [\"asks\"]\n\
                  [provider.asks.grant.platform]\nconnect = \"http://127.0.0.1:1\"\nallow = [\"GET /nothing\"]\n";
    let config = format!("[reload]\nwatch = false\n[scaling]\nwaiting = 1\n{}", faas_provider(platform, "", tables));
    GatewayBuilder::new(&config)
        .file("loops.wasm", fixtures::component("endless-loop"))
        .file("asks.wasm", harness::guest("fetch"))
        .start()
}

/// Lets a question hang: a second caller finds the queue full, and another generation cuts what still runs.
fn crowd_and_swap(platform: &Platform, gateway: &Gateway) {
    platform.function(json!({ "name": "slow", "replicas": 1 }));
    let status = "/system/function/slow";
    platform.rule(json!({ "method": "GET", "path": status, "then": "hang", "times": 1 }));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/function/slow"));
        wait_until("the question hangs", || platform.count("GET", status) == 1);
        assert_eq!(gateway.get("/function/slow").code(503), "too_many_waiting");
        let variant = variant_of("faas-provider", 1);
        let headers = [("content-type", "application/wasm")];
        let change = gateway.admin_send("PUT", "/providers/platform", &headers, &variant).json();
        assert_eq!(change["outcome"], "published", "{change}");
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let gateway = start(&platform);
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(gateway.get("/function/figlet.loops").status, 502);
    crowd_and_swap(&platform, &gateway);
    wait_until("what is known was refreshed", || {
        gateway.get("/function/figlet");
        is_counted(&gateway, "wicketgate_refreshes_total")
    });
    for name in ["wicketgate_watch_calls_total", "wicketgate_plugin_drain_overdue_total"] {
        wait_until(name, || is_counted(&gateway, name));
    }
    let (documented, exposed) = (documented(), exposed(&gateway));
    let differs = |one: &Families, other: &Families| -> Vec<String> {
        let of_one = one.iter().filter(|(name, family)| other.get(*name) != Some(family));
        of_one.map(|(name, (kind, labels))| format!("{name} {kind} {labels:?}")).collect()
    };
    let (only_said, only_shown) = (differs(&documented, &exposed), differs(&exposed, &documented));
    assert!(
        only_said.is_empty() && only_shown.is_empty(),
        "docs/metrics.md says\n  {}\nand a gateway exposes\n  {}",
        only_said.join("\n  "),
        only_shown.join("\n  ")
    );
}

#[test]
fn what_calls_send_and_receive_is_counted_in_bytes() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let gateway = harness::gateway(&platform, "");
    let used = |what: &str| gateway.metric(&format!("wicketgate_plugin_{what}_total{{provider=\"platform\"}}"));
    let before = [used("requests"), used("request_bytes"), used("response_bytes")];
    assert_eq!(gateway.get("/function/figlet").status, 200);
    let scale: usize = platform
        .log()
        .iter()
        .filter(|seen| seen.line() == "POST /system/scale-function/figlet")
        .map(|seen| seen.text("body").len())
        .sum();
    assert!(scale > 0 && used("requests") > before[0] && used("response_bytes") > before[2]);
    assert_eq!((used("request_bytes") - before[1]).to_string(), scale.to_string());
}
