//! The bodies of the fuzz targets in the normal test run: every seed, and random changes of the seeds.
//!
//! The only tests outside `src` that use the library. `cargo xtask fuzz` does the same led by coverage,
//! for as long as one likes; what it finds becomes a seed here.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library where the fuzz targets use it")]
mod bodies;

use std::path::Path;

use proptest::prelude::{ProptestConfig, Strategy, any, prop};
use proptest::test_runner::{TestCaseError, TestRunner};
use wicketgate::name::Digest;
use wicketgate::plugin::envelope::Seal;

/// What stands in the grammars of all targets, and what is in none.
const PIECES: [&str; 24] = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2F",
    "%",
    "\\",
    ";",
    "?",
    "&",
    "=",
    "*",
    "**",
    "{namespace}",
    "[",
    "]",
    "\"",
    "#",
    "\n",
    " ",
    "\0",
    "é",
    "999999999999999999999",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seed for {target}");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A change: what is removed at a place (in fractions of the whole), and what comes there.
fn change() -> impl Strategy<Value = (f64, usize, Vec<u8>)> {
    let put = proptest::prop_oneof![
        prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    (0.0..1.0_f64, 0..6_usize, put)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a short text"
)]
fn changed(seed: &[u8], changes: &[(f64, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (place, removed, put) in changes {
        let begin = (place * bytes.len() as f64) as usize;
        let end = (begin + removed).min(bytes.len());
        bytes.splice(begin..end, put.iter().copied());
    }
    bytes
}

fn drive(target: &str, body: impl Fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        body(seed);
    }
    let input = (prop::sample::select(seeds), prop::collection::vec(change(), 1..6))
        .prop_map(|(seed, changes)| changed(&seed, &changes));
    // What is found becomes a seed with a name, not a line in a file of numbers.
    let config = ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&input, |bytes| {
        body(&bytes);
        Ok::<_, TestCaseError>(())
    });
    outcome.unwrap();
}

#[test]
fn route() {
    drive("route", |input| bodies::route(&String::from_utf8_lossy(input)));
}

#[test]
fn grant() {
    drive("grant", |input| bodies::grant(&String::from_utf8_lossy(input)));
}

#[test]
fn body() {
    drive("body", |input| bodies::body(&String::from_utf8_lossy(input)));
}

#[test]
fn kubeconfig() {
    drive("kubeconfig", |input| bodies::kubeconfig(&String::from_utf8_lossy(input)));
}

#[test]
fn config() {
    drive("config", |input| bodies::config(&String::from_utf8_lossy(input)));
}

#[test]
fn manifest() {
    drive("manifest", bodies::manifest);
}

#[test]
fn lock() {
    drive("lock", |input| bodies::lock(&String::from_utf8_lossy(input)));
}

#[test]
fn signature() {
    drive("signature", |input| bodies::signature(&String::from_utf8_lossy(input)));
}

#[test]
fn envelope() {
    drive("envelope", bodies::envelope);
    // The seed is sealed: without it the body would only ever see what it refuses.
    let seal = Seal { key: &[7; 32], digest: &Digest::of(b"test"), compatibility: [1; 8] };
    assert!(seeds("envelope").iter().any(|seed| seal.open(seed).is_ok()));
}

#[test]
fn records() {
    drive("records", bodies::records);
}

#[test]
fn sigstore() {
    drive("sigstore", |input| bodies::sigstore(&String::from_utf8_lossy(input)));
}

#[test]
fn every_target_is_driven() {
    let here = include_str!("fuzz.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(here.contains(&format!("drive(\"{name}\"")), "{name} is driven by no test");
    }
}
