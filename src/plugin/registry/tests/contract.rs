//! Every function of every interface that is not `@unstable`, and every import, by a guest in C
//! (`tests/c-guests/whole.c`): generated bindings, clang and wasi-libc, and nothing of our SDK.
//!
//! The guest answers with constants, each another, and writes down in its state what it was asked.

use super::guests::{Platform, guest};
use super::*;
use crate::host::grant::Grant;
use crate::host::state::ProviderState;
use crate::name::Namespace;
use crate::plugin::captured::Captured;
use crate::query::functions::{
    FunctionDeployment, FunctionResources, FunctionStatus, FunctionUsage, LogMessage, LogRequest, NamePage,
    NamespaceEntry, Secret,
};
use crate::query::{Pairs, ServiceStatus, Target};

/// The guest, published, and what it keeps.
struct Whole {
    provider: PluginProvider,
    state: ProviderState,
    _bench: Bench,
}

impl Whole {
    async fn load() -> Self {
        let path = guest("whole");
        let (bench, platform) = (Bench::new(), Platform::default());
        let quota = Limits { state_quota: 2 << 10, cpu_time: Duration::from_secs(5), ..limits() };
        let mut config = bench.config("good", quota);
        config.component = ComponentSource::File(path);
        config.config = serde_json::json!({ "region": "north", "sizes": [1, 2] });
        let mut grant = Grant::new(platform.serve(|_, _| (200, "hello")).await.parse().unwrap());
        grant.rules = vec!["GET /greeting".parse().unwrap()];
        config.grants.insert("platform".to_owned(), grant);
        let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
        let parts = HostParts { egress, ..bench.parts(&config) };
        let state = parts.state.clone();
        let loaded = bench.plugins.load(&config, parts).await;
        let provider = PluginProvider::new(&config);
        provider.publish(loaded.unwrap_or_else(|error| panic!("{}", error.refusal)));
        Self { provider, state, _bench: bench }
    }

    /// What the guest was asked last.
    fn asked(&self) -> String {
        let entry = self.state.get("asked").unwrap().expect("the guest writes down what it is asked");
        String::from_utf8(entry.value.to_vec()).unwrap()
    }
}

fn named(name: &str) -> FunctionRef {
    FunctionRef { name: name.parse().unwrap(), namespace: dev() }
}

fn dev() -> Namespace {
    "dev".parse().unwrap()
}

fn pairs<const N: usize>(list: [(&str, &str); N]) -> Pairs {
    list.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// What the guest says of every function.
fn status() -> ServiceStatus {
    ServiceStatus {
        replicas: 7,
        available_replicas: 5,
        min_replicas: Some(1),
        max_replicas: Some(9),
        scaling_factor: Some(25),
        labels: pairs([("com.openfaas.scale.zero", "true"), ("team", "a")]),
        annotations: pairs([("note", "b")]),
        version: Some("v-3".to_owned()),
        generation: Generation(1),
    }
}

/// What it says that every function was deployed with.
fn deployment() -> FunctionDeployment {
    let resources = |memory: &str, cpu: &str| FunctionResources {
        memory: Some(memory.to_owned()),
        cpu: Some(cpu.to_owned()),
        extra: pairs([("gpu", "1")]),
    };
    FunctionDeployment {
        service: "figlet".to_owned(),
        image: "figlet:1".to_owned(),
        namespace: "dev".to_owned(),
        env_process: Some("figlet -f big".to_owned()),
        env_vars: Some(pairs([("MODE", "loud")])),
        constraints: Some(vec!["zone=a".to_owned(), "disk=ssd".to_owned()]),
        secrets: Some(vec!["token".to_owned()]),
        labels: Some(pairs([("team", "a")])),
        annotations: Some(pairs([("note", "b")])),
        limits: Some(resources("128Mi", "500m")),
        requests: Some(resources("64Mi", "100m")),
        read_only_root_filesystem: true,
    }
}

#[tokio::test]
async fn service_query_scaling_and_watch() {
    let whole = Whole::load().await;
    let provider = &whole.provider;
    assert!(Interface::ALL.iter().all(|interface| provider.has(*interface)));

    assert_eq!(provider.get_replicas(&figlet()).await.unwrap(), status());
    assert_eq!(whole.asked(), "get-replicas figlet dev");
    provider.set_replicas(&figlet(), u64::MAX).await.unwrap();
    assert_eq!(whole.asked(), "set-replicas figlet dev 18446744073709551615");
    assert_eq!(provider.ensure(&figlet(), 4, Some("v-2")).await.unwrap(), Some(status()));
    assert_eq!(whole.asked(), "ensure figlet dev 4 v-2");
    provider.ensure(&figlet(), 4, None).await.unwrap();
    assert_eq!(whole.asked(), "ensure figlet dev 4 none");

    let set = provider.changes(&[dev()], None, Duration::from_millis(1500)).await.unwrap();
    assert_eq!(whole.asked(), "changes dev none 1500");
    assert_eq!(set.changed, [(figlet(), status())]);
    assert_eq!(set.removed, [named("gone")]);
    assert_eq!((set.cursor.as_str(), set.complete), ("c-2", false));
    let set = provider.changes(&[dev()], Some("c-2"), Duration::from_millis(2)).await.unwrap();
    assert_eq!(whole.asked(), "changes dev c-2 2");
    assert!(set.complete);
}

#[tokio::test]
async fn each_kind_of_error_comes_with_all_that_is_said_of_it() {
    let whole = Whole::load().await;
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Invalid,
        ErrorKind::Unauthenticated,
        ErrorKind::Denied,
        ErrorKind::Conflict,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::CursorExpired,
        ErrorKind::Quota,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
    ];
    for (number, kind) in (0_u16..).zip(kinds) {
        let error = whole.provider.get_replicas(&named(&format!("error-{number}"))).await.unwrap_err();
        assert_eq!(error.cause, Cause::Platform(kind));
        assert_eq!(error.message, format!("error {number}"));
        assert_eq!(error.platform_status, Some(400 + number));
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500 + u64::from(number))));
    }
    // The optional fields may be absent.
    let error = whole.provider.get_replicas(&named("bare-error")).await.unwrap_err();
    assert_eq!((error.platform_status, error.retry_after), (None, None));
}

#[tokio::test]
async fn endpoints_about_and_health() {
    let whole = Whole::load().await;
    let endpoints = whole.provider.resolve(&figlet()).await.unwrap();
    assert_eq!(whole.asked(), "resolve figlet dev");
    let [direct, granted] = &endpoints[..] else { panic!("{endpoints:?}") };
    assert_eq!(direct.target, Target::Authority("10.1.2.3:8080".into()));
    assert_eq!((&*direct.path_prefix, direct.host_header.as_deref()), ("", Some("figlet.example")));
    assert_eq!((direct.tls, direct.ttl, &*direct.instance), (true, Duration::from_millis(1234), "task-1"));
    assert_eq!(granted.target, Target::Grant("platform".into()));
    assert_eq!((&*granted.path_prefix, granted.host_header.as_deref()), ("/function/figlet", None));
    assert_eq!((granted.tls, granted.ttl, &*granted.instance), (false, Duration::from_secs(3600), ""));

    let platform = whole.provider.describe().await.unwrap();
    assert_eq!((platform.name.as_str(), platform.orchestration.as_str()), ("whole", "clang"));
    assert_eq!((platform.release.as_str(), platform.sha.as_str()), ("1.2.3", "abcdef"));
    whole.provider.check().await.unwrap();
    assert_eq!(whole.asked(), "check");
}

#[tokio::test]
async fn functions() {
    let whole = Whole::load().await;
    let provider = &whole.provider;
    let mut expected = FunctionStatus {
        deployment: deployment(),
        replicas: 7,
        available_replicas: 5,
        created_at_ms: Some(1_700_000_000_123),
        usage: Some(FunctionUsage { cpu: 12.5, total_memory_bytes: 1_048_576.0 }),
        invocation_count: Some(42.0),
    };
    let page = provider.list(&dev(), Some("f-1"), 250).await.unwrap();
    assert_eq!(whole.asked(), "list-functions dev f-1 250");
    assert_eq!((&page.functions[..], page.next.as_deref()), (&[expected.clone()][..], Some("f-2")));
    assert_eq!(provider.get(&figlet(), true).await.unwrap(), expected);
    assert_eq!(whole.asked(), "get-function figlet dev true");
    expected.usage = None;
    assert_eq!(provider.get(&figlet(), false).await.unwrap(), expected);

    let told = "figlet dev figlet:1 figlet -f big MODE=loud zone=a,disk=ssd token team=a note=b 128Mi,500m,gpu=1 \
                64Mi,100m,gpu=1 true";
    provider.deploy(&deployment()).await.unwrap();
    assert_eq!(whole.asked(), format!("deploy {told}"));
    provider.update(&deployment()).await.unwrap();
    assert_eq!(whole.asked(), format!("update {told}"));
    let least = FunctionDeployment { service: "figlet".into(), namespace: "dev".into(), ..Default::default() };
    provider.update(&least).await.unwrap();
    assert_eq!(whole.asked(), "update figlet dev  none      none none false");
    provider.delete(&figlet()).await.unwrap();
    assert_eq!(whole.asked(), "delete-function figlet dev");
}

#[tokio::test]
async fn namespaces_secrets_and_logs() {
    let whole = Whole::load().await;
    let provider = &whole.provider;
    let page = |name: &str, next: &str| NamePage { names: vec![name.to_owned()], next: Some(next.to_owned()) };

    assert_eq!(provider.list_namespaces(None, 1000).await.unwrap(), page("dev", "n-2"));
    assert_eq!(whole.asked(), "list-namespaces none 1000");
    let entry = NamespaceEntry {
        name: "dev".to_owned(),
        annotations: Some(pairs([("note", "b")])),
        labels: Some(pairs([("team", "a")])),
    };
    assert_eq!(provider.get_namespace(&dev()).await.unwrap(), entry);
    assert_eq!(whole.asked(), "get-namespace dev");
    provider.create_namespace(&entry).await.unwrap();
    assert_eq!(whole.asked(), "create-namespace dev team=a note=b");
    provider.update_namespace(&entry).await.unwrap();
    assert_eq!(whole.asked(), "update-namespace dev team=a note=b");
    provider.delete_namespace(&dev()).await.unwrap();
    assert_eq!(whole.asked(), "delete-namespace dev");

    assert_eq!(provider.list_secrets(&dev(), Some("s-1"), 10).await.unwrap(), page("token", "s-2"));
    assert_eq!(whole.asked(), "list-secrets dev s-1 10");
    let secret = Secret { name: "token".into(), namespace: "dev".into(), value: b"hush".to_vec() };
    provider.create_secret(&secret).await.unwrap();
    assert_eq!(whole.asked(), "create-secret token dev hush");
    provider.update_secret(&secret).await.unwrap();
    assert_eq!(whole.asked(), "update-secret token dev hush");
    provider.delete_secret("token", &dev()).await.unwrap();
    assert_eq!(whole.asked(), "delete-secret token dev");

    let mut request = LogRequest {
        name: "figlet".to_owned(),
        namespace: "dev".to_owned(),
        instance: Some("i-1".to_owned()),
        since_ms: Some(1_700_000_000_000),
        tail: Some(20),
        follow: true,
    };
    let batch = provider.logs(&request, Some("l-1"), 100, Duration::from_millis(3)).await.unwrap();
    assert_eq!(whole.asked(), "query-logs figlet dev i-1 1700000000000 20 true l-1 100 3");
    let message = LogMessage {
        name: "figlet".to_owned(),
        namespace: "dev".to_owned(),
        instance: "i-1".to_owned(),
        timestamp_ms: 1_700_000_000_456,
        text: "hello".to_owned(),
    };
    assert_eq!((&batch.messages[..], batch.next.as_deref()), (&[message][..], Some("l-2")));
    request = LogRequest { instance: None, since_ms: None, tail: None, follow: false, ..request };
    provider.logs(&request, None, 100, Duration::ZERO).await.unwrap();
    assert_eq!(whole.asked(), "query-logs figlet dev none none none false none 100 0");
}

#[tokio::test]
async fn every_import() {
    let (captured, _guard) = Captured::begin();
    let whole = Whole::load().await;
    let status = whole.provider.get_replicas(&named("imports")).await.unwrap();
    let expected = pairs([
        ("config-document", r#"{"region":"north","sizes":[1,2]}"#),
        ("config-text", "north"),
        ("config-json", "[1,2]"),
        ("config-absent", "none"),
        ("state-put", "absent:done absent:conflict version:done version:conflict anything:done"),
        ("state-get", "three at the version that was written, then none"),
        ("state-list", "k/1,k/2 next k/3"),
        ("state-delete", "version:conflict version:done anything:done"),
        ("state-errors", "quota invalid"),
        ("http", "200 hello"),
        ("clocks", "both"),
        ("random", "both"),
    ]);
    assert_eq!(status.labels, expected);
    let text = captured.text();
    for level in ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] {
        let is_there = |line: &str| line.contains(level) && line.contains(&format!("level {level} from=C"));
        assert!(text.lines().any(is_there), "{level} is not in\n{text}");
    }
}
