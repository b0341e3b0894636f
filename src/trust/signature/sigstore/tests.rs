use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[path = "../../../../tests/it/sigstore.rs"]
mod miniature;

use miniature::{IDENTITY, ISSUER, SIGNED_AT, Sigstore, Wish};

const BYTES: &[u8] = b"\0asm the bytes of a component";

/// A folder with the trusted root of a sigstore, and somebody who is trusted under it.
fn trusted(sigstore: &Sigstore, folder: &Path, name: &str, identity: &str) -> TrustedIdentity {
    let root = folder.join("trusted_root.json");
    std::fs::write(&root, sigstore.root()).unwrap();
    let identity = Pattern::path(identity).unwrap();
    TrustedIdentity { name: name.into(), root, identity, issuer: ISSUER.into(), days: Days::default() }
}

fn said(checked: Result<Signer, SignatureError>) -> String {
    match checked {
        Ok(signer) => format!("{}: {}", signer.key, signer.comment),
        Err(error) => super::super::chain(&error),
    }
}

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

#[test]
fn a_bundle_names_whom_the_operator_trusts() {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    let bundle = sigstore.bundle(BYTES, &Wish::default()).to_string();
    let of = |name, identity| trusted(&sigstore, folder.path(), name, identity);
    let everybody =
        [of("beta", "https://code.test/beta/**"), of("acme", "https://code.test/acme/plugin/**@refs/tags/*")];
    assert_eq!(said(check(&everybody, &bundle, BYTES, "b")), format!("acme: {IDENTITY} ({ISSUER})"));
    // Exactly; a star within a part of the path; another one; another's word for it.
    let mut exact = of("acme", IDENTITY);
    assert!(check(&[exact.clone()], &bundle, BYTES, "b").is_ok());
    exact.issuer = "https://accounts.test".into();
    for (trusted, expected) in [
        (of("acme", "https://code.test/acme/*@refs/tags/*"), "it names acme"),
        (of("beta", "https://code.test/beta/plugin/**"), IDENTITY),
        (exact, ISSUER),
    ] {
        let text = said(check(&[trusted], &bundle, BYTES, "b"));
        assert!(text.contains("does not name them") && text.contains(expected), "{text}");
    }
}

/// Something is wrong with a bundle, and what is said of it.
type Wrong = (&'static str, fn(&mut Value), &'static str);

#[test]
fn every_part_of_a_bundle_counts() {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    let acme = [trusted(&sigstore, folder.path(), "acme", IDENTITY)];
    let good = sigstore.bundle(BYTES, &Wish::default());
    let other = sigstore.bundle(b"other bytes", &Wish::default());
    assert!(check(&acme, &good.to_string(), BYTES, "b").is_ok());
    let text = said(check(&acme, &good.to_string(), b"other bytes", "b"));
    assert!(text.contains("the bundle b proves nothing") && text.contains("digest"), "{text}");

    fn entry(bundle: &mut Value) -> &mut Value {
        &mut bundle["verificationMaterial"]["tlogEntries"][0]
    }
    let wrong: [Wrong; 8] = [
        ("no entry", |b| b["verificationMaterial"]["tlogEntries"] = json!([]), "proof"),
        ("no proof", |b| drop(entry(b).as_object_mut().unwrap().remove("inclusionProof")), "proof"),
        ("no promise", |b| drop(entry(b).as_object_mut().unwrap().remove("inclusionPromise")), "No verified timestamp"),
        ("another time", |b| entry(b)["integratedTime"] = json!((SIGNED_AT + 6).to_string()), "SET"),
        ("another log", |b| entry(b)["logId"]["keyId"] = json!(base64_of([7; 32])), "log"),
        ("another tree", |b| entry(b)["inclusionProof"]["hashes"][0] = json!(base64_of([7; 32])), "inclusion proof"),
        (
            "another head",
            |b| entry(b)["inclusionProof"]["checkpoint"]["envelope"] = json!("log.test - 1\n2\n"),
            "heckpoint",
        ),
        ("no certificate", |b| b["verificationMaterial"]["certificate"] = json!({ "rawBytes": "" }), "certificate"),
    ];
    for (name, spoil, expected) in wrong {
        let mut bundle = good.clone();
        spoil(&mut bundle);
        let text = said(check(&acme, &bundle.to_string(), BYTES, "b"));
        assert!(text.contains("proves nothing") && text.contains(expected), "{name}: {text}");
    }
    // Parts of another bundle, each of which is right in its place.
    for part in ["/messageSignature", "/verificationMaterial/certificate", "/verificationMaterial/tlogEntries/0"] {
        let mut bundle = good.clone();
        *bundle.pointer_mut(part).unwrap() = other.pointer(part).unwrap().clone();
        let text = said(check(&acme, &bundle.to_string(), BYTES, "b"));
        assert!(text.contains("proves nothing"), "{part}: {text}");
    }
    // The body of the entry with another signature: it is not what the log signed.
    let mut bundle = good.clone();
    entry(&mut bundle)["canonicalizedBody"] =
        other["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"].clone();
    assert!(said(check(&acme, &bundle.to_string(), BYTES, "b")).contains("proves nothing"));
}

fn base64_of(bytes: [u8; 32]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn the_certificate_has_to_be_right_when_it_was_used() {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    let acme = [trusted(&sigstore, folder.path(), "acme", IDENTITY)];
    let of = |wish: Wish| said(check(&acme, &sigstore.bundle(BYTES, &wish).to_string(), BYTES, "b"));
    for (wish, expected) in [
        (Wish { logged_at: SIGNED_AT + 601, ..Wish::default() }, "xpired"),
        (Wish { logged_at: SIGNED_AT - 1, ..Wish::default() }, "alid"),
        (Wish { is_for_code: false, ..Wish::default() }, "certificate chain"),
        (Wish { has_sct: false, ..Wish::default() }, "SCT"),
        (Wish { identity: "https://code.test/mallory/plugin", ..Wish::default() }, "mallory"),
    ] {
        let text = of(wish);
        assert!(!text.starts_with("acme:") && text.contains(expected), "{expected}: {text}");
    }
    // Another authority under the same names.
    let theirs = Sigstore::new().bundle(BYTES, &Wish::default()).to_string();
    assert!(said(check(&acme, &theirs, BYTES, "b")).contains("proves nothing"));
    // Without a log of certificates in the root nobody can say whether it knows one.
    let mut root: Value = serde_json::from_str(&sigstore.root()).unwrap();
    root["ctlogs"] = json!([]);
    std::fs::write(&acme[0].root, root.to_string()).unwrap();
    assert!(of(Wish { has_sct: false, ..Wish::default() }).starts_with("acme:"));
}

#[test]
fn an_identity_counts_for_what_was_signed_within_its_days() {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    let bundle = sigstore.bundle(BYTES, &Wish::default()).to_string();
    let of = |name: &str, not_before: Option<i64>, not_after: Option<i64>| TrustedIdentity {
        days: Days { not_before: not_before.map(at), not_after: not_after.map(at) },
        ..trusted(&sigstore, folder.path(), name, IDENTITY)
    };
    let (before, after) = (SIGNED_AT, SIGNED_AT + 100);
    let text = said(check(&[of("old", None, Some(before))], &bundle, BYTES, "b"));
    assert!(text.contains("key old, which counts no more"), "{text}");
    let text = said(check(&[of("new", Some(after), None)], &bundle, BYTES, "b"));
    assert!(text.contains("key new, which counts only from"), "{text}");
    // Both are named while one takes over from the other; another root beside them disturbs nobody.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = trusted(&Sigstore::new(), elsewhere.path(), "stranger", IDENTITY);
    let all = [stranger, of("old", None, Some(before)), of("new", Some(before), Some(after))];
    assert!(said(check(&all, &bundle, BYTES, "b")).starts_with("new:"));
    let text = said(check(&all[..2], &bundle, BYTES, "b"));
    assert!(text.contains("key old"), "{text}");
}

#[test]
fn a_root_that_cannot_be_used_is_told() {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    let acme = [trusted(&sigstore, folder.path(), "acme", IDENTITY)];
    let bundle = sigstore.bundle(BYTES, &Wish::default()).to_string();
    let mut without_log: Value = serde_json::from_str(&sigstore.root()).unwrap();
    without_log["tlogs"] = json!([]);
    for (text, expected) in [
        ("hello".to_owned(), "expected value"),
        ("x".repeat(2 << 20), "has more than 1048576 bytes"),
        (without_log.to_string(), "it has no tlogs"),
    ] {
        std::fs::write(&acme[0].root, text).unwrap();
        let text = said(check(&acme, &bundle, BYTES, "b"));
        assert!(text.contains("trusted_root.json cannot be used") && text.contains(expected), "{text}");
    }
    std::fs::remove_file(&acme[0].root).unwrap();
    assert!(said(check(&acme, &bundle, BYTES, "b")).contains("cannot be used"));
}

/// The public sigstore's root, and a bundle that `cosign` made with it.
#[test]
fn the_public_sigstore_is_read() {
    let root = Root::parse(sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    let (bundle, bytes) = (
        include_str!("../../../../tests/data/sigstore/blob.txt.sigstore.json"),
        include_bytes!("../../../../tests/data/sigstore/blob.txt"),
    );
    let proven = root.prove(bundle, bytes).unwrap();
    assert!(proven.issuer.starts_with("https://") && !proven.times.is_empty(), "{proven:?}");
    assert!(matches!(root.prove(bundle, b"other"), Err(NoProof::Refused(_))));
    assert!(matches!(root.prove("{}", bytes), Err(NoProof::Malformed(_))));
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_none_is_taken_for_a_bundle(text in "\\PC{0,200}") {
        let root = Root::parse(sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        proptest::prop_assert!(root.prove(&text, BYTES).is_err());
    }
}
