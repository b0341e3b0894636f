//! TLS: whom a grant trusts, what it shows, and HTTP/2.

use http::Version;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::server::Server;
use super::*;
use crate::host::grant::{ClientCertificate, HttpVersion, Source, Tls};

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn leaf(authority: &Authority, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages.push(usage);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

pub(super) fn server_config(authority: &Authority, clients: Option<&Authority>) -> ServerConfig {
    let (certificate, key) = leaf(authority, "platform.test", ExtendedKeyUsagePurpose::ServerAuth);
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&crypto)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// A grant over TLS to the server, which is called `platform.test`.
pub(super) fn tls_grant(port: u16, tls: Tls) -> Grant {
    let connect = Connect::Tcp { tls: true, host: "127.0.0.1".to_owned(), port };
    Grant { connect, tls: Tls { server_name: Some("platform.test".to_owned()), ..tls }, ..grant(port, &["GET /x"]) }
}

fn ca_file(directory: &Path, authority: &Authority) -> Option<Source> {
    Some(secret(directory, "ca.pem", &authority.pem()).into())
}

#[tokio::test]
async fn a_private_authority_replaces_the_public_ones() {
    let directory = tempfile::tempdir().unwrap();
    let ours = authority();
    let server = Server::start_tls(server_config(&ours, None)).await;

    let trusted = tls_grant(server.port, Tls { ca: ca_file(directory.path(), &ours), ..Tls::default() });
    let edge = Edge::new(trusted.clone());
    for _ in 0..3 {
        assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.seen()[0].version, Version::HTTP_11);

    for untrusted in [
        tls_grant(server.port, Tls::default()),
        tls_grant(server.port, Tls { ca: ca_file(directory.path(), &authority()), ..Tls::default() }),
    ] {
        let error = Edge::new(untrusted).get("/x").await.unwrap_err();
        assert!(said(&error).contains("certificate"), "{}", said(&error));
        assert!(!error.is_retryable());
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn the_certificate_must_be_for_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let ours = authority();
    let server = Server::start_tls(server_config(&ours, None)).await;
    let mut granted = tls_grant(server.port, Tls { ca: ca_file(directory.path(), &ours), ..Tls::default() });
    granted.tls.server_name = None;
    let error = Edge::new(granted).get("/x").await.unwrap_err();
    assert!(said(&error).contains("not valid for name"), "{}", said(&error));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    let server = Server::start_tls(server_config(&ours, Some(&theirs))).await;
    let (certificate, key) = leaf(&theirs, "gateway.test", ExtendedKeyUsagePurpose::ClientAuth);
    let client = ClientCertificate {
        certificate: secret(directory.path(), "client.pem", &certificate.pem()).into(),
        key: secret(directory.path(), "client.key", &key.serialize_pem()).into(),
    };
    let tls = Tls { ca: ca_file(directory.path(), &ours), ..Tls::default() };
    assert!(Edge::new(tls_grant(server.port, tls.clone())).get("/x").await.is_err());
    assert!(server.seen().is_empty());
    let edge = Edge::new(tls_grant(server.port, Tls { client: Some(client), ..tls }));
    assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let ours = authority();
    let over_tls = Server::start_tls(server_config(&ours, None)).await;
    let tls = Tls { ca: ca_file(directory.path(), &ours), ..Tls::default() };
    let plain = Server::start().await;
    for (server, granted) in [(&over_tls, tls_grant(over_tls.port, tls)), (&plain, grant(plain.port, &["GET /x"]))] {
        let edge = Edge::new(Grant { version: HttpVersion::Http2, ..granted });
        for _ in 0..3 {
            assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
        }
        assert_eq!(server.connections(), 1);
        assert!(server.seen().iter().all(|seen| seen.version == Version::HTTP_2 && seen.target == "/x"));
    }
}

#[test]
fn unusable_tls_is_refused_at_load() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let junk = secret(path, "junk.pem", "no certificate");
    let (certificate, _key) = leaf(&authority(), "a.test", ExtendedKeyUsagePurpose::ClientAuth);
    let (_other, other_key) = leaf(&authority(), "b.test", ExtendedKeyUsagePurpose::ClientAuth);
    let certificate_file = secret(path, "client.pem", &certificate.pem());
    let pair = |certificate_file: &Path, key_file: std::path::PathBuf| Tls {
        client: Some(ClientCertificate { certificate: certificate_file.to_owned().into(), key: key_file.into() }),
        ..Tls::default()
    };
    for (tls, part) in [
        (Tls { ca: Some(path.join("absent").into()), ..Tls::default() }, "absent was not read"),
        (Tls { ca: Some(junk.clone().into()), ..Tls::default() }, "junk.pem holds no usable certificate"),
        (pair(&junk, junk.clone()), "junk.pem holds no usable certificate"),
        (pair(&certificate_file, junk.clone()), "junk.pem holds no usable private key"),
        (
            pair(&certificate_file, secret(path, "other.key", &other_key.serialize_pem())),
            "other.key holds no usable private key",
        ),
    ] {
        let said = said(&Edge::try_new(tls_grant(9, tls)).map(|_| ()).unwrap_err());
        assert!(said.contains(part), "{said}");
    }
    let mut named = tls_grant(9, Tls::default());
    named.tls.server_name = Some("not a name".to_owned());
    assert!(said(&Edge::try_new(named).map(|_| ()).unwrap_err()).contains("is not a server name"));
    let plain = Grant { tls: Tls { ca: Some(junk.into()), ..Tls::default() }, ..grant(9, &[]) };
    assert!(said(&Edge::try_new(plain).map(|_| ()).unwrap_err()).contains("need connect = \"https://"));
}
