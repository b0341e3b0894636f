use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn provider() -> ProviderName {
    "edge".parse().unwrap()
}

fn entry() -> Entry {
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Entry {
        digest: "sha256:00".into(),
        is_bundled: false,
        version: Some("1.2.0".into()),
        signer: Some("acme".into()),
        asks_for: set(&["docker"]),
        reads: set(&["network"]),
        imports: set(&["wasi:io/poll@0.2.6", "wicketgate:host/log@0.1.0"]),
        exports: set(&["wicketgate:provider/service-query@0.1.0"]),
        limits: [("memory", "64MiB"), ("call-timeout", "3s"), ("handles", "256")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        grant: [(
            "docker".to_owned(),
            LockedGrant {
                connect: "unix:/var/run/docker.sock".into(),
                rules: set(&["GET /services*"]),
                ..LockedGrant::default()
            },
        )]
        .into(),
    }
}

fn changed(change: impl FnOnce(&mut Entry)) -> Entry {
    let mut entry = entry();
    change(&mut entry);
    entry
}

fn docker(entry: &mut Entry) -> &mut LockedGrant {
    entry.grant.get_mut("docker").unwrap()
}

#[test]
fn everything_that_is_more_has_a_sentence() {
    for (wider, expected) in [
        (changed(|e| e.imports.extend(["wasi:sockets/tcp@0.2.0".into()])), "it imports wasi:sockets/tcp@0.2.0"),
        (changed(|e| e.asks_for.extend(["secrets\n".into()])), "it asks for a new grant, \"secrets\\n\""),
        (changed(|e| e.reads.extend(["token".into()])), "it reads a new key of config, \"token\""),
        (changed(|e| e.signer = None), "it is not signed, and the locked one was signed with key acme"),
        (changed(|e| e.version = Some("1.1.9".into())), "it is version 1.1.9, older than the locked 1.2.0"),
        (
            changed(|e| {
                e.grant
                    .extend([("api".into(), LockedGrant { connect: "http://a:1".into(), ..LockedGrant::default() })]);
            }),
            "it has a new grant, api to http://a:1",
        ),
        (
            changed(|e| docker(e).connect = "http://b:1".into()),
            "the grant docker leads to http://b:1, and led to unix:/var/run/docker.sock",
        ),
        (changed(|e| docker(e).rules.extend(["GET /secrets".into()])), "the grant docker has a new rule, GET /secrets"),
        (
            changed(|e| docker(e).dry_run = true),
            "the grant docker is tried out (dry-run), so what no rule allows passes too",
        ),
        (changed(|e| docker(e).functions = Some("/f".into())), "the grant docker forwards functions' requests to /f"),
        (changed(|e| e.limits.extend([("memory".into(), "1GiB".into())])), "limits.memory is 1GiB, and was 64MiB"),
        (changed(|e| e.limits.extend([("call-timeout".into(), "1m".into())])), "limits.call-timeout is 1m, and was 3s"),
        (changed(|e| e.limits.extend([("handles".into(), "300".into())])), "limits.handles is 300, and was 256"),
    ] {
        assert_eq!(wider.beyond(&entry()), [expected]);
        // The way back is no more.
        assert_eq!(
            entry().beyond(&wider),
            if expected.contains("leads to") {
                vec!["the grant docker leads to unix:/var/run/docker.sock, and led to http://b:1"]
            } else {
                vec![]
            }
        );
    }
    // Another file, another key of the operator, a toolchain's patch, a further export: nothing more.
    let same = changed(|e| {
        e.digest = "sha256:01".into();
        e.signer = Some("acme-next".into());
        e.imports = ["wasi:io/poll@0.2.12", "wicketgate:host/log@0.1.0"].map(str::to_owned).into();
        e.exports.insert("wicketgate:provider/logs@0.1.0".into());
    });
    assert_eq!(same.beyond(&entry()), Vec::<String>::new());
    // What is part of the binary changes with it.
    let bundled = changed(|e| {
        (e.is_bundled, e.signer) = (true, None);
        e.imports.insert("wicketgate:host/processes@0.1.0".into());
        e.asks_for.insert("secrets".into());
    });
    assert_eq!(bundled.beyond(&entry()), Vec::<String>::new());
    // An older version is refused only where signatures say that it is the author's.
    let unsigned = changed(|e| (e.signer, e.version) = (None, Some("1.0.0".into())));
    assert_eq!(unsigned.beyond(&changed(|e| e.signer = None)), Vec::<String>::new());
}

#[test]
fn the_first_is_trusted_more_is_refused_and_less_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = Keeper::new(folder.path().join(FILE_NAME), Mode::Enforce);
    let read = || Lock::read(keeper.path()).unwrap().get(&provider()).cloned();
    keeper.check(&provider(), &entry()).unwrap();
    assert_eq!(read(), None, "a check writes nothing");
    keeper.record(&provider(), &entry());
    assert_eq!(read(), Some(entry()));
    let wider = changed(|e| docker(e).dry_run = true);
    let refused = keeper.check(&provider(), &wider).unwrap_err().to_string();
    assert!(refused.contains("dry-run") && refused.contains("wicketgate provider accept edge"), "{refused}");
    // Should it be published all the same, the lock keeps what was accepted.
    keeper.record(&provider(), &wider);
    assert_eq!(read(), Some(entry()));
    assert_eq!(keeper.accept(&provider(), Some("sha256:ff")).unwrap(), None, "something else was refused");
    let accepted = keeper.accept(&provider(), Some("sha256:00")).unwrap().unwrap();
    assert_eq!((accepted.digest.as_str(), accepted.differences.len()), ("sha256:00", 1));
    assert_eq!(keeper.accept(&provider(), None).unwrap(), None, "accepted once");
    keeper.check(&provider(), &wider).unwrap();
    keeper.record(&provider(), &entry());
    // What was accepted in the file is refused no more.
    keeper.check(&provider(), &wider).unwrap_err();
    Keeper::new(keeper.path().to_owned(), Mode::Enforce).accept_entry(&provider(), wider.clone()).unwrap();
    keeper.check(&provider(), &wider).unwrap();
    assert_eq!(keeper.accept(&provider(), None).unwrap(), None);
    keeper.record(&provider(), &entry());
    assert_eq!(read(), Some(entry()), "less is written");
}

#[test]
fn modes_warn_and_off_let_everything_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let off = Keeper::new(path.clone(), Mode::Off);
    off.record(&provider(), &entry());
    assert!(!path.exists());
    Keeper::new(path.clone(), Mode::Enforce).record(&provider(), &entry());
    let wider = changed(|e| e.signer = None);
    off.check(&provider(), &wider).unwrap();
    let warn = Keeper::new(path.clone(), Mode::Warn);
    warn.check(&provider(), &wider).unwrap();
    warn.record(&provider(), &wider);
    assert_eq!(Lock::read(&path).unwrap().get(&provider()), Some(&entry()), "it warns again the next time");
}

#[test]
fn a_file_that_cannot_be_used_refuses_and_one_that_cannot_be_written_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let keeper = Keeper::new(path.clone(), Mode::Enforce);
    for (text, expected) in [
        ("version = ", "cannot be used"),
        ("version = 2", "cannot be used"),
        ("version = 1\nnew = true", "cannot be used"),
        ("version = 1\n[provider.edge]\n", "cannot be used"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = keeper.check(&provider(), &entry()).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
        keeper.record(&provider(), &entry());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "nobody's words are overwritten");
    }
    std::fs::File::create(&path).unwrap().set_len(FILE_MAX_BYTES + 1).unwrap();
    assert!(matches!(Lock::read(&path), Err(LockFileError::TooLarge)));
    let nowhere = Keeper::new(folder.path().join("missing").join(FILE_NAME), Mode::Enforce);
    nowhere.check(&provider(), &entry()).unwrap();
    nowhere.record(&provider(), &entry());
    assert!(nowhere.accept_entry(&provider(), entry()).is_err());
}

#[test]
fn the_file_is_the_same_for_the_same_content() {
    let mut one = Lock::default();
    one.set(&"b".parse().unwrap(), entry());
    one.set(&"a.b".parse().unwrap(), entry());
    let mut other = Lock::default();
    other.set(&"a.b".parse().unwrap(), entry());
    other.set(&"b".parse().unwrap(), entry());
    let text = one.text().unwrap();
    assert_eq!(text, other.text().unwrap());
    assert_eq!(Lock::parse(&text).unwrap(), one);
}

prop_compose! {
    fn any_entry()(
        digest in ".{0,20}",
        version in proptest::option::of(".{0,12}"),
        signer in proptest::option::of(".{0,12}"),
        imports in proptest::collection::btree_set(".{0,30}", 0..4),
        limits in proptest::collection::btree_map("[a-z-]{1,8}", "[0-9]{1,3}(KiB|MiB|s|ms)?", 0..4),
        (asks_for, reads) in (proptest::collection::btree_set(".{0,8}", 0..3), proptest::collection::btree_set(".{0,8}", 0..3)),
        grants in proptest::collection::btree_map(".{0,10}", (".{0,20}", proptest::collection::btree_set(".{0,20}", 0..4)), 0..3),
    ) -> Entry {
        let grant = grants.into_iter().map(|(name, (connect, rules))| {
            (name, LockedGrant { connect, rules, ..LockedGrant::default() })
        });
        Entry { digest, is_bundled: false, version, signer, asks_for, reads, imports, exports: BTreeSet::new(), limits, grant: grant.collect() }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(entry in any_entry()) {
        let mut lock = Lock::default();
        lock.set(&provider(), entry);
        prop_assert_eq!(Lock::parse(&lock.text().unwrap()).unwrap(), lock);
    }

    #[test]
    fn nothing_wants_more_than_itself(entry in any_entry()) {
        prop_assert_eq!(entry.beyond(&entry), Vec::<String>::new());
    }

    #[test]
    fn no_text_panics(text in "(version = 1\n)?[ -~\n]{0,300}") {
        let _lock = Lock::parse(&text);
    }
}
