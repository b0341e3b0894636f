//! The admin API over a platform that is a table: what goes in, what comes out, what was asked.

mod logs;
mod table;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use http_body_util::Full;

use super::*;
use crate::provider::{Directory, EndpointPolicy, Entry};
use crate::shutdown;
use table::Table;

/// An admin API, and what was asked of its tables and forgotten by its scaler.
struct Fixture {
    admin: Admin,
    asked: Vec<Arc<Mutex<Vec<String>>>>,
    forgotten: Arc<Mutex<Vec<String>>>,
    unready: Arc<Mutex<Option<String>>>,
    trigger: shutdown::Trigger,
}

/// Tables with their namespaces; the first one is the default provider.
fn fixture(tables: Vec<(Table, &[&str])>) -> Fixture {
    fixture_with(tables, |_| {})
}

fn fixture_with(tables: Vec<(Table, &[&str])>, change: impl FnOnce(&mut Config)) -> Fixture {
    let asked = tables.iter().map(|(table, _)| Arc::clone(&table.asked)).collect();
    let entries = tables.into_iter().enumerate().map(|(index, (table, namespaces))| Entry {
        provider: Arc::new(table),
        endpoints: EndpointPolicy::default(),
        namespaces: namespaces.iter().map(|name| name.parse().unwrap()).collect(),
        is_default: index == 0,
    });
    let (forgotten, unready) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Option<String>>>::default());
    let (trigger, drain) = shutdown::channel();
    let mut config = Config::new("openfaas-fn".parse().unwrap());
    change(&mut config);
    let parts = Parts {
        directory: Arc::new(Directory::new(entries.collect())),
        invalidate: Arc::new({
            let forgotten = Arc::clone(&forgotten);
            move |function| forgotten.lock().unwrap().push(function.to_string())
        }),
        drain,
        unready: Arc::new({
            let unready = Arc::clone(&unready);
            move || Readiness { reason: unready.lock().unwrap().clone(), notes: Vec::new() }
        }),
        registry: Registry::default(),
        runtime: tokio::runtime::Handle::current(),
    };
    Fixture { admin: Admin::new(config, parts).unwrap(), asked, forgotten, unready, trigger }
}

impl Fixture {
    async fn send(&self, method: &str, target: &str, body: &'static str) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "localhost:8080")
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap();
        self.admin.answer(request, "127.0.0.1:9".parse().unwrap()).await
    }

    /// Status and body.
    async fn ask(&self, method: &str, target: &str, body: &'static str) -> (u16, String) {
        let response = self.send(method, target, body).await;
        let status = response.status().as_u16();
        (status, text(response).await)
    }

    fn asked(&self) -> Vec<String> {
        self.asked[0].lock().unwrap().clone()
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn names(body: &str) -> Vec<String> {
    let values: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    values.iter().map(|value| value["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_has_all_pages_of_all_providers_with_the_gateways_counts() {
    let fixture = fixture(vec![
        (Table::new("one").with_functions(&["a", "b", "c"]), &[]),
        (Table::new("two").with_functions(&["d"]), &["dev"]),
    ]);
    let counters = fixture.admin.shared.parts.registry.counters(
        "gateway_function_invocation_total",
        "H.",
        &["function_name", "code"],
    );
    counters.with_label_values(&["b.openfaas-fn", "200"]).inc_by(7);
    let (status, body) = fixture.ask("GET", "/system/functions", "").await;
    assert_eq!((status, names(&body)), (200, vec!["a".into(), "b".into(), "c".into(), "d".into()]));
    assert!(body.contains(r#""name":"b","image":"","namespace":"openfaas-fn","invocationCount":7"#), "{body}");
    assert_eq!(fixture.asked().len(), 3, "one call for each page: {:?}", fixture.asked());
}

#[tokio::test]
async fn a_provider_that_is_down_hides_only_its_own_functions() {
    let fixture = fixture(vec![(Table::new("one").with_functions(&["a"]), &[]), (Table::new("two").down(), &["dev"])]);
    let response = fixture.send("GET", "/system/functions", "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[answer::PARTIAL], "two/dev");
    assert_eq!(names(&text(response).await), ["a"]);
    assert_eq!(fixture.ask("GET", "/system/functions?namespace=dev", "").await.0, 503);
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused() {
    let fixture =
        fixture_with(vec![(Table::new("one").with_functions(&["a", "b", "c"]), &[])], |config| config.list_entries = 2);
    assert_eq!(fixture.ask("GET", "/system/functions", "").await.0, 503);
}

#[tokio::test]
async fn an_empty_platform_is_an_empty_list() {
    assert_eq!(fixture(vec![(Table::new("one"), &[])]).ask("GET", "/system/functions", "").await, (200, "[]".into()));
}

#[tokio::test]
async fn writes_reach_the_platform_and_are_forgotten_by_the_scaler() {
    let fixture = fixture(vec![(Table::new("one"), &[])]);
    for (method, target, body) in [
        ("POST", "/system/functions", r#"{"service":"a","image":"i"}"#),
        ("PUT", "/system/functions", r#"{"service":"a","image":"i","namespace":"dev"}"#),
        ("DELETE", "/system/functions", r#"{"functionName":"a"}"#),
        ("POST", "/system/scale-function/a", r#"{"serviceName":"a","replicas":0}"#),
        ("POST", "/system/scale-function/a?namespace=dev", r#"{"replicas":70}"#),
    ] {
        assert_eq!(fixture.ask(method, target, body).await, (202, String::new()), "{method} {target} {body}");
    }
    assert_eq!(
        fixture.asked(),
        [
            "deploy a.openfaas-fn i",
            "update a.dev",
            "delete a.openfaas-fn",
            "set-replicas a.openfaas-fn 0",
            "set-replicas a.dev 70"
        ]
    );
    assert_eq!(
        *fixture.forgotten.lock().unwrap(),
        ["a.openfaas-fn", "a.dev", "a.openfaas-fn", "a.openfaas-fn", "a.dev"]
    );
}

#[tokio::test]
async fn bad_input_is_a_400_with_a_sentence_and_asks_nobody() {
    let fixture = fixture(vec![(Table::new("one"), &[])]);
    for (method, target, body) in [
        ("POST", "/system/functions", ""),
        ("POST", "/system/functions", "{}"),
        ("DELETE", "/system/functions", "[]"),
        ("POST", "/system/scale-function/a", r#"{"replicas":-1}"#),
        ("POST", "/system/scale-function/a", r#"{"serviceName":"b","replicas":1}"#),
        ("POST", "/system/scale-function/a?namespace=x", r#"{"namespace":"y","replicas":1}"#),
        ("GET", "/system/function/a?namespace=b.c", ""),
        ("GET", "/system/function/..", ""),
        ("GET", "/system/logs", ""),
        ("GET", "/system/logs?name=a&tail=x", ""),
        ("GET", "/system/logs?name=a&since=yesterday", ""),
        ("POST", "/system/namespace/dev", r#"{"name":"prod"}"#),
        ("POST", "/system/secrets", r#"{"name":"a","rawValue":"%"}"#),
    ] {
        let (status, body) = fixture.ask(method, target, body).await;
        assert_eq!(status, 400, "{method} {target}: {body}");
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(value["error"]["message"].as_str().unwrap().len() > 10, "{body}");
    }
    assert!(fixture.asked().is_empty(), "{:?}", fixture.asked());
}

#[tokio::test]
async fn a_body_above_the_limit_is_a_413() {
    let fixture = fixture_with(vec![(Table::new("one"), &[])], |config| config.body_bytes = 4);
    assert_eq!(fixture.ask("POST", "/system/functions", "{    }").await.0, 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_a_408() {
    struct Never;
    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
            Poll::Pending
        }
    }
    let fixture = fixture(vec![(Table::new("one"), &[])]);
    let request = Request::post("/system/functions").header("host", "localhost").body(Never).unwrap();
    assert_eq!(fixture.admin.answer(request, "127.0.0.1:9".parse().unwrap()).await.status(), 408);
}

#[tokio::test]
async fn one_function_is_shown_whether_or_not_the_plugin_has_functions() {
    let fixture = fixture(vec![(Table::new("one").with_functions(&["a"]), &[])]);
    let (status, body) = fixture.ask("GET", "/system/function/a?usage=1", "").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""replicas":1"#), "{body}");
    assert_eq!(fixture.asked(), ["get a.openfaas-fn true"]);
    assert_eq!(fixture.ask("GET", "/system/function/b", "").await.0, 404);

    let mut small = Table::new("small");
    small.interfaces.clear();
    let fixture = self::fixture(vec![(small, &[])]);
    let (status, body) = fixture.ask("GET", "/system/function/a", "").await;
    assert_eq!((status, body.contains(r#""replicas":2"#)), (200, true), "{body}");
    let (status, body) = fixture.ask("GET", "/system/functions", "").await;
    assert_eq!(status, 501);
    assert!(body.contains("functions"), "{body}");
}

#[tokio::test]
async fn a_namespace_that_nobody_serves_is_a_404() {
    let directory = Directory::new(Vec::new());
    let mut fixture = fixture(vec![]);
    let shared = Arc::get_mut(&mut fixture.admin.shared).unwrap();
    shared.parts.directory = Arc::new(directory);
    assert_eq!(fixture.ask("GET", "/system/function/a", "").await.0, 404);
    assert_eq!(fixture.ask("GET", "/system/info", "").await.0, 200);
}

#[tokio::test]
async fn info_has_the_platform_or_null() {
    let (status, body) = fixture(vec![(Table::new("one"), &[])]).ask("GET", "/system/info", "").await;
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(value["provider"]["provider"], "table");
    assert_eq!(value["provider"]["orchestration"], "none");
    assert_eq!(value["version"]["release"], env!("CARGO_PKG_VERSION"));
    let (status, body) = fixture(vec![(Table::new("one").down(), &[])]).ask("GET", "/system/info", "").await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"provider":null"#), "{body}");
}

#[tokio::test]
async fn namespaces_are_those_that_the_operator_gave() {
    let fixture = fixture(vec![(Table::new("one"), &[]), (Table::new("two"), &["dev", "edge"])]);
    let (status, body) = fixture.ask("GET", "/system/namespaces", "").await;
    assert_eq!((status, body.as_str()), (200, r#"["dev","edge","openfaas-fn","staging"]"#));
    assert_eq!(fixture.ask("POST", "/system/namespace/", r#"{"name":"new"}"#).await.0, 201);
    assert_eq!(fixture.ask("DELETE", "/system/namespace/new", "").await.0, 202);
    let (status, body) = fixture.ask("GET", "/system/namespace/new", "").await;
    assert_eq!((status, body.as_str()), (200, r#"{"name":"new"}"#));
    assert_eq!(
        fixture.asked(),
        ["list-namespaces", "create-namespace new", "delete-namespace new", "get-namespace new"]
    );
    let (status, body) = fixture.ask("PUT", "/system/namespace/new", "{}").await;
    assert_eq!(status, 501);
    assert!(body.contains("namespaces"), "{body}");
}

#[tokio::test]
async fn secrets_go_in_and_only_their_names_come_out() {
    let fixture = fixture(vec![(Table::new("one"), &[])]);
    let (status, body) = fixture.ask("GET", "/system/secrets?namespace=dev", "").await;
    assert_eq!((status, body.as_str()), (200, r#"[{"name":"key","namespace":"dev"}]"#));
    assert_eq!(fixture.ask("POST", "/system/secrets", r#"{"name":"key","rawValue":"AQI="}"#).await.0, 202);
    assert_eq!(fixture.asked()[1], "create-secret key.openfaas-fn [1, 2]");
}

#[tokio::test]
async fn readiness_is_said_by_the_gateway_and_health_by_the_process() {
    let fixture = fixture(vec![(Table::new("one").down(), &[])]);
    assert_eq!(fixture.ask("GET", "/healthz", "").await, (200, "OK".into()));
    assert_eq!(fixture.ask("GET", "/readyz", "").await, (200, "OK".into()));
    *fixture.unready.lock().unwrap() = Some("the gateway is draining".into());
    let (status, body) = fixture.ask("GET", "/readyz", "").await;
    assert_eq!(status, 503);
    assert!(body.contains("the gateway is draining"), "{body}");
    *fixture.unready.lock().unwrap() = None;
    fixture.trigger.drain();
    assert_eq!(fixture.ask("GET", "/readyz", "").await.0, 503);
    assert_eq!(fixture.ask("GET", "/", "").await.0, 200);
}

#[tokio::test]
async fn no_route_comes_before_no_method_and_that_before_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("both");
    std::fs::write(&file, "admin").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let fixture = fixture_with(vec![(Table::new("one"), &[])], |config| {
        config.auth = Auth::Basic { user_file: file.clone(), password_file: file };
    });
    let (status, body) = fixture.ask("GET", "/system/nothing", "").await;
    assert_eq!((status, body.as_str()), (404, "404 page not found\n"));
    assert_eq!(fixture.ask("PATCH", "/system/functions", "").await, (405, String::new()));
    let response = fixture.send("GET", "/system/functions", "").await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"Restricted\"");
    assert_eq!(text(response).await, "invalid credentials");
    assert_eq!(fixture.ask("GET", "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn without_credentials_a_caller_from_elsewhere_reads_how_to_get_in() {
    let fixture = fixture(vec![(Table::new("one"), &[])]);
    let request =
        Request::get("/system/functions").header("host", "gateway:8080").body(Full::new(Bytes::new())).unwrap();
    let response = fixture.admin.answer(request, "192.0.2.1:9".parse().unwrap()).await;
    assert_eq!(response.status(), 403);
    assert!(text(response).await.contains("user-file"));
}
