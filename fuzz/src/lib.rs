//! What the fuzz targets do with their input, as plain functions: `cargo xtask fuzz` drives them by
//! coverage, and the tests (`tests/fuzz.rs`) with the seeds and random changes of them.
//!
//! Each reads what comes from outside, must not panic, and holds what it was given to a property.

use std::path::Path;
use std::time::SystemTime;

use http::{HeaderMap, Method, Uri};
use wicketgate::config::Config;
use wicketgate::host::grant::kubeconfig::Context;
use wicketgate::host::grant::path::{check_path, climbs};
use wicketgate::host::grant::{BodyRule, BodySpec, Connect, Rule};
use wicketgate::name::{Digest, FunctionRef, Namespace};
use wicketgate::plugin::envelope::Seal;
use wicketgate::plugin::{Manifest, records};
use wicketgate::router::{self, Route};
use wicketgate::trust::lock::{Lock, LockFileError};
use wicketgate::trust::signature::sigstore::Root;
use wicketgate::trust::signature::{Days, MinisignKey, SignaturePolicy, TrustedKey};

/// The path of a request, as a client sends it.
pub fn route(path: &str) {
    match router::route(path) {
        Route::Moved(to) => {
            assert!(!matches!(router::route(&to), Route::Moved(_)), "{path:?} moves to {to:?}, which moves again");
        }
        Route::Function { name, rest } => {
            assert!(rest.is_empty() || rest.starts_with('/'), "{path:?}: {rest:?} follows the name");
            assert!(!climbs(path), "{path:?} may leave its function");
            function(&name);
        }
        Route::Admin | Route::Refused(_) => {}
    }
}

fn function(name: &str) {
    let Ok(default) = "openfaas-fn".parse::<Namespace>() else { return };
    if let Ok(function) = router::function(name, &default) {
        // What is shown names the same function again.
        assert_eq!(FunctionRef::parse(&function.to_string(), &default).as_ref(), Ok(&function));
    }
}

/// A rule of a grant, where the grant leads, and the target of a request under it: a line each.
pub fn grant(lines: &str) {
    let mut lines = lines.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (rule, connect, target) = (next(), next(), next());
    if let Ok(connect) = connect.parse::<Connect>() {
        assert_eq!(connect.to_string().parse::<Connect>().as_ref(), Ok(&connect));
    }
    if check_path(target).is_ok() {
        assert!(!climbs(target), "{target:?} passed, and climbs");
    }
    if let Ok(rule) = rule.parse::<Rule>() {
        assert_eq!(rule.to_string().parse::<Rule>().as_ref(), Ok(&rule), "shown as {rule}");
        if let Ok(uri) = target.parse::<Uri>() {
            let _matches = rule.matches(&Method::GET, &uri, &HeaderMap::new(), &[]);
        }
    }
}

/// What a rule demands of a body (a line each: `only`, `forbid`, `unchanged`), and a body.
pub fn body(lines: &str) {
    let mut lines = lines.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (only, forbid, unchanged, body) = (next(), next(), next(), next());
    let places = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let forbids = BodySpec { forbid: places(forbid), ..BodySpec::default() };
    let both = BodySpec { only: places(only), unchanged: Some(unchanged.to_owned()), ..forbids.clone() };
    let (Ok(forbids), Ok(both)) = (BodyRule::from_spec(&forbids), BodyRule::from_spec(&both)) else { return };
    if both.check(body.as_bytes(), Some(body.as_bytes()), &[]).is_ok() {
        assert_eq!(forbids.check(body.as_bytes(), None, &[]), Ok(()), "more demands pass what fewer refuse");
    }
}

/// A kubeconfig file.
pub fn kubeconfig(text: &str) {
    if let Err(error) = Context::read(text.as_bytes(), None, Path::new("/")) {
        assert!(!error.to_string().is_empty());
    }
}

/// A configuration file. Whatever is wrong with it is said, and each mistake says something.
pub fn config(text: &str) {
    if let Err(error) = Config::from_toml(text, "fuzz", Path::new("/"), &["local", "faas-provider"]) {
        assert!(!error.to_string().trim().is_empty());
    }
}

/// A lock file: what was read is written so that it reads the same, and a mistake says something.
pub fn lock(text: &str) {
    match Lock::parse(text) {
        Ok(lock) => {
            let again = lock.text().and_then(|text| Lock::parse(&text));
            assert!(again.is_ok_and(|again| again == lock), "{text:?} is written as something else");
        }
        Err(LockFileError::Form(message)) => assert!(!message.trim().is_empty()),
        Err(LockFileError::Io(_) | LockFileError::TooLarge | LockFileError::Version(_)) => {}
    }
}

/// A public key's line, and below it a signature. Only the signature of the seed is one of these bytes.
pub fn signature(lines: &str) {
    let (key, text) = lines.split_once('\n').unwrap_or((lines, ""));
    let Ok(key) = key.parse::<MinisignKey>() else { return };
    let key = TrustedKey { name: "k".to_owned(), key, days: Days::default() };
    let policy = SignaturePolicy { require: true, keys: vec![key], ..SignaturePolicy::default() };
    let check = |bytes: &[u8]| policy.check_minisign(text, bytes, SystemTime::UNIX_EPOCH, "k.minisig");
    assert!(check(b"other bytes").is_err(), "one signature fits two files");
    if let Err(error) = check(b"test") {
        assert!(!error.to_string().is_empty());
    }
}

/// A trusted root in a line, and below it a bundle. Only the bundle of the seed is one of these bytes.
pub fn sigstore(lines: &str) {
    let (root, bundle) = lines.split_once('\n').unwrap_or((lines, ""));
    let root = match Root::parse(root) {
        Ok(root) => root,
        Err(error) => return assert!(!error.is_empty()),
    };
    assert!(root.prove(bundle, b"other bytes").is_err(), "one bundle fits two files");
    match root.prove(bundle, b"test content for cosign\n") {
        Ok(proven) => assert!(!proven.identity.is_empty() && !proven.times.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a component says of itself, before anything of it runs.
pub fn manifest(component: &[u8]) {
    if let Err(error) = Manifest::read(component) {
        assert!(!error.to_string().is_empty());
    }
}

/// A file of machine code. Only the seed is one that this key has sealed.
pub fn envelope(file: &[u8]) {
    let digest = Digest::of(b"test");
    let seal = Seal { key: &[7; 32], digest: &digest, compatibility: [1; 8] };
    match seal.open(file) {
        Ok(code) => {
            assert_eq!([seal.of(code).as_slice(), code].concat(), file, "opened, and sealed as something else");
            let others = [
                Seal { key: &[8; 32], ..seal },
                Seal { digest: &Digest::of(b"other"), ..seal },
                Seal { compatibility: [2; 8], ..seal },
            ];
            assert!(others.iter().all(|other| other.open(file).is_err()), "one seal fits two");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Whatever a guest answers, read as one of its records.
pub fn records(bytes: &[u8]) {
    records::convert(bytes);
}
