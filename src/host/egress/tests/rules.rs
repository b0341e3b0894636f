//! What is refused before it reaches the platform, and what of a request passes.

use std::pin::pin;

use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;

use super::server::Server;
use super::*;
use crate::host::grant::{Mode, RuleSpec};
use crate::query::Fault;

#[tokio::test]
async fn an_unknown_name_is_denied_and_says_what_to_write() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /**"]));
    for asked in ["169.254.169.254", "127.0.0.1", "platform:80", "PLATFORM", "user@platform", "other"] {
        let request = Request::get(format!("http://{asked}/latest/meta-data?x=1")).body(Full::default()).unwrap();
        let error = edge.send(request).await.unwrap_err();
        assert_eq!(
            (error.denial(), error.fault(), error.is_retryable()),
            (Some("unknown-grant"), Fault::Plugin, false)
        );
        let said = said(&error);
        assert!(said.contains("granted: platform"), "{said}");
        assert!(said.contains(&format!("[provider.edge.grant.{asked}]")), "{said}");
        assert!(said.contains("allow = [\"GET /latest/meta-data?x=*\"]"), "{said}");
    }
    let own = Request::get(format!("http://127.0.0.1:{}/", server.port)).body(Full::default()).unwrap();
    assert_eq!(edge.send(own).await.unwrap_err().denial(), Some("unknown-grant"));
    assert!(server.seen().is_empty());
    assert_eq!(server.connections(), 0);
    let metrics = edge.metrics();
    assert!(
        metrics.contains("wicketgate_egress_denied_total{provider=\"edge\",reason=\"unknown-grant\"} 7"),
        "{metrics}"
    );
    // A guest's text never becomes a label.
    assert!(!metrics.contains("169.254"), "{metrics}");
}

#[tokio::test]
async fn without_grants_nothing_is_reached() {
    let egress = Egress::closed(&"edge".parse().unwrap(), &EgressMetrics::new(&Registry::default()));
    let meter = Arc::new(EgressMeter::new(limits()));
    let error = egress.send(get("/"), Access::Full, &meter, Timeouts::default()).await.unwrap_err();
    assert!(said(&error).contains("granted: nothing"), "{error}");
    assert!(egress.client("platform").is_none());
}

#[tokio::test]
async fn what_no_rule_allows_never_reaches_the_platform() {
    let server = Server::start().await;
    let edge =
        Edge::new(grant(server.port, &["GET /services*", "POST /services/*/update?version=*", "GET /ns/{namespace}"]));
    for (method, target, rule) in [
        ("GET", "/secrets", "GET /secrets"),
        ("POST", "/services", "POST /services"),
        ("GET", "/services?all=TOP-SECRET", "GET /services?all=*"),
        ("GET", "/services/1", "GET /services/1"),
        (
            "POST",
            "/services/1/update?registryAuth=TOP-SECRET&version=1",
            "POST /services/1/update?registryAuth=*&version=*",
        ),
        ("GET", "/ns/prod", "GET /ns/prod"),
        ("CONNECT", "/services", "CONNECT /services"),
    ] {
        let request = Request::builder().method(method).uri(format!("http://platform{target}"));
        let error = edge.send(request.body(Full::default()).unwrap()).await.unwrap_err();
        assert_eq!(error.denial(), Some("no-rule"), "{method} {target}");
        let said = said(&error);
        assert!(said.contains(&format!("add \"{rule}\" to `allow` under [provider.edge.grant.platform]")), "{said}");
        assert!(!said.contains("TOP-SECRET"), "{said}");
    }
    for target in ["/services/../secrets", "/services%2f1", "//services", "/services/%2e%2e/x", "/services?a=1;b=2"] {
        let error = edge.get(target).await.unwrap_err();
        assert_eq!(error.denial(), Some("unsafe-target"), "{target}");
        assert!(said(&error).contains("is never sent"), "{error}");
    }
    assert!(server.seen().is_empty());
    assert_eq!(server.connections(), 0);

    assert_eq!(text(edge.get("/services1").await.unwrap()).await, "ok");
    assert_eq!(text(edge.send(post("/services/1/update?version=7", "x")).await.unwrap()).await, "ok");
    assert_eq!(text(edge.get("/ns/dev").await.unwrap()).await, "ok");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn until_it_is_published_a_plugin_only_reads() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /a", "POST /b"]);
    let search =
        RuleSpec { method: "POST".into(), path: "/search".into(), effect: Some("read".into()), ..RuleSpec::default() };
    granted.rules.push(Rule::from_spec(&search).unwrap());
    granted.mode = Mode::DryRun;
    let edge = Edge::new(granted);
    let send = |request| edge.egress.send(request, Access::ReadOnly, &edge.meter, Timeouts::default());

    assert_eq!(text(send(get("/a")).await.unwrap()).await, "ok");
    assert_eq!(text(send(post("/search", "")).await.unwrap()).await, "ok");
    let error = send(post("/b", "")).await.unwrap_err();
    assert_eq!(error.denial(), Some("read-only"));
    assert!(said(&error).contains("\"POST /b\" has effect \"write\""), "{error}");
    // Not even a dry run opens more.
    assert_eq!(send(post("/c", "")).await.unwrap_err().denial(), Some("no-rule"));
    assert_eq!(send(get("/c")).await.unwrap_err().denial(), Some("no-rule"));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_dry_run_counts_and_sends() {
    let server = Server::start().await;
    let edge = Edge::new(Grant { mode: Mode::DryRun, ..grant(server.port, &[]) });
    assert_eq!(text(edge.send(post("/anything?x=1", "")).await.unwrap()).await, "ok");
    assert_eq!(edge.get("/a/../b").await.unwrap_err().denial(), Some("unsafe-target"));
    assert_eq!(server.only().target, "/anything?x=1");
    let metrics = edge.metrics();
    assert!(metrics.contains("wicketgate_egress_denied_total{provider=\"edge\",reason=\"dry-run\"} 1"), "{metrics}");
}

#[tokio::test]
async fn header_fields_outside_the_allowlist_are_left_out() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &[]);
    let spec = RuleSpec {
        method: "POST".into(),
        path: "/x".into(),
        headers: [("x-team".to_owned(), "*".to_owned())].into(),
        ..RuleSpec::default()
    };
    granted.rules.push(Rule::from_spec(&spec).unwrap());
    let edge = Edge::new(granted);
    let mut request = post("/x", "payload");
    let fields = [
        ("accept", true),
        ("content-type", true),
        ("if-match", true),
        ("x-amz-target", true),
        ("x-team", true),
        ("x-unknown", false),
        ("authorization", false),
        ("cookie", false),
        ("impersonate-user", false),
        ("x-forwarded-for", false),
        ("x-remote-user", false),
        ("forwarded", false),
        ("x-http-method-override", false),
        ("proxy-authorization", false),
        ("te", false),
        ("upgrade", false),
        ("expect", false),
        ("transfer-encoding", false),
        ("x-registry-auth", false),
    ];
    for (name, _passes) in fields {
        request.headers_mut().insert(name, HeaderValue::from_static("value"));
    }
    request.headers_mut().insert("host", HeaderValue::from_static("elsewhere"));
    assert_eq!(text(edge.send(request).await.unwrap()).await, "ok");
    let seen = server.only();
    for (name, passes) in fields {
        assert_eq!(seen.field(name).is_some(), passes, "{name}");
    }
    assert_eq!(seen.field("host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
    assert_eq!(seen.field("content-length"), Some("7"));
    assert_eq!(&seen.body[..], b"payload");
}

#[tokio::test]
async fn trailers_of_a_request_are_left_out() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["POST /x"]));
    let trailers = HeaderMap::from_iter([("x-late".parse().unwrap(), HeaderValue::from_static("1"))]);
    let frames: [Result<_, std::convert::Infallible>; 2] =
        [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
    let request = Request::post("http://platform/x")
        .header("trailer", "x-late")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let response = edge.egress.send(request, Access::Full, &edge.meter, Timeouts::default()).await.unwrap();
    assert_eq!(text(response).await, "ok");
    let seen = server.only();
    assert_eq!((&seen.body[..], seen.has_trailers), (&b"data"[..], false));
}

#[tokio::test]
async fn the_base_path_comes_first_and_is_no_part_of_the_rules() {
    let server = Server::start().await;
    let edge =
        Edge::new(Grant { base: "/v1.41".parse().unwrap(), ..grant(server.port, &["GET /services*?filters=*"]) });
    text(edge.get("/services?filters=%7B%7D").await.unwrap()).await;
    assert_eq!(server.only().target, "/v1.41/services?filters=%7B%7D");
    assert_eq!(edge.get("/v1.41/services").await.unwrap_err().denial(), Some("no-rule"));
    let client = edge.egress.client("platform").unwrap();
    assert_eq!((client.base(), client.scheme().as_str()), ("/v1.41", "http"));
}

#[tokio::test]
async fn functions_are_forwarded_only_below_the_path_that_the_operator_opened() {
    let client = |functions: Option<&str>| {
        let functions = functions.map(|path| path.parse().unwrap());
        Edge::new(Grant { functions, ..grant(9, &["GET /**"]) }).egress.client("platform").unwrap()
    };
    let closed = client(None);
    assert!(!closed.admits("") && !closed.admits("/function/figlet.dev"));
    let open = client(Some("/function/"));
    for path in ["/function", "/function/figlet.dev", "/function/figlet.dev/a"] {
        assert!(open.admits(path), "{path}");
    }
    for path in
        ["", "/", "/functions", "/system/secrets", "/function/../system/secrets", "/function/x/..%2f..%2fsystem"]
    {
        assert!(!open.admits(path), "{path}");
    }
    assert!(client(Some("/")).admits("/anything") && client(Some("/")).admits(""));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /redirect"]));
    let response = edge.get("/redirect").await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &HeaderValue::from_static("/secret"))
    );
    assert_eq!(server.only().target, "/redirect");
}

#[tokio::test]
async fn sequential_requests_share_one_connection() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /x"]));
    for _ in 0..20 {
        assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
    }
    assert_eq!((server.seen().len(), server.connections()), (20, 1));
    let metrics = edge.metrics();
    let opened = "wicketgate_egress_connections_opened_total{grant=\"platform\",provider=\"edge\"} 1";
    assert!(metrics.contains(opened), "{metrics}");
    let answered = "wicketgate_egress_requests_total{grant=\"platform\",outcome=\"answered\",provider=\"edge\"} 20";
    assert!(metrics.contains(answered), "{metrics}");
}

#[tokio::test]
async fn a_unix_socket_is_a_place_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("platform.sock");
    let server = Server::start_unix(&path);
    let edge = Edge::new(Grant { connect: Connect::Unix { path }, ..grant(1, &["GET /x"]) });
    for _ in 0..3 {
        assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 1));
    assert_eq!(server.seen()[0].field("host"), Some("localhost"));
}

#[test]
fn addresses_that_are_never_dialled_are_refused_at_load() {
    for host in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1"]
    {
        let connect = Connect::Tcp { tls: false, host: host.to_owned(), port: 80 };
        let error = Edge::try_new(Grant::new(connect)).map(|_| ()).unwrap_err();
        assert!(said(&error).contains("which is never dialled"), "{host}: {}", said(&error));
    }
}

#[tokio::test]
async fn names_are_judged_by_the_address_they_turn_out_to_mean() {
    let edge = Edge::new(grant(9, &["GET /x"]));
    let client = edge.egress.client("platform").unwrap();
    let check = client.target().check.as_ref().unwrap();
    for address in
        ["169.254.169.254:80", "[fd00:ec2::254]:80", "[::ffff:169.254.170.2]:80", "[ff02::1]:80", "0.0.0.0:80"]
    {
        assert!(check.check("innocent.example", address.parse().unwrap()).is_err(), "{address}");
    }
    for address in ["127.0.0.1:80", "10.0.0.7:80", "[::1]:80", "203.0.113.9:80"] {
        assert_eq!(check.check("innocent.example", address.parse().unwrap()), Ok(()), "{address}");
    }
}

#[tokio::test]
async fn nobody_there_is_the_platforms_fault_and_may_be_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let edge = Edge::new(grant(port, &["GET /x"]));
    let error = edge.get("/x").await.unwrap_err();
    assert_eq!((error.fault(), error.is_retryable(), error.denial()), (Fault::Platform, true, None));
    assert_eq!(error.outcome(), "unreachable");
    assert!(said(&error).starts_with("provider edge: grant platform: "), "{}", said(&error));
}

#[tokio::test]
async fn a_dropped_request_frees_its_place() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /hold", "GET /x"]);
    granted.limits.in_flight = std::num::NonZeroU32::MIN;
    let edge = Edge::new(granted);
    {
        let held = pin!(edge.get("/hold"));
        let waits = futures_util::future::poll_immediate(held).await;
        assert!(waits.is_none());
    }
    assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
}
