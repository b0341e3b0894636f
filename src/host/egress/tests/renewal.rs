//! Files that change while the gateway runs, and files that others can read.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::StatusCode;
use rcgen::ExtendedKeyUsagePurpose;
use tokio::time::Instant;

use super::server::Server;
use super::tls::{authority, leaf, server_config, tls_grant};
use super::*;
use crate::host::files::ExposedSecrets;
use crate::host::grant::kubeconfig::Field;
use crate::host::grant::{Auth, ClientCertificate, HttpVersion, Source, Tls};

/// Asks again until it is answered as wanted; a file that changed is noticed within a second.
async fn until(edge: &Edge, target: &str, wanted: impl Fn(&Result<Response<EgressBody>, EgressError>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        edge.meter.rearm();
        let answer = edge.get(target).await;
        if wanted(&answer) {
            return;
        }
        drop(answer);
        assert!(Instant::now() < deadline, "{target} was not answered as wanted");
        tokio::task::yield_now().await;
    }
}

fn is_ok(answer: &Result<Response<EgressBody>, EgressError>) -> bool {
    answer.as_ref().is_ok_and(|response| response.status() == StatusCode::OK)
}

#[tokio::test]
async fn a_refused_token_is_read_again_and_sent_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let token = secret(directory.path(), "token", "old-token");
    let server = Server::start().await;
    let auth = Auth::Bearer { token: token.clone().into() };
    let edge = Edge::new(Grant { auth, ..grant(server.port, &["GET /guarded", "POST /guarded"]) });
    server.want("Bearer old-token");
    assert_eq!(edge.get("/guarded").await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.seen().len(), 1);

    // As Kubernetes does it: another file under the same name.
    std::fs::rename(secret(directory.path(), "next", "new-token"), &token).unwrap();
    server.want("Bearer new-token");
    let answer = edge.send(post("/guarded", "{\"a\":1}")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert_eq!((last.field("authorization"), &*last.body), (Some("Bearer new-token"), b"{\"a\":1}".as_slice()));
    assert_eq!(edge.meter.usage().requests, 2, "the second attempt is the gateway's own");

    // A token that is refused and did not change is not sent again.
    server.want("Bearer another");
    let before = server.seen().len();
    assert_eq!(edge.get("/guarded").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.seen().len(), before + 1);
}

#[tokio::test]
async fn a_changed_file_is_used_without_a_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let file = secret(directory.path(), "token", "one");
    let server = Server::start().await;
    let auth = Auth::Header { name: "x-token".parse().unwrap(), file: file.clone() };
    let edge = Edge::new(Grant { auth, ..grant(server.port, &["GET /x"]) });
    assert!(edge.get("/x").await.is_ok());
    std::fs::write(&file, "three").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.seen().last().unwrap().field("x-token") != Some("three") {
        assert!(Instant::now() < deadline);
        edge.meter.rearm();
        drop(edge.get("/x").await);
    }
    // What cannot be used keeps what was there.
    std::fs::write(&file, "").unwrap();
    let gate = edge.egress.gates.get("platform").unwrap();
    gate.renew().await;
    std::fs::write(&file, "exposed").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    gate.renew().await;
    std::fs::remove_file(&file).unwrap();
    gate.renew().await;
    assert!(edge.get("/x").await.is_ok());
    assert_eq!(server.seen().last().unwrap().field("x-token"), Some("three"));
}

#[tokio::test]
async fn a_client_certificate_is_renewed_and_old_connections_are_not_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, before, after) = (authority(), authority(), authority());
    let files = |name: &str, authority| {
        let (certificate, key) = leaf(authority, "gateway.test", ExtendedKeyUsagePurpose::ClientAuth);
        (
            secret(directory.path(), &format!("{name}.pem"), &certificate.pem()),
            secret(directory.path(), &format!("{name}.key"), &key.serialize_pem()),
        )
    };
    let (certificate, key) = files("client", &before);
    let client = ClientCertificate { certificate: certificate.clone().into(), key: key.clone().into() };
    let ca = Some(Source::from(secret(directory.path(), "ca.pem", &ours.pem())));
    let first = Server::start_tls(server_config(&ours, Some(&before))).await;
    let edge = Edge::new(tls_grant(first.port, Tls { ca: ca.clone(), client: Some(client.clone()), ..Tls::default() }));
    assert!(is_ok(&edge.get("/x").await));
    let old = edge.egress.client("platform").unwrap();

    let second = Server::start_tls(server_config(&ours, Some(&after))).await;
    let other = Edge::new(tls_grant(second.port, Tls { ca, client: Some(client), ..Tls::default() }));
    assert!(other.get("/x").await.is_err(), "the old certificate is not known there");
    let (new_certificate, new_key) = files("renewed", &after);
    std::fs::rename(new_certificate, certificate).unwrap();
    std::fs::rename(new_key, key).unwrap();
    until(&other, "/x", is_ok).await;

    // Functions' requests get the renewed one too.
    edge.egress.gates.get("platform").unwrap().renew().await;
    assert_ne!(old.target(), edge.egress.client("platform").unwrap().target());
}

#[tokio::test]
async fn an_authority_is_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let (wrong, right) = (authority(), authority());
    let server = Server::start_tls(server_config(&right, None)).await;
    let ca = secret(directory.path(), "ca.pem", &wrong.pem());
    let edge = Edge::new(tls_grant(server.port, Tls { ca: Some(ca.clone().into()), ..Tls::default() }));
    assert!(edge.get("/x").await.is_err());
    std::fs::write(&ca, right.pem()).unwrap();
    until(&edge, "/x", is_ok).await;
}

#[tokio::test]
async fn what_stands_in_a_kubeconfig_file_is_shown_to_the_server() {
    use base64::Engine as _;
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    let server = Server::start_tls(server_config(&ours, Some(&theirs))).await;
    let (certificate, key) = leaf(&theirs, "gateway.test", ExtendedKeyUsagePurpose::ClientAuth);
    let data = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let write = |token: &str| {
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'https://x', certificate-authority-data: {}}}}}]\n\
             users: [{{name: a, user: {{client-certificate-data: {}, client-key-data: {}, token: {token}}}}}]\n",
            data(&ours.pem()),
            data(&certificate.pem()),
            data(&key.serialize_pem()),
        );
        secret(directory.path(), "kubeconfig", &text)
    };
    let path = write("token-1");
    let part = |field| Source::Kubeconfig { path: path.clone(), context: None, field };
    let client = ClientCertificate { certificate: part(Field::ClientCertificate), key: part(Field::ClientKey) };
    let tls = Tls { ca: Some(part(Field::Authority)), client: Some(client), ..Tls::default() };
    let auth = Auth::Bearer { token: part(Field::Token) };
    let mut granted = Grant { auth, ..tls_grant(server.port, tls) };
    granted.rules = vec!["GET /guarded".parse().unwrap()];
    let edge = Edge::new(granted.clone());
    server.want("Bearer token-1");
    assert!(is_ok(&edge.get("/guarded").await));
    write("token-2");
    server.want("Bearer token-2");
    assert!(is_ok(&edge.get("/guarded").await));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let said = said(&Edge::try_new(granted).map(|_| ()).unwrap_err());
    assert!(said.contains("every user of this machine can read"), "{said}");
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_what_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let token = secret(directory.path(), "token", "abc.def-123");
    let granted = Grant { auth: Auth::Bearer { token: token.clone().into() }, ..grant(9, &[]) };
    for mode in [0o604, 0o602, 0o601, 0o644, 0o666, 0o777] {
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = said(&Edge::try_new(granted.clone()).map(|_| ()).unwrap_err());
        assert!(said.contains(&format!("run: chmod o-rwx {}", token.display())), "{mode:o}: {said}");
        assert!(!said.contains("abc.def"), "{said}");
        let warned = Grant { exposed_secrets: ExposedSecrets::Warn, ..granted.clone() };
        assert!(Edge::try_new(warned).is_ok(), "{mode:o}");
    }
    for mode in [0o400, 0o600, 0o640, 0o660] {
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(Edge::try_new(granted.clone()).is_ok(), "{mode:o}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_over_a_unix_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("platform.sock");
    let server = Server::start_unix(&path);
    let unix = Grant { connect: Connect::Unix { path }, ..grant(1, &["POST /x"]) };
    let edge = Edge::new(Grant { version: HttpVersion::Http2, ..unix });
    for _ in 0..3 {
        assert_eq!(text(edge.send(post("/x", "body")).await.unwrap()).await, "ok");
    }
    assert_eq!(server.connections(), 1);
    assert!(server.seen().iter().all(|seen| seen.version == http::Version::HTTP_2 && &*seen.body == b"body"));
}
