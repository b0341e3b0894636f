//! Where a plugin says that a function's instances are, and where the gateway connects: through the forwarder, with
//! the guest of `tests/guests/hostile`, whose functions are named after the endpoints that it invents.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::harness::{Gateway, GatewayBuilder, Platform};

fn hostile() -> Vec<u8> {
    let target = Path::new(env!("CARGO_BIN_EXE_wicketgate")).ancestors().nth(2).unwrap();
    let path = target.join("plugins/tests/hostile.wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins --tests`", path.display()))
}

/// A gateway with the guest as its only provider, which may dial `allow`.
fn gateway(allow: &str) -> Gateway {
    let config = format!(
        "[provider.hostile]\ncomponent = \"hostile.wasm\"\nnamespaces = [\"dev\"]\n\
         [provider.hostile.endpoints]\nallow = [{allow}]\n"
    );
    GatewayBuilder::new(&config).file("hostile.wasm", hostile()).start()
}

/// A listener that nobody may find, and its port.
fn trap_door() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A connection that was made waits to be accepted, whoever closed it since.
fn nobody_came(listener: &TcpListener) {
    let accepted = listener.accept();
    assert!(accepted.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{accepted:?}");
}

/// A platform that answers every function, and its port.
fn reachable() -> (Platform, String) {
    let platform = Platform::start();
    platform.rule(json!({ "path": "/", "status": 200, "body": "reached" }));
    let port = platform.address().rsplit_once(':').unwrap().1.to_owned();
    (platform, port)
}

fn is_refused(gateway: &Gateway, function: &str) {
    let reply = gateway.get(&format!("/function/{function}.dev"));
    assert_eq!(reply.code(502), "endpoint_refused", "{function}");
    for hidden in ["127.0.0.1", "169.254", "localhost:"] {
        assert!(!reply.text().contains(hidden), "callers are told no address: {}", reply.text());
    }
}

fn is_reached(gateway: &Gateway, function: &str) {
    let reply = gateway.get(&format!("/function/{function}.dev"));
    assert_eq!((reply.status, reply.text().as_str()), (200, "reached"), "{function}");
}

#[test]
fn an_address_that_the_operator_did_not_allow_is_not_dialled() {
    let (listener, port) = trap_door();
    let gateway_without = gateway("\"10.0.0.0/8\"");
    is_refused(&gateway_without, &format!("at-{port}"));
    nobody_came(&listener);
    let log = gateway_without.output().wait_for("not allowed").unwrap();
    assert!(log.contains("[provider.hostile.endpoints]"), "the log says what to write: {log}");
    // The network is all that is missing.
    let (_platform, port) = reachable();
    is_reached(&gateway("\"127.0.0.0/8\""), &format!("at-{port}"));
}

#[test]
fn a_name_is_judged_by_what_it_resolves_to() {
    let (listener, port) = trap_door();
    // Some network is allowed, so the name may be one of its members.
    is_refused(&gateway("\"10.0.0.0/8\""), &format!("named-{port}"));
    nobody_came(&listener);
    let (_platform, port) = reachable();
    is_reached(&gateway("\"10.0.0.0/8\", \"localhost\""), &format!("named-{port}"));
}

#[test]
fn metadata_services_are_never_dialled_whatever_is_allowed() {
    let gateway = gateway("\"0.0.0.0/0\", \"::/0\"");
    for function in ["metadata", "metadata-v6", "mapped-metadata", "link-local"] {
        is_refused(&gateway, function);
    }
    assert!(gateway.output().wait_for("never dialled").is_some());
    // Everything else is.
    let (_platform, port) = reachable();
    is_reached(&gateway, &format!("at-{port}"));
}

#[test]
fn the_gateway_does_not_dial_itself() {
    let gateway = gateway("\"127.0.0.0/8\", \"::1\", \"localhost\"");
    let port = |address: &str| address.rsplit_once(':').unwrap().1.split('/').next().unwrap().to_owned();
    let metrics = gateway.output().wait_for("metrics on http://").unwrap();
    for port in [port(gateway.address()), port(metrics.split(' ').next().unwrap())] {
        is_refused(&gateway, &format!("at-{port}"));
        is_refused(&gateway, &format!("named-{port}"));
    }
    assert!(gateway.output().wait_for("own listeners").is_some());
    let (_platform, port) = reachable();
    is_reached(&gateway, &format!("at-{port}"));
}
