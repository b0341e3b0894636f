use std::time::Duration;

use ::minisign::KeyPair;

use super::*;

const BYTES: &[u8] = b"\0asm the bytes of a component";

fn trusted(name: &str, pair: &KeyPair) -> TrustedKey {
    TrustedKey { name: name.into(), key: pair.pk.to_base64().parse().unwrap(), days: Days::default() }
}

fn policy(keys: Vec<TrustedKey>) -> SignaturePolicy {
    SignaturePolicy { require: true, keys, ..SignaturePolicy::default() }
}

fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
    ::minisign::sign(None, &pair.sk, bytes, Some("acme 1.2.3"), None).unwrap().into_string()
}

fn check(policy: &SignaturePolicy, text: &str, bytes: &[u8], now: SystemTime) -> Result<Signer, SignatureError> {
    policy.check_minisign(text, bytes, now, "acme.wasm.minisig")
}

#[test]
fn a_signature_of_a_trusted_key_names_the_signer() {
    let (old, new) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let policy = policy(vec![trusted("old", &old), trusted("new", &new)]);
    for (pair, name) in [(&old, "old"), (&new, "new")] {
        let signer = check(&policy, &sign(pair, BYTES), BYTES, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((signer.key.as_str(), signer.comment.as_str()), (name, "acme 1.2.3"));
    }
}

#[test]
fn the_older_form_is_read_too() {
    // Made with an example key of minisign's own format description: not prehashed, over the word "test".
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse().unwrap();
    let policy = policy(vec![TrustedKey { name: "k".into(), key, days: Days::default() }]);
    let legacy = "untrusted comment: signature from minisign secret key\n\
        RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
        trusted comment: timestamp:1555779966\tfile:test\n\
        QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==";
    assert_eq!(
        check(&policy, legacy, b"test", SystemTime::UNIX_EPOCH).unwrap().comment,
        "timestamp:1555779966 file:test"
    );
    assert!(check(&policy, legacy, b"text", SystemTime::UNIX_EPOCH).is_err());
}

#[test]
fn other_bytes_other_keys_and_changed_comments_are_refused() {
    let (ours, theirs) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let policy = policy(vec![trusted("ours", &ours)]);
    let now = SystemTime::UNIX_EPOCH;
    let good = sign(&ours, BYTES);
    assert!(matches!(check(&policy, &good, b"other", now), Err(SignatureError::Wrong { key }) if key == "ours"));
    let foreign = check(&policy, &sign(&theirs, BYTES), BYTES, now).unwrap_err();
    assert!(foreign.to_string().ends_with("it names ours"), "{foreign}");
    let renamed = good.replace("acme 1.2.3", "acme 9.9.9");
    assert!(matches!(check(&policy, &renamed, BYTES, now), Err(SignatureError::Wrong { .. })));
    for bad in ["", "untrusted comment: x\n", "\u{0}", good.split_at(good.len() / 2).0] {
        assert!(matches!(check(&policy, bad, BYTES, now), Err(SignatureError::Malformed { .. })), "{bad:?}");
    }
}

#[test]
fn a_key_counts_within_its_days() {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let mut key = trusted("k", &pair);
    key.days = Days { not_before: Some(at(100)), not_after: Some(at(200)) };
    let (policy, text) = (policy(vec![key]), sign(&pair, BYTES));
    for (now, is_over) in [(99, Some(false)), (100, None), (200, None), (201, Some(true))] {
        match (check(&policy, &text, BYTES, at(now)), is_over) {
            (Ok(_), None) => {}
            (Err(SignatureError::OutOfTime { is_over, .. }), Some(expected)) => assert_eq!(is_over, expected, "{now}"),
            (other, _) => panic!("{now}: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_required_may_be_absent_but_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("acme.wasm");
    let (source, now) = (ComponentSource::File(component.clone()), SystemTime::UNIX_EPOCH);
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let mut policy = policy(vec![trusted("k", &pair)]);
    assert!(matches!(policy.verify(&source, BYTES, now), Err(SignatureError::Unsigned { .. })));
    policy.require = false;
    assert_eq!(policy.verify(&source, BYTES, now).unwrap(), None);
    std::fs::write(folder.path().join("acme.wasm.minisig"), sign(&pair, b"other")).unwrap();
    assert!(matches!(policy.verify(&source, BYTES, now), Err(SignatureError::Wrong { .. })));
    policy.file = Some(folder.path().join("elsewhere"));
    assert!(matches!(policy.verify(&source, BYTES, now), Err(SignatureError::Unsigned { .. })));
    std::fs::write(folder.path().join("elsewhere"), sign(&pair, BYTES)).unwrap();
    assert_eq!(policy.verify(&source, BYTES, now).unwrap().unwrap().key, "k");
    std::fs::write(folder.path().join("elsewhere"), "x".repeat(100_000)).unwrap();
    assert!(matches!(policy.verify(&source, BYTES, now), Err(SignatureError::Unreadable { .. })));
    assert_eq!(policy.verify(&ComponentSource::Builtin("local".into()), BYTES, now).unwrap(), None);
}

#[test]
fn one_key_takes_over_from_another() {
    let (old, new) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let (mut first, mut second) = (trusted("old", &old), trusted("new", &new));
    first.days.not_after = Some(at(200));
    second.days.not_before = Some(at(100));
    let policy = policy(vec![first, second]);
    for (now, expected) in [(99, [true, false]), (150, [true, true]), (201, [false, true])] {
        let fits = [&old, &new].map(|pair| check(&policy, &sign(pair, BYTES), BYTES, at(now)).is_ok());
        assert_eq!(fits, expected, "{now}");
    }
}

#[test]
fn one_signature_of_two_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("acme.wasm");
    let (source, now) = (ComponentSource::File(component.clone()), SystemTime::UNIX_EPOCH);
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let identity = TrustedIdentity {
        name: "release".into(),
        root: folder.path().join("no-root"),
        identity: crate::host::grant::pattern::Pattern::path("https://code.test/acme").unwrap(),
        issuer: "https://token.code.test".into(),
        days: Days::default(),
    };
    let mut policy = SignaturePolicy { identities: vec![identity], ..policy(vec![trusted("k", &pair)]) };
    let files: Vec<_> = policy.files(&component).collect();
    assert_eq!(files, ["acme.wasm.minisig", "acme.wasm.sigstore.json"].map(|name| folder.path().join(name)));
    let unsigned = policy.verify(&source, BYTES, now).unwrap_err().to_string();
    assert!(
        unsigned.contains("acme.wasm.minisig and no ") && unsigned.contains("acme.wasm.sigstore.json"),
        "{unsigned}"
    );
    std::fs::write(&files[1], "{}").unwrap();
    let wrong = policy.verify(&source, BYTES, now).unwrap_err();
    assert!(matches!(wrong, SignatureError::Root { .. }), "{wrong}");
    std::fs::write(&files[0], sign(&pair, b"other")).unwrap();
    let neither = policy.verify(&source, BYTES, now).unwrap_err().to_string();
    assert!(neither.contains("key k does not fit") && neither.contains("no-root cannot be used: "), "{neither}");
    std::fs::write(&files[0], sign(&pair, BYTES)).unwrap();
    assert_eq!(policy.verify(&source, BYTES, now).unwrap().unwrap().key, "k");
    // Only what somebody is trusted for is looked at.
    (policy.require, policy.identities) = (false, Vec::new());
    std::fs::remove_file(&files[0]).unwrap();
    assert_eq!(policy.verify(&source, BYTES, now).unwrap(), None);
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_none_is_taken_for_a_signature(text in "(untrusted comment: )?[ -~\n]{0,400}") {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        assert!(check(&policy(vec![trusted("k", &pair)]), &text, BYTES, SystemTime::UNIX_EPOCH).is_err());
        let _key = text.parse::<MinisignKey>();
    }
}
