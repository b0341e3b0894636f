//! What is tried again, what takes too long, is too large, or is left half-way.

use super::*;

#[tokio::test]
async fn an_idempotent_request_is_sent_again_when_no_byte_came_back_and_no_other_is() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (function, _request) = next_request(&listener, "\r\n\r\n").await;
    drop(function);
    let (mut function, request) = next_request(&listener, "\r\n\r\n").await;
    assert!(request.starts_with("GET / HTTP/1.1"), "{request}");
    function.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut client, "ok").await;

    for request in [
        "POST /function/figlet HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "PUT /function/figlet HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let mut client = gateway.open(request).await;
        let (function, _request) = next_request(&listener, "\r\n\r\n").await;
        drop(function);
        let answer = rest_of(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream_broken"), "{answer}");
    }
}

#[tokio::test]
async fn a_function_that_does_not_answer_in_time_is_504() {
    let (listener, address) = function().await;
    let forward = forward::Config { upstream_timeout: Duration::from_millis(50), ..forward::Config::default() };
    let gateway = gateway(address, Setup { forward, ..Setup::default() });
    let mut client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let (_function, _request) = next_request(&listener, "\r\n\r\n").await;
    let answer = rest_of(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("upstream_timeout"), "{answer}");
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let (listener, address) = function().await;
    let forward = forward::Config { upstream_timeout: Duration::from_millis(50), ..forward::Config::default() };
    let gateway = gateway(address, Setup { forward, ..Setup::default() });
    let mut client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut function, _request) = next_request(&listener, "\r\n\r\n").await;
    function.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfirst").await.unwrap();
    read_until(&mut client, "first").await;
    assert_eq!(rest_of(&mut client).await, "");
}

#[tokio::test]
async fn a_body_over_the_bound_is_413_whether_it_says_its_length_or_not() {
    let (listener, address) = function().await;
    let forward = forward::Config { body_bytes: 10, ..forward::Config::default() };
    let gateway = gateway(address, Setup { forward, ..Setup::default() });
    let head = "POST /function/figlet HTTP/1.1\r\nhost: a\r\n";
    let mut client = gateway.open(&format!("{head}content-length: 11\r\n\r\nhello world")).await;
    let answer = read_until(&mut client, "bytes\"}}").await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");

    let mut client = gateway.open(&format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")).await;
    let _function = next_request(&listener, "hello").await;
    client.write_all(b"6\r\n world\r\n0\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "bytes\"}}").await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let (listener, address) = function().await;
    let forward = forward::Config { body_timeout: Duration::from_millis(50), ..forward::Config::default() };
    let gateway = gateway(address, Setup { forward, ..Setup::default() });
    let mut client = gateway.open("POST /function/figlet HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhello").await;
    let _function = next_request(&listener, "hello").await;
    let answer = read_until(&mut client, "}}").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn the_client_is_asked_to_continue() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway
        .open("POST /function/figlet HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await;
    read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    client.write_all(b"hello").await.unwrap();
    let (mut function, request) = next_request(&listener, "hello").await;
    assert!(!request.contains("expect"), "{request}");
    function.write_all(OK.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "ok").await.contains("200 OK"));
}

#[tokio::test]
async fn http2_comes_in_and_http1_goes_out() {
    let (listener, address) = function().await;
    let mut requests = answering(listener, OK);
    let gateway = gateway(address, Setup::default());
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(driver);
    let request =
        Request::post("http://gw/function/figlet/a").body(http_body_util::Full::<Bytes>::from("hello")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /a HTTP/1.1\r\n") && request.contains("x-forwarded-host: gw"), "{request}");
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_functions_connection_and_is_counted() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut function, _request) = next_request(&listener, "\r\n\r\n").await;
    drop(client);
    assert_eq!(function.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(
        gateway
            .metrics()
            .contains("gateway_function_invocation_total{code=\"499\",function_name=\"figlet.openfaas-fn\"} 1")
    );
}
