//! TLS of a grant: whom it trusts and what it shows.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::fault::GrantFault;
use crate::host::files::{read_private, read_public};
use crate::host::grant::{Connect, Grant, HttpVersion};
use crate::upstream;

/// The TLS of a grant, built once so that its sessions are resumed. Reads files, so it blocks.
/// `None` if the grant does not speak TLS.
pub(super) fn load(grant: &Grant) -> Result<Option<upstream::Tls>, GrantFault> {
    let Connect::Tcp { tls: true, host, .. } = &grant.connect else {
        return if grant.tls.is_default() { Ok(None) } else { Err(GrantFault::TlsUnused) };
    };
    let name = grant.tls.server_name.as_ref().unwrap_or(host);
    let server_name = ServerName::try_from(name.clone()).map_err(|_invalid| GrantFault::ServerName(name.clone()))?;

    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|error| GrantFault::ServerName(error.to_string()))?
        .with_root_certificates(roots(grant)?);
    let mut config = match &grant.tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let bytes = read_public(&client.certificate, grant.exposed_secrets)?;
            let not_a_certificate =
                |detail: String| GrantFault::NotACertificate { path: client.certificate.path().to_owned(), detail };
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
                .collect::<Result<_, _>>()
                .map_err(|e| not_a_certificate(e.to_string()))?;
            if chain.is_empty() {
                return Err(not_a_certificate("it is empty".to_owned()));
            }
            let not_a_key = |detail: String| GrantFault::NotAKey { path: client.key.path().to_owned(), detail };
            let key = PrivateKeyDer::from_pem_slice(&read_private(&client.key, grant.exposed_secrets)?)
                .map_err(|error| not_a_key(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| not_a_key(error.to_string()))?
        }
    };
    config.alpn_protocols = match grant.version {
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Some(upstream::Tls { config: Arc::new(config), server_name: Some(server_name) }))
}

/// The private authorities, or else the public ones.
fn roots(grant: &Grant) -> Result<RootCertStore, GrantFault> {
    let Some(source) = &grant.tls.ca else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let bytes = read_public(source, grant.exposed_secrets)?;
    let not_a_certificate = |detail: String| GrantFault::NotACertificate { path: source.path().to_owned(), detail };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| not_a_certificate(error.to_string()))?;
        roots.add(certificate).map_err(|error| not_a_certificate(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(not_a_certificate("it is empty".to_owned()));
    }
    Ok(roots)
}
