//! What becomes of a request on its way to a function and of the answer on its way back.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Connection, Gateway, Platform, gateway};

/// A gateway before a function that has an instance and does `run`.
fn with_function(run: &str, tables: &str) -> (Platform, Gateway) {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1, "run": run }));
    let gateway = gateway(&platform, tables);
    (platform, gateway)
}

fn fields(echo: &Value, name: &str) -> Vec<String> {
    let all = echo["headers"].as_array().unwrap().iter();
    all.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn path_and_query_arrive_as_they_were_written() {
    let (_platform, gateway) = with_function("echo", "");
    for rest in
        ["", "/", "/a/b/", "/a%2Fb", "/%25", "/a%20b?q=%20+&r", "/%3Fnot=query", "?only=query", "/a..b", "/%C3%A4"]
    {
        let reply = gateway.get(&format!("/function/figlet{rest}"));
        assert_eq!(reply.status, 200, "{rest}: {}", reply.text());
        let target = reply.json()["target"].as_str().unwrap().to_owned();
        // The platform knows the function with or without its namespace.
        let arrived =
            target.strip_prefix("/function/figlet.openfaas-fn").or_else(|| target.strip_prefix("/function/figlet"));
        assert_eq!(arrived, Some(rest), "{target}");
    }
}

#[test]
fn method_status_and_fields_pass_both_ways() {
    let (_platform, gateway) = with_function("echo", "");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let reply = gateway.send(method, "/function/figlet", &[("x-mine", "1"), ("x-mine", "2")], "");
        assert_eq!(reply.status, 200, "{method}");
        let echo = reply.json();
        assert_eq!(echo["method"], method);
        assert_eq!(fields(&echo, "x-mine"), ["1", "2"]);
    }
    let (_platform, gateway) = with_function("status:418", "");
    let reply = gateway.get("/function/figlet");
    assert_eq!((reply.status, reply.text().as_str()), (418, "said 418"));
    assert_eq!(reply.header("x-duration-seconds"), Some("0.1"));
    assert_eq!(reply.header("x-wicketgate-error"), None, "a function's own failure is not the gateway's");
}

#[test]
fn a_call_has_an_id_and_a_start_time_on_both_sides() {
    let (_platform, gateway) = with_function("echo", "");
    let reply = gateway.get("/function/figlet");
    let id = reply.header("x-call-id").unwrap().to_owned();
    let echo = reply.json();
    assert_eq!(fields(&echo, "x-call-id"), [id]);
    let start: u128 = reply.header("x-start-time").unwrap().parse().unwrap();
    assert!(start > 1_700_000_000_000_000_000, "nanoseconds: {start}");
    assert_eq!(fields(&echo, "x-start-time"), [start.to_string()]);
    let reply = gateway.send("GET", "/function/figlet", &[("x-call-id", "mine-1")], "");
    assert_eq!(fields(&reply.json(), "x-call-id"), ["mine-1"]);
    assert_eq!(reply.header("x-call-id"), Some("mine-1"));
}

#[test]
fn content_length_is_kept_and_large_bodies_arrive_whole() {
    let (_platform, gateway) = with_function("echo", "");
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let reply = gateway.post("/function/figlet", &body);
    let echo = reply.json();
    let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(echo["sha256"], digest);
    assert_eq!(fields(&echo, "content-length"), [body.len().to_string()]);
    assert_eq!(fields(&echo, "transfer-encoding"), [""; 0]);

    let (_platform, gateway) = with_function("bytes:3000000", "");
    let reply = gateway.get("/function/figlet");
    assert_eq!((reply.body.len(), reply.header("content-length")), (3_000_000, Some("3000000")));
}

#[test]
fn fields_for_the_next_hop_stay_here() {
    let (_platform, gateway) = with_function("echo", "");
    let sent = [
        ("connection", "x-secret-hop, keep-alive"),
        ("x-secret-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let echo = gateway.send("GET", "/function/figlet", &sent, "").json();
    for gone in ["x-secret-hop", "keep-alive", "proxy-authorization"] {
        assert_eq!(fields(&echo, gone), [""; 0], "{gone}");
    }
    assert!(fields(&echo, "x-forwarded-for").join(",").contains("203.0.113.9"), "{echo}");
}

#[test]
fn a_stream_is_passed_on_piece_by_piece() {
    let (platform, gateway) = with_function("stream", "");
    let mut connection = gateway.connect();
    connection.begin("GET", "/function/figlet", &[], b"");
    let (status, _headers) = connection.head();
    assert_eq!(status, 200);
    // The second piece is not sent before the first one was seen here.
    assert_eq!(connection.chunk().unwrap(), b"data: first\n\n");
    platform.release();
    assert_eq!(connection.chunk().unwrap(), b"data: second\n\n");
    assert_eq!(connection.chunk().unwrap(), b"");
}

#[test]
fn both_bodies_stream_at_once() {
    let (_platform, gateway) = with_function("duplex", "");
    let mut connection = gateway.connect();
    connection.begin("POST", "/function/figlet", &[("transfer-encoding", "chunked"), ("x-test-duplex", "1")], b"");
    for word in ["one", "two", "three"] {
        connection.write(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes());
        if word == "one" {
            assert_eq!(connection.head().0, 200);
        }
        assert_eq!(connection.chunk().unwrap(), word.to_uppercase().as_bytes());
    }
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.chunk().unwrap(), b"");
}

#[test]
fn a_websocket_is_joined_end_to_end() {
    let (_platform, gateway) = with_function("upgrade", "");
    let mut connection = gateway.connect();
    // The key and its answer are those of RFC 6455 section 1.3.
    let fields = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    connection.begin("GET", "/function/figlet", &fields, b"");
    let (status, headers) = connection.head();
    assert_eq!(status, 101, "{headers:?}");
    let accept = ("sec-websocket-accept".to_owned(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
    assert!(headers.contains(&accept), "{headers:?}");
    for word in ["hello", "again"] {
        connection.write(word.as_bytes());
        assert_eq!(connection.bytes(word.len()), word.to_uppercase().as_bytes());
    }
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_too() {
    let (_platform, gateway) = tokio::task::spawn_blocking(|| with_function("echo", "")).await.unwrap();
    let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut replies = Vec::new();
    for number in 0..10 {
        let request = http::Request::post(format!("http://{}/function/figlet/{number}", gateway.address()))
            .body(Full::new(Bytes::from(format!("body {number}"))))
            .unwrap();
        replies.push(sender.send_request(request));
    }
    for (number, reply) in replies.into_iter().enumerate() {
        let reply = tokio::time::timeout(Duration::from_secs(60), reply).await.unwrap().unwrap();
        assert_eq!(reply.status(), 200);
        let echo: Value = serde_json::from_slice(&reply.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(echo["body"], format!("body {number}"));
    }
    driver.abort();
}

#[test]
fn an_answer_that_is_cut_does_not_look_complete() {
    let (_platform, gateway) = with_function("cut", "");
    let reply = gateway.get("/function/figlet");
    assert!(reply.status == 200 && !reply.is_complete && reply.body.len() <= 500, "{reply:?}");
}

#[test]
fn a_function_that_says_nothing_is_a_504_at_the_deadline() {
    let (platform, gateway) = with_function("hang", "[forward]\nupstream-timeout = \"300ms\"\n");
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.code(504), "upstream_timeout");
    platform.release();
}

#[test]
fn a_body_that_is_too_long_is_a_413() {
    let (platform, gateway) = with_function("echo", "[forward]\nbody-bytes = 1024\n");
    assert_eq!(gateway.post("/function/figlet", [b'x'; 1024]).status, 200);
    assert_eq!(gateway.post("/function/figlet", [b'x'; 1025]).code(413), "body_too_large");
    // One that does not say how long it is.
    let mut connection = gateway.connect();
    connection.begin("POST", "/function/figlet", &[("transfer-encoding", "chunked")], b"");
    connection.write(format!("600\r\n{}\r\n", "x".repeat(0x600)).as_bytes());
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.reply("POST").code(413), "body_too_large");
    assert_eq!(gateway.post("/function/figlet", "x").status, 200);
    drop(platform);
}

#[test]
fn a_header_that_is_too_long_is_a_431() {
    let (_platform, gateway) = with_function("echo", "[listen]\nheader-bytes = \"8KiB\"\nheader-fields = 40\n");
    let reply = gateway.send("GET", "/function/figlet", &[("x-long", &"x".repeat(20_000))], "");
    assert_eq!(reply.code(431), "header_too_large");
    assert!(reply.text().contains("more than 8192 bytes"), "{}", reply.text());
    let reply = gateway.send("GET", "/function/figlet", &[("x-one-of-many", "x"); 41], "");
    assert_eq!(reply.code(431), "header_too_large");
    assert!(reply.text().contains("more than 40 header fields"), "{}", reply.text());
    assert_eq!(gateway.get("/function/figlet").status, 200);
}

#[test]
fn a_bad_name_is_a_400() {
    let (platform, gateway) = with_function("echo", "");
    for name in ["fig~let", "fig%20let", "a..", ".a", "a%2Fb", &"x".repeat(300), "%ff"] {
        let reply = gateway.get(&format!("/function/{name}"));
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert!(!reply.code(400).is_empty());
    }
    for hidden in
        ["/function/figlet/%2e%2e/other", "/function/figlet/%2E/x", "/function/figlet/..%5cx", "/function/figlet/..\\x"]
    {
        assert_eq!(gateway.get(hidden).status, 400, "{hidden}");
    }
    assert_eq!(platform.count("GET", "/system/function/fig~"), 0);
}

#[test]
fn what_is_no_http_is_refused_and_takes_nothing_with_it() {
    let (_platform, gateway) = with_function("echo", "");
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /function/figlet HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /function/figlet HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut connection = gateway.connect();
        connection.write(bytes);
        let mut answer = Vec::new();
        while !connection.is_closed() && answer.len() < 4096 {
            answer.push(0);
        }
    }
    assert_eq!(gateway.get("/function/figlet").status, 200);
}

#[test]
fn a_smuggled_request_is_not_answered() {
    let (platform, gateway) = with_function("echo", "");
    let mut connection = gateway.connect();
    connection.write(
        b"POST /function/figlet HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /function/figlet/smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    let reply = connection.reply("POST");
    // Either refused, or read by its chunks with Content-Length gone; a second request on the same
    // connection is then the client's own. What must not be is a body of "0\r\n\r".
    assert!(matches!(reply.status, 200 | 400), "{reply:?}");
    if reply.status == 200 {
        assert_eq!(fields(&reply.json(), "content-length").len() + fields(&reply.json(), "transfer-encoding").len(), 1);
        assert_eq!(reply.json()["body"], "");
    }
    drop(platform);
}

#[test]
fn unclean_paths_are_moved() {
    let (_platform, gateway) = with_function("echo", "");
    let reply = gateway.get("/function/figlet//b?x=1");
    assert_eq!((reply.status, reply.header("location")), (301, Some("/function/figlet/b?x=1")));
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_nothing_with_it() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "ready_after_polls": 3 }));
    let gateway = gateway(&platform, "");
    platform.rule(json!({ "path": "/system/scale-function/figlet", "then": "hang", "times": 1 }));
    let mut connection = gateway.connect();
    connection.begin("GET", "/function/figlet", &[], b"");
    platform.wait_for(1, "POST", "/system/scale-function/figlet");
    drop(connection);
    platform.release();
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(platform.count("GET", "/function/figlet"), 1, "the first caller's request was never sent");
}

#[test]
fn many_requests_share_a_connection_to_the_function() {
    let (platform, gateway) = with_function("count", "");
    let mut connection = Connection::tcp(gateway.address());
    for _ in 0..50 {
        assert_eq!(connection.send("POST", "/function/figlet", &[], b"a b c").text(), "3\n");
    }
    let log = platform.log();
    let mut ports: Vec<_> =
        log.iter().filter(|seen| seen.text("path").starts_with("/function/")).map(|seen| seen.number("peer")).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 1, "one caller on one connection needs one connection");
}
