//! The end of a gateway: what is under way finishes, nothing new begins, and a second signal is final.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Platform, gateway, wait_until};

fn streaming() -> (Platform, crate::harness::Gateway) {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1, "run": "stream" }));
    let gateway = gateway(&platform, "");
    (platform, gateway)
}

#[test]
fn a_request_under_way_is_finished_and_no_new_one_begins() {
    let (platform, mut gateway) = streaming();
    let mut connection = gateway.connect();
    connection.begin("GET", "/function/figlet", &[], b"");
    assert_eq!(connection.head().0, 200);
    assert_eq!(connection.chunk().unwrap(), b"data: first\n\n");
    let address = gateway.address().to_owned();
    gateway.signal(Signal::TERM);
    wait_until("the port is closed", || std::net::TcpStream::connect(&address).is_err());
    platform.release();
    assert_eq!(connection.chunk().unwrap(), b"data: second\n\n");
    assert_eq!(connection.chunk().unwrap(), b"");
    let status = gateway.wait_for_exit();
    assert!(status.success(), "{status}");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let (_platform, mut gateway) = streaming();
    let mut idle = gateway.connect();
    assert_eq!(idle.send("GET", "/healthz", &[], b"").status, 200);
    gateway.signal(Signal::TERM);
    assert!(gateway.wait_for_exit().success());
    assert!(idle.is_closed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (platform, mut gateway) = streaming();
    let mut connection = gateway.connect();
    connection.begin("GET", "/function/figlet", &[], b"");
    assert_eq!(connection.chunk_after_head(), b"data: first\n\n");
    let address = gateway.address().to_owned();
    gateway.signal(Signal::TERM);
    wait_until("the port is closed", || std::net::TcpStream::connect(&address).is_err());
    gateway.signal(Signal::TERM);
    let _status = gateway.wait_for_exit();
    assert_eq!(connection.chunk(), None, "what was cut does not look complete");
    platform.release();
}

#[test]
fn the_admin_socket_is_gone_after_a_clean_end() {
    let (_platform, mut gateway) = streaming();
    let socket = gateway.folder().join("admin.sock");
    assert!(socket.exists());
    gateway.signal(Signal::INT);
    assert!(gateway.wait_for_exit().success());
    assert!(!socket.exists());
}
