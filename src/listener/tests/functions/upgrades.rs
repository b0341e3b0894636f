//! Connections that become something else.

use super::*;

#[tokio::test]
async fn a_websocket_passes_and_its_bytes_go_both_ways() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway
        .open("GET /function/figlet/ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n")
        .await;
    let (mut function, request) = next_request(&listener, "\r\n\r\n").await;
    assert!(request.starts_with("GET /ws HTTP/1.1") && request.contains("upgrade: websocket"), "{request}");
    assert!(request.contains("connection: upgrade") && request.contains("sec-websocket-key: x"), "{request}");
    function
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n\r\nhi")
        .await
        .unwrap();
    let answer = read_until(&mut client, "hi").await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("sec-websocket-accept: y"), "{answer}");
    client.write_all(b"there").await.unwrap();
    read_until(&mut function, "there").await;
    drop(client);
    assert_eq!(function.read(&mut [0; 1]).await.unwrap(), 0);
    drop(function);
    gateway.trigger.drain();
    gateway.trigger.finished().await;
}

#[tokio::test]
async fn an_upgrade_that_the_function_declines_is_an_ordinary_answer() {
    let (listener, address) = function().await;
    let _requests = answering(listener, OK);
    let gateway = gateway(address, Setup::default());
    let mut client =
        gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n").await;
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
}
