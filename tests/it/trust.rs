//! What an operator can know of a plugin before it runs.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Gateway, GatewayBuilder, Platform, faas_provider, wait_until};
use crate::plugins::fixtures;
use crate::sigstore::{IDENTITY, ISSUER, SIGNED_AT, Sigstore, Wish};

fn wicketgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wicketgate")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn inspect_explains_the_bundled_plugins_and_the_fixtures() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["faas-provider", "local"] {
        let (status, out, err) = said(&wicketgate(&["plugin", "inspect", &format!("builtin:{name}")]));
        assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("scales functions"), "{out}");
    }
    let good = write(folder.path(), "good.wasm", &fixtures::component("good"));
    let (status, out, _) = said(&wicketgate(&["plugin", "inspect", &good]));
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("manifest   none"), "{out}");
    // Whether it may is the configuration's word.
    let wants = write(folder.path(), "wants.wasm", &fixtures::component("wants-processes"));
    let (status, out, _) = said(&wicketgate(&["plugin", "inspect", &wants]));
    assert!(status == Some(0) && out.contains("starts processes"), "{out}");
    for (name, expected) in
        [("unknown-import", "acme:host/secrets@1.0.0"), ("no-service-query", "wicketgate:provider/service-query@0.1.0")]
    {
        let file = write(folder.path(), &format!("{name}.wasm"), &fixtures::component(name));
        let (status, out, err) = said(&wicketgate(&["plugin", "inspect", &file]));
        assert_eq!((status, err.as_str()), (Some(1), ""), "{name}: {out}");
        assert!(out.contains(expected), "{name}: {out}");
    }
}

#[test]
fn inspect_compares_with_the_configuration_and_speaks_json() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "wants-memory.wasm", &fixtures::component("wants-memory"));
    let config = write(
        folder.path(),
        "wicketgate.toml",
        b"[provider.a]\ncomponent = \"wants-memory.wasm\"\nnamespaces = [\"a\"]\nlimits = { memory = \"64KiB\" }\n\
          digest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n",
    );
    let file = folder.path().join("wants-memory.wasm");
    let (status, out, err) =
        said(&wicketgate(&["plugin", "inspect", file.to_str().unwrap(), "--config", &config, "--json"]));
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verdicts"][0]["provider"], "a");
    let findings = report["verdicts"][0]["findings"].to_string();
    assert!(findings.contains("limits.memory") && findings.contains("`digest` says"), "{findings}");
    // The gateway itself thinks the same.
    let (status, _, err) = said(&wicketgate(&["serve", "--config", &config, "--listen", "127.0.0.1:0"]));
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("`digest` says"), "{err}");
}

#[test]
fn inspect_answers_hostile_files_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let good = fixtures::component("good");
    let mut flipped = good.clone();
    flipped[20] ^= 0x40;
    let huge = folder.path().join("huge.wasm");
    std::fs::File::create(&huge).unwrap().set_len(100 << 20).unwrap();
    for (name, expected) in [
        (write(folder.path(), "empty.wasm", b""), "not WebAssembly"),
        (write(folder.path(), "script.wasm", b"#!/bin/sh\n"), "not WebAssembly"),
        (write(folder.path(), "module.wasm", &wat::parse_str("(module)").unwrap()), "core module"),
        (write(folder.path(), "cut.wasm", &good[..good.len() / 2]), "damaged"),
        (write(folder.path(), "flipped.wasm", &flipped), "damaged"),
        (huge.to_str().unwrap().to_owned(), "component-bytes"),
        (folder.path().to_str().unwrap().to_owned(), "not a regular file"),
    ] {
        let (status, out, err) = said(&wicketgate(&["plugin", "inspect", &name]));
        assert_eq!((status, out.as_str()), (Some(1), ""), "{name}: {err}");
        assert!(err.contains(expected) && err.lines().count() == 1, "{name}: {err}");
    }
}

/// The configuration of a provider whose plugin has to be signed with this key.
fn requiring(pair: &minisign::KeyPair, more: &str) -> String {
    format!(
        "[signature]\nrequire = true\n[signature.key.acme]\nminisign = \"{}\"\n{more}\n\
         [provider.good]\ncomponent = \"good.wasm\"\nnamespaces = [\"good\"]\n\
         [provider.good.endpoints]\ntemplate = \"http://{{name}}:1\"\n",
        pair.pk.to_base64()
    )
}

fn signature(pair: &minisign::KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &pair.sk, bytes, Some("good 1.0.0"), None).unwrap().into_string()
}

#[test]
fn a_plugin_is_loaded_only_with_the_signature_of_a_named_key() {
    let (ours, theirs) = (
        minisign::KeyPair::generate_unencrypted_keypair().unwrap(),
        minisign::KeyPair::generate_unencrypted_keypair().unwrap(),
    );
    let good = fixtures::component("good");
    let start = || GatewayBuilder::new(&requiring(&ours, "")).file("good.wasm", &good);
    let gateway = start().file("good.wasm.minisig", signature(&ours, &good)).start();
    assert!(gateway.output().wait_for("signature verified").is_some());
    drop(gateway);
    for (name, builder, expected) in [
        ("unsigned", start(), "is not signed"),
        ("foreign", start().file("good.wasm.minisig", signature(&theirs, &good)), "does not name; it names acme"),
        ("another's", start().file("good.wasm.minisig", signature(&ours, b"another")), "does not fit"),
        ("no signature", start().file("good.wasm.minisig", "hello"), "is not a minisign signature"),
    ] {
        let (status, said) = builder.run("serve");
        assert_eq!(status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("refused at step verified") && said.contains(expected), "{name}: {said}");
    }
    let expired = GatewayBuilder::new(&requiring(&ours, "not-after = 2001-01-01"));
    let (status, said) =
        expired.file("good.wasm", &good).file("good.wasm.minisig", signature(&ours, &good)).run("serve");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("key acme, which counts no more"), "{said}");
}

#[test]
fn inspect_names_the_signer() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let good = fixtures::component("good");
    let file = write(folder.path(), "good.wasm", &good);
    let config = write(folder.path(), "wicketgate.toml", requiring(&pair, "").as_bytes());
    let (status, out, _) = said(&wicketgate(&["plugin", "inspect", &file, "--config", &config]));
    assert_eq!(status, Some(1), "{out}");
    assert!(out.contains("refused  it is not signed"), "{out}");
    write(folder.path(), "good.wasm.minisig", signature(&pair, &good).as_bytes());
    let (status, out, _) = said(&wicketgate(&["plugin", "inspect", &file, "--config", &config]));
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("signed   with key acme"), "{out}");
}

/// The same plugin with other bytes: a custom section more.
fn variant(number: u8) -> Vec<u8> {
    let mut bytes = fixtures::component("good");
    bytes.extend_from_slice(&[0, 6, 4, b't', b'e', b's', b't', number]);
    bytes
}

fn component_of(gateway: &Gateway) -> serde_json::Value {
    gateway.admin("/providers/good").json()["component"].clone()
}

#[test]
fn a_signed_plugin_is_swapped_with_the_signature_beside_it() {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let good = fixtures::component("good");
    // The configured signature is elsewhere; that of another file is beside that.
    let config = requiring(&pair, "")
        .replace("[provider.good.endpoints]", "signature = { file = \"sig\" }\n[provider.good.endpoints]");
    let gateway = GatewayBuilder::new(&config).file("good.wasm", &good).file("sig", signature(&pair, &good)).start();
    let socket = gateway.folder().join("admin.sock");
    let swap =
        |file: &str| said(&wicketgate(&["provider", "swap", "good", file, "--socket", socket.to_str().unwrap()]));
    let new = write(gateway.folder(), "new.wasm", &variant(1));
    let (status, _, err) = swap(&new);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("refused at step verified: it was uploaded without its signature"), "{err}");
    write(gateway.folder(), "new.wasm.minisig", signature(&pair, &good).as_bytes());
    let (status, _, err) = swap(&new);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("the signature of key acme does not fit"), "{err}");
    write(gateway.folder(), "new.wasm.minisig", signature(&pair, &variant(1)).as_bytes());
    let (status, _, err) = swap(&new);
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(component_of(&gateway), "uploaded");
    // By its path the gateway finds the same signature.
    write(gateway.folder(), "other.wasm", &variant(2));
    let body = serde_json::json!({ "path": gateway.folder().join("other.wasm") }).to_string();
    let json = [("content-type", "application/json")];
    let put = || gateway.admin_send("PUT", "/providers/good", &json, body.as_bytes());
    assert_eq!(put().status, 422);
    write(gateway.folder(), "other.wasm.minisig", signature(&pair, &variant(2)).as_bytes());
    let reply = put();
    assert_eq!(reply.status, 200, "{}", reply.text());
    // And the configured one is what it was.
    let reply = gateway.admin_send("PUT", "/providers/good", &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(component_of(&gateway).as_str().unwrap().ends_with("good.wasm"));
    let reply = gateway.admin_send("PUT", "/providers/good", &[("x-wicketgate-minisign", "?")], &variant(1));
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("x-wicketgate-minisign must be the file as base64"), "{}", reply.text());
}

#[test]
fn a_bundle_is_sent_with_what_is_uploaded() {
    let (sigstore, good) = (Sigstore::new(), fixtures::component("good"));
    let bundle = |bytes: &[u8]| sigstore.bundle(bytes, &Wish::default()).to_string();
    let gateway = GatewayBuilder::new(&requiring_identity(IDENTITY)).file("trusted_root.json", sigstore.root());
    let gateway = gateway.file("good.wasm", &good).file("good.wasm.sigstore.json", bundle(&good)).start();
    let new = write(gateway.folder(), "new.wasm", &variant(1));
    write(gateway.folder(), "new.wasm.sigstore.json", bundle(&variant(1)).as_bytes());
    let socket = gateway.folder().join("admin.sock");
    let (status, _, err) = said(&wicketgate(&["provider", "swap", "good", &new, "--socket", socket.to_str().unwrap()]));
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(component_of(&gateway), "uploaded");
}

#[test]
fn a_signature_that_comes_after_its_component_is_noticed() {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let good = fixtures::component("good");
    let gateway = GatewayBuilder::new(&requiring(&pair, "")).file("good.wasm", &good);
    let gateway = gateway.file("good.wasm.minisig", signature(&pair, &good)).start();
    let last = || gateway.admin("/providers/good").json()["history"][0].clone();
    write(gateway.folder(), "good.wasm", &variant(1));
    wait_until("the old signature does not fit", || last()["at"] == "verified");
    write(gateway.folder(), "good.wasm.minisig", signature(&pair, &variant(1)).as_bytes());
    wait_until("the new one does", || last()["outcome"] == "published");
    // Another signature of what serves is nothing to load.
    let before = last()["number"].as_u64().unwrap();
    write(gateway.folder(), "good.wasm.minisig", signature(&pair, &variant(2)).as_bytes());
    write(gateway.folder(), "good.wasm", &variant(2));
    wait_until("the next one serves", || last()["number"] == before + 1 && last()["outcome"] == "published");
    assert_eq!(last()["by"], "file");
}

/// The configuration of a provider whose plugin has to be signed by this identity.
fn requiring_identity(identity: &str) -> String {
    format!(
        "[signature]\nrequire = true\n[signature.sigstore.acme]\ntrusted-root = \"trusted_root.json\"\n\
         identity = \"{identity}\"\nissuer = \"{ISSUER}\"\n\
         [provider.good]\ncomponent = \"good.wasm\"\nnamespaces = [\"good\"]\n\
         [provider.good.endpoints]\ntemplate = \"http://{{name}}:1\"\n"
    )
}

#[test]
fn a_plugin_is_loaded_only_with_the_bundle_of_a_named_identity() {
    let (ours, theirs, good) = (Sigstore::new(), Sigstore::new(), fixtures::component("good"));
    let start = |identity: &str| {
        let builder = GatewayBuilder::new(&requiring_identity(identity));
        builder.file("trusted_root.json", ours.root()).file("good.wasm", &good)
    };
    let of = |sigstore: &Sigstore, bytes: &[u8], wish: &Wish| sigstore.bundle(bytes, wish).to_string();
    let bundle = of(&ours, &good, &Wish::default());
    let gateway = start("https://code.test/acme/plugin/**").file("good.wasm.sigstore.json", &bundle).start();
    let line = gateway.output().wait_for("signature verified").unwrap();
    assert!(line.contains("acme") && line.contains(IDENTITY), "{line}");
    drop(gateway);
    let late = Wish { logged_at: SIGNED_AT + 3600, ..Wish::default() };
    let mallory = Wish { identity: "https://code.test/mallory/plugin", ..Wish::default() };
    for (name, bundle, expected) in [
        ("unsigned", None, "is not signed: there is no"),
        ("another's", Some(of(&ours, b"another", &Wish::default())), "proves nothing of it: artifact mismatch"),
        ("another sigstore's", Some(of(&theirs, &good, &Wish::default())), "proves nothing of it"),
        ("too late", Some(of(&ours, &good, &late)), "proves nothing of it: certificate"),
        ("a stranger's", Some(of(&ours, &good, &mallory)), "mallory/plugin, says https://token.code.test"),
        ("no bundle", Some("hello".to_owned()), "it is not a sigstore bundle"),
    ] {
        let builder = start(IDENTITY);
        let builder = match bundle {
            Some(bundle) => builder.file("good.wasm.sigstore.json", bundle),
            None => builder,
        };
        let (status, said) = builder.run("serve");
        assert_eq!(status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("refused at step verified") && said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn inspect_names_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (sigstore, good) = (Sigstore::new(), fixtures::component("good"));
    let file = write(folder.path(), "good.wasm", &good);
    write(folder.path(), "trusted_root.json", sigstore.root().as_bytes());
    write(folder.path(), "good.wasm.sigstore.json", sigstore.bundle(&good, &Wish::default()).to_string().as_bytes());
    let config = write(folder.path(), "wicketgate.toml", requiring_identity(IDENTITY).as_bytes());
    let (status, out, _) = said(&wicketgate(&["plugin", "inspect", &file, "--config", &config]));
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains(&format!("signed   with key acme: {IDENTITY} ({ISSUER})")), "{out}");
    let (_, out, _) = said(&wicketgate(&["plugin", "inspect", &file, "--config", &config, "--json"]));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verdicts"][0]["signed_as"], format!("{IDENTITY} ({ISSUER})"));
}

/// A provider whose plugin is `good.wasm`, with a grant.
const LOCKED: &str = "lock = \"enforce\"\n[provider.good]\ncomponent = \"good.wasm\"\nnamespaces = [\"good\"]\n\
    [provider.good.endpoints]\ntemplate = \"http://{name}:1\"\n\
    [provider.good.grant.api]\nconnect = \"http://127.0.0.1:9\"\nallow = [\"GET /apps\"]\n";

#[test]
fn a_plugin_that_wants_more_than_the_lock_is_refused_until_it_is_accepted() {
    let mut gateway = GatewayBuilder::new(LOCKED).file("good.wasm", fixtures::component("good")).start();
    assert!(gateway.output().wait_for("trusted on first use").is_some());
    let path = gateway.folder().join("wicketgate.toml");
    let (config, lock) = (path.to_str().unwrap().to_owned(), gateway.folder().join("wicketgate.lock"));
    let base = std::fs::read_to_string(&path).unwrap();
    let first = std::fs::read_to_string(&lock).unwrap();
    assert!(first.contains("[provider.good.grant.api]") && first.contains("GET /apps"), "{first}");

    // More of everything that the configuration gives.
    gateway.kill();
    let wider = format!(
        "{base}\n[provider.good.limits]\nmemory = \"128MiB\"\n[provider.good.grant.more]\nconnect = \"http://127.0.0.1:9\"\n"
    );
    std::fs::write(&path, wider).unwrap();
    let (status, _, err) = said(&wicketgate(&["serve", "--config", &config]));
    assert_eq!(status, Some(1), "{err}");
    for expected in
        ["refused at step locked", "limits.memory is 128MiB, and was 64MiB", "new grant, more", "provider accept good"]
    {
        assert!(err.contains(expected), "{expected:?} is not in {err}");
    }
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), first);
    let (status, out, err) = said(&wicketgate(&["provider", "accept", "good", "--config", &config]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("accepted: limits.memory is 128MiB"), "{out}");
    gateway.restart();

    // Less is fine, and is written.
    gateway.kill();
    std::fs::write(&path, &base).unwrap();
    gateway.restart();
    assert!(gateway.output().wait_for("the plugin wants nothing new").is_some());
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), first);

    // What cannot be read refuses; what says "off" is not looked at.
    gateway.kill();
    std::fs::write(&lock, "hello").unwrap();
    let (status, _, err) = said(&wicketgate(&["serve", "--config", &config]));
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("wicketgate.lock cannot be used"), "{err}");
    std::fs::write(&path, base.replace("enforce", "off")).unwrap();
    gateway.restart();
    let (status, _, err) = said(&wicketgate(&["provider", "accept", "good", "--config", &config]));
    assert_eq!(status, Some(64), "{err}");
    assert!(err.contains("there is no lock"), "{err}");
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "hello");
}

/// The same plugin with a manifest.
fn declaring(manifest: &str) -> Vec<u8> {
    let name = b"wicketgate:manifest";
    let content = [&[u8::try_from(name.len()).unwrap()], &name[..], manifest.as_bytes()].concat();
    let mut bytes = fixtures::component("good");
    bytes.extend_from_slice(&[0, u8::try_from(content.len()).unwrap()]);
    bytes.extend_from_slice(&content);
    bytes
}

#[test]
fn what_was_refused_is_accepted_and_not_what_is_configured() {
    let gateway = GatewayBuilder::new(LOCKED).file("good.wasm", fixtures::component("good")).start();
    assert!(gateway.output().wait_for("trusted on first use").is_some());
    let config = gateway.folder().join("wicketgate.toml");
    let (config, socket) = (config.to_str().unwrap(), gateway.folder().join("admin.sock"));
    let run = |arguments: &[&str]| {
        let place = ["--config", config, "--socket", socket.to_str().unwrap()];
        said(&wicketgate(&[&["provider"], arguments, &place].concat()))
    };
    let lock = || std::fs::read_to_string(gateway.folder().join("wicketgate.lock")).unwrap();
    let first = lock();
    let wider = declaring("{\"grants\":{\"secrets\":\"all\"},\"config\":{\"token\":\"a\"}}");
    let new = write(gateway.folder(), "new.wasm", &wider);
    let (status, _, err) = run(&["swap", "good", &new]);
    assert_eq!(status, Some(1), "{err}");
    for expected in ["at step lock", "asks for a new grant, \"secrets\"", "reads a new key of config, \"token\""] {
        assert!(err.contains(expected), "{expected:?} is not in {err}");
    }
    // Another digest than that of what was refused.
    let zero = format!("/providers/good/accept?digest=sha256:{}", "0".repeat(64));
    let reply = gateway.admin_send("POST", &zero, &[], b"");
    assert!(reply.status == 409 && reply.text().contains("nothing_refused"), "{}", reply.text());
    assert_eq!(lock(), first);
    let (status, out, err) = run(&["accept", "good"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("accepted: it asks for a new grant") && out.contains("which was refused"), "{out}");
    let line = gateway.output().wait_for("accepted into the lock").unwrap();
    assert!(line.contains("wicketgate::audit") && line.contains("sha256:"), "{line}");
    let accepted = lock();
    assert!(accepted.contains("asks-for = [\"secrets\"]") && accepted.contains("reads = [\"token\"]"), "{accepted}");
    let (status, _, err) = run(&["swap", "good", &new]);
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(component_of(&gateway), "uploaded");
    // Nothing is refused any more: the configured component is what counts.
    assert_eq!(gateway.admin_send("POST", "/providers/good/accept", &[], b"").status, 409);
    let (status, out, err) = run(&["accept", "good"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("nothing is new for provider good"), "{out}");

    // A file is accepted as what was refused only if it is that.
    let other = declaring("{\"grants\":{\"more\":\"x\"}}");
    let other = write(gateway.folder(), "other.wasm", &other);
    assert_eq!(run(&["swap", "good", &other]).0, Some(1));
    let (_, out, _) = run(&["accept", "good", &new]);
    assert!(out.contains("wicketgate.lock: ") && !out.contains("which was refused"), "{out}");
    let (_, out, _) = run(&["accept", "good", &other]);
    assert!(out.contains("which was refused") && out.contains("\"more\""), "{out}");
    assert_eq!(run(&["swap", "good", &other]).0, Some(0));
}

#[test]
fn an_import_that_is_new_has_to_be_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "good.wasm", &fixtures::component("good"));
    let config = write(folder.path(), "wicketgate.toml", LOCKED.as_bytes());
    let accept = || said(&wicketgate(&["provider", "accept", "good", "--config", &config]));
    assert_eq!(accept().0, Some(0));
    std::fs::write(&file, fixtures::component("sleeps")).unwrap();
    let (status, out, err) = accept();
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("accepted: it imports wasi:"), "{out}");
    std::fs::write(&file, fixtures::component("unknown-import")).unwrap();
    let (status, _, err) = accept();
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("would be refused all the same"), "{err}");
}

#[test]
fn what_a_plugin_used_becomes_its_smallest_rules() {
    let platform = Platform::start();
    let gateway = GatewayBuilder::new(&faas_provider(&platform, "", "")).start();
    // Whether there is such a function is the platform's to say: it is asked.
    let _reply = gateway.get("/function/figlet");
    let used = gateway.folder().join("state/used");
    wait_until("the use is recorded", || {
        let files = std::fs::read_dir(&used).into_iter().flatten();
        files
            .flatten()
            .any(|file| std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains("GET /system/function/*")))
    });
    let config = gateway.folder().join("wicketgate.toml");
    let (file, config) = (std::fs::read_dir(&used).unwrap().next().unwrap().unwrap(), config.to_str().unwrap());
    let name = file.path().file_stem().unwrap().to_str().unwrap().to_owned();
    let (status, out, err) = said(&wicketgate(&["provider", "tighten", &name, "--config", config]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(!out.contains("figlet"), "names of functions are not kept: {out}");
    let (_, rules) = out.split_once("allow = [").unwrap();
    assert!(rules.contains("GET /system/function/*") && !rules.contains("DELETE"), "{out}");
    for column in ["declared", "detected  its bytes name it", "granted", "used "] {
        assert!(out.contains(column), "{column:?} is not in {out}");
    }

    // A running gateway says the same.
    let shown = gateway.admin(&format!("/providers/{name}")).json();
    let grant = &shown["grants"]["provider"];
    assert!(grant["declared"].is_string() && grant["detected"] == "named", "{shown}");
    let lists = |key: &str, rule: &str| {
        grant[key].as_array().is_some_and(|rules| rules.iter().any(|one| one.as_str().unwrap().starts_with(rule)))
    };
    assert!(lists("rules", "DELETE /system/functions") && !lists("used", "DELETE"), "{shown}");
    assert!(lists("used", "GET /system/function/*"), "{shown}");

    let before = std::fs::read_to_string(config).unwrap();
    let (status, out, err) = said(&wicketgate(&["provider", "tighten", &name, "--write", "--config", config]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let (status, out, err) = said(&wicketgate(&["check", "--config", config]));
    assert_eq!(status, Some(0), "{out}{err}");
    assert_eq!(std::fs::read_to_string(format!("{config}.bak")).unwrap(), before);
    let after = std::fs::read_to_string(config).unwrap();
    assert!(after.contains("allow = [") && !after.contains("profile ="), "{after}");
}

#[test]
fn a_grant_that_is_tried_out_counts_and_passes_what_it_would_refuse() {
    let platform = Platform::start();
    platform.function(serde_json::json!({ "name": "figlet", "replicas": 3 }));
    let config = |mode: &str| {
        format!(
            "[provider.platform]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
             [provider.platform.grant.provider]\nconnect = \"http://{}\"\nallow = [\"GET /system/info\"]\nmode = \"{mode}\"\n",
            platform.address()
        )
    };
    let asked = || platform.count("GET", "/system/function/figlet");
    let denied = |reason: &str| format!(r#"wicketgate_egress_denied_total{{provider="platform",reason="{reason}"}}"#);

    let gateway = GatewayBuilder::new(&config("dry-run")).start();
    assert_eq!(gateway.get("/system/function/figlet").json()["replicas"], 3);
    assert!(asked() >= 1 && gateway.metric(&denied("dry-run")) >= 1.0);
    let log = gateway.output().text();
    for part in ["refuse nothing", "this request would be refused", "GET /system/function/"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
    drop(gateway);

    // The same rules, enforced.
    let before = asked();
    let gateway = GatewayBuilder::new(&config("enforce")).start();
    assert_eq!(gateway.get("/system/function/figlet").status, 502);
    assert_eq!(asked(), before, "the platform was not asked");
    assert!(!gateway.output().text().contains("would be refused"));
}
