//! Guests that need a toolchain: the bundled `faas-provider` against a scripted platform, and a
//! component that another toolchain built without our SDK. `cargo xtask plugins --tests` builds them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::host::grant::{Auth, Grant, Rule};
use crate::query::Target;
use crate::query::functions::{FunctionDeployment, LogRequest, NamespaceEntry, Secret};

/// What a request was: method, path with query, `Authorization`, body.
pub(super) type Seen = (String, String, String, String);

/// A platform that answers by script and remembers what it was asked.
#[derive(Clone, Default)]
pub(super) struct Platform(Arc<Mutex<Vec<Seen>>>, Arc<Mutex<Vec<String>>>);

impl Platform {
    /// Serves on a free port of loopback until the runtime ends.
    pub(super) async fn serve(&self, script: fn(&str, &str) -> (u16, &'static str)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, fields) = (Arc::clone(&self.0), Arc::clone(&self.1));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, fields) = (Arc::clone(&seen), Arc::clone(&fields));
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (seen, fields) = (Arc::clone(&seen), Arc::clone(&fields));
                    async move {
                        let (head, body) = request.into_parts();
                        let names = head.headers.keys().map(ToString::to_string);
                        fields.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
                        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        let path = head.uri.to_string();
                        let (status, answer) = script(head.method.as_str(), &path);
                        let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap());
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push((
                            head.method.to_string(),
                            path,
                            authorization.unwrap_or_default().to_owned(),
                            String::from_utf8_lossy(&body).into_owned(),
                        ));
                        let response = http::Response::builder().status(status).header("retry-after", "3");
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(answer.as_bytes()))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .max_headers(2000)
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        format!("http://{address}")
    }

    /// The names of all header fields that it ever got.
    pub(super) fn fields(&self) -> Vec<String> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was asked since the last look.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `faas-provider` on a platform that answers by script, with every request of it allowed.
async fn faas_provider(
    bench: &Bench,
    platform: &Platform,
    script: fn(&str, &str) -> (u16, &'static str),
) -> PluginProvider {
    let secret = |name: &str, text: &str| {
        let path = bench.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let mut grant = Grant::new(platform.serve(script).await.parse().unwrap());
    grant.auth = Auth::Basic { user_file: secret("user", "admin\n"), password_file: secret("password", "secret\n") };
    let query = "?namespace=*&usage=*&name=*&tail=*&since=*&follow=*&instance=*";
    grant.rules = ["GET", "POST", "PUT", "DELETE"]
        .iter()
        .map(|method| format!("{method} /system/**{query}").parse::<Rule>().unwrap())
        .collect();
    let mut config = bench.config("good", Limits { cpu_time: Duration::from_secs(5), ..limits() });
    config.component = ComponentSource::Builtin("faas-provider".to_owned());
    config.grants.insert("provider".to_owned(), grant);
    let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
    let parts = HostParts { egress, ..bench.parts(&config) };
    let loaded = bench.plugins.load(&config, parts).await;
    let provider = PluginProvider::new(&config);
    provider.publish(loaded.unwrap_or_else(|error| panic!("run `cargo xtask plugins`: {}", error.refusal)));
    provider
}

/// A faasd with one function, one namespace and one secret.
fn faasd(method: &str, path: &str) -> (u16, &'static str) {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    match (method, path) {
        ("GET", "/system/info") => {
            (200, r#"{"provider":"faasd-ce","version":{"sha":"abc","release":"0.19.7"},"orchestration":"containerd"}"#)
        }
        ("GET", "/system/function/figlet") => (
            200,
            r#"{"name":"figlet","image":"f:1","replicas":0,"labels":{"com.openfaas.scale.min":"2"},"annotations":null}"#,
        ),
        ("GET", "/system/functions") => (200, r#"[{"name":"figlet","image":"f:1","namespace":"dev","replicas":1}]"#),
        ("GET", "/system/namespaces") => (200, r#"["dev"]"#),
        ("GET", "/system/namespace/dev") => (200, r#"{"name":"dev","labels":{"openfaas":"1"}}"#),
        ("GET", "/system/secrets") => (200, r#"[{"name":"token","namespace":"dev"}]"#),
        ("GET", "/system/logs") => (
            200,
            "{\"name\":\"figlet\",\"namespace\":\"dev\",\"instance\":\"1\",\"timestamp\":\"2024-05-01T10:00:00Z\",\"text\":\"hello\"}\n",
        ),
        ("POST", "/system/functions") => (409, "exists"),
        ("GET", _) => (404, "no such thing"),
        _ => (202, ""),
    }
}

#[tokio::test]
async fn faas_provider_asks_for_and_sets_replicas_with_the_hosts_credentials() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let provider = faas_provider(&bench, &platform, faasd).await;
    assert!(Interface::ALL.iter().all(|interface| provider.has(*interface) == (*interface != Interface::Watch)));
    let _probes = platform.seen();

    let status = provider.get_replicas(&figlet()).await.unwrap();
    assert_eq!((status.replicas, status.available_replicas), (0, 0));
    assert_eq!(status.labels.get("com.openfaas.scale.min").map(String::as_str), Some("2"));
    provider.set_replicas(&figlet(), 1).await.unwrap();
    let credentials = "Basic YWRtaW46c2VjcmV0".to_owned();
    let body = r#"{"serviceName":"figlet","replicas":1,"namespace":"dev"}"#.to_owned();
    let read = "/system/function/figlet?namespace=dev&usage=false".to_owned();
    let write = "/system/scale-function/figlet?namespace=dev".to_owned();
    assert_eq!(
        platform.seen(),
        [("GET".to_owned(), read, credentials.clone(), String::new()), ("POST".to_owned(), write, credentials, body)]
    );

    // It raises by a reading, a writing and a reading.
    provider.ensure(&figlet(), 1, None).await.unwrap().unwrap();
    assert_eq!(platform.seen().len(), 3);

    let endpoints = provider.resolve(&figlet()).await.unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].target, Target::Grant("provider".into()));
    assert_eq!(&*endpoints[0].path_prefix, "/function/figlet.dev");
}

#[tokio::test]
async fn faas_provider_serves_every_other_interface() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let provider = faas_provider(&bench, &platform, faasd).await;
    let dev = &figlet().namespace;

    provider.check().await.unwrap();
    assert_eq!(provider.describe().await.unwrap().release, "0.19.7");

    assert_eq!(provider.list(dev, None, 10).await.unwrap().functions.len(), 1);
    assert_eq!(provider.get(&figlet(), true).await.unwrap().deployment.image, "f:1");
    let deployment = FunctionDeployment {
        service: "figlet".into(),
        namespace: "dev".into(),
        image: "f:2".into(),
        ..Default::default()
    };
    provider.update(&deployment).await.unwrap();
    let taken = provider.deploy(&deployment).await.unwrap_err();
    assert_eq!(taken.cause, Cause::Platform(ErrorKind::AlreadyExists));
    provider.delete(&figlet()).await.unwrap();

    assert_eq!(provider.list_namespaces(None, 10).await.unwrap().names, ["dev"]);
    assert_eq!(provider.get_namespace(dev).await.unwrap().name, "dev");
    let entry = NamespaceEntry { name: "dev".into(), ..Default::default() };
    provider.create_namespace(&entry).await.unwrap();
    provider.update_namespace(&entry).await.unwrap();
    provider.delete_namespace(dev).await.unwrap();

    assert_eq!(provider.list_secrets(dev, None, 10).await.unwrap().names, ["token"]);
    let secret = Secret { name: "token".into(), namespace: "dev".into(), value: b"x".to_vec() };
    provider.create_secret(&secret).await.unwrap();
    provider.update_secret(&secret).await.unwrap();
    provider.delete_secret("token", dev).await.unwrap();

    let request = LogRequest { name: "figlet".into(), namespace: "dev".into(), ..Default::default() };
    let batch = provider.logs(&request, None, 10, Duration::from_secs(1)).await.unwrap();
    assert_eq!((batch.messages.len(), batch.messages[0].text.as_str(), batch.next), (1, "hello", None));

    let seen = platform.seen();
    assert!(seen.iter().all(|(_, _, authorization, _)| authorization.starts_with("Basic ")), "{seen:?}");
}

#[tokio::test]
async fn faas_provider_passes_on_what_the_platform_says() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let provider = faas_provider(&bench, &platform, |_, path| match path {
        "/system/info" => (200, "{}"),
        path if path.contains("/busy?") => (429, "slow down"),
        path if path.contains("/down?") => (503, "not now"),
        _ => (404, "no such function"),
    })
    .await;
    for (name, kind, status) in [
        ("ghost", ErrorKind::NotFound, 404),
        ("busy", ErrorKind::RateLimited, 429),
        ("down", ErrorKind::Unavailable, 503),
    ] {
        let function = FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() };
        let error = provider.get_replicas(&function).await.unwrap_err();
        assert_eq!((error.cause, error.platform_status), (Cause::Platform(kind), Some(status)), "{name}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(3)), "{name}");
    }
}

/// The guest of `tests/guests` of this name. It needs a toolchain for WebAssembly, which no test does without.
pub(super) fn guest(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = target.join(format!("plugins/tests/{name}.wasm"));
    assert!(path.exists(), "{} is absent: run `cargo xtask plugins --tests`", path.display());
    path
}

#[tokio::test]
async fn another_toolchains_guest_runs_and_finds_an_empty_world() {
    let path = guest("wasip2-sockets");
    let bench = Bench::new();
    let mut config = bench.config("good", Limits { cpu_time: Duration::from_secs(5), ..limits() });
    config.component = ComponentSource::File(path);
    let provider = PluginProvider::new(&config);
    provider.publish(bench.load(&config).await.unwrap());

    let named = |name: &str| FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() };
    assert_eq!(provider.get_replicas(&named("nothing")).await.unwrap().replicas, 0);
    let status = provider.get_replicas(&named("all")).await.unwrap();
    assert_eq!(status.labels.len(), 11, "{:?}", status.labels);
    assert!(status.labels.values().all(|outcome| outcome != "done"), "{:?}", status.labels);
    assert_eq!(status.replicas, 0);

    let error = provider.get_replicas(&named("other")).await.unwrap_err();
    assert_eq!(error.cause, Cause::Platform(ErrorKind::NotFound));
    let error = provider.set_replicas(&named("all"), 1).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Plugin(PluginFault::Trap)), "{:?}", error.cause);
    // The trap took its instance, and nothing else.
    assert_eq!(provider.get_replicas(&named("nothing")).await.unwrap().replicas, 0);
}

#[tokio::test]
async fn a_guest_of_the_sdk_asks_its_platform_when_built_for_wasip2_too() {
    for name in ["fetch", "fetch-wasm32-wasip2"] {
        let path = guest(name);
        let (bench, platform) = (Bench::new(), Platform::default());
        let provider = fetch(&bench, &platform, path).await;
        let status = provider.get_replicas(&figlet()).await.unwrap();
        assert_eq!((status.replicas, status.available_replicas), (3, 2), "{name}");
        let set = provider.changes(&[figlet().namespace], Some("7"), Duration::from_secs(1)).await.unwrap();
        assert_eq!((set.cursor.as_str(), set.changed.len()), ("8", 1), "{name}");
        let asked: Vec<_> =
            platform.seen().into_iter().map(|(method, path, _, _)| format!("{method} {path}")).collect();
        assert_eq!(asked, ["GET /replicas/figlet", "GET /changes?cursor=7&timeout=1000"], "{name}");
    }
}

/// The guest that asks for everything, with a platform that has three instances, two of them ready.
async fn fetch(bench: &Bench, platform: &Platform, component: PathBuf) -> PluginProvider {
    let script: fn(&str, &str) -> (u16, &'static str) = |_, path| match path {
        path if path.starts_with("/changes") => (200, r#"[8,[["figlet",3,2]]]"#),
        _ => (200, "[3,2]"),
    };
    let mut grant = Grant::new(platform.serve(script).await.parse().unwrap());
    grant.rules = ["GET /replicas/*", "GET /changes?cursor=*&timeout=*"].map(|rule| rule.parse().unwrap()).into();
    let mut config = bench.config("good", Limits { cpu_time: Duration::from_secs(5), ..limits() });
    config.component = ComponentSource::File(component);
    config.grants.insert("platform".to_owned(), grant);
    let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
    let parts = HostParts { egress, ..bench.parts(&config) };
    let provider = PluginProvider::new(&config);
    provider.publish(bench.plugins.load(&config, parts).await.unwrap_or_else(|error| panic!("{}", error.refusal)));
    provider
}

#[tokio::test]
async fn an_instance_that_asked_its_platform_is_used_again() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let provider = faas_provider(&bench, &platform, faasd).await;
    for _ in 0..3 {
        provider.get_replicas(&figlet()).await.unwrap();
        assert!(bench.exposes(r#"wicketgate_plugin_instances{provider="edge"} 1"#), "it was dropped");
    }
    provider.set_replicas(&figlet(), 1).await.unwrap();
    assert!(bench.exposes(r#"wicketgate_plugin_instances{provider="edge"} 1"#), "it was dropped after a body was sent");
}

#[tokio::test]
async fn a_watch_of_a_real_guest_ends_when_another_generation_is_published() {
    let path = guest("fetch");
    // A platform on which nothing changes: it takes the question and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut grant = Grant::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    grant.rules = vec!["GET /changes?cursor=*&timeout=*".parse().unwrap()];
    let bench = Bench::new();
    let mut config = bench.config("good", Limits { cpu_time: Duration::from_secs(5), ..limits() });
    config.component = ComponentSource::File(path);
    config.grants.insert("platform".to_owned(), grant);
    let load = async || {
        let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
        let parts = HostParts { egress, ..bench.parts(&config) };
        bench.plugins.load(&config, parts).await.map_err(|error| error.refusal).unwrap()
    };
    let provider = PluginProvider::new(&config);
    provider.publish(load().await);
    let next = load().await;
    let publish = async {
        let (held, _peer) = listener.accept().await.unwrap();
        assert_eq!(provider.publish(next), Generation(2));
        held
    };
    let namespaces = ["dev".parse().unwrap()];
    let watch = provider.changes(&namespaces, Some("1"), Duration::from_secs(30));
    let both = async { tokio::join!(watch, publish) };
    let (answer, _held) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("long before its own end");
    assert_eq!(answer.unwrap_err().cause, Cause::Platform(ErrorKind::CursorExpired));
    // No call is left over, and the next generation can be watched.
    let retired = provider.take_retiring().pop().unwrap().ended().await;
    assert_eq!(retired, Retired { generation: Generation(1), overdue: 0 });
}
