//! The endpoint that gives a container its AWS keys: asked by the host, outside of every grant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_smithy_types::date_time::{DateTime, Format};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;

use super::aws;
use super::body::RequestBody;
use super::error::chain;
use crate::host::files::{ExposedSecrets, read_secret};
use crate::host::grant::{Connect, Source};
use crate::upstream::{AddressCheck, Place, Pool, Protocol, Target, Timeouts, Tls, never_dialled};

/// How long before they end keys are asked for again. AWS gives new ones at least that early.
pub(super) const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// What one answer may have, in bytes; a real one has about two thousand.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// The endpoint is on this machine.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), response: Duration::from_secs(5) };

/// Where ECS and EKS have the endpoint; beside loopback the only places that are asked without TLS.
const KNOWN: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
}

/// Asks for keys. An error says what happened, and nothing of the answer.
pub(super) async fn fetch(
    pool: &Pool<RequestBody>,
    connect: &Connect,
    path: &str,
    token_file: Option<&Path>,
    exposed: ExposedSecrets,
) -> Result<Keys, String> {
    let mut request = Request::new(RequestBody::whole(Bytes::new()));
    *request.uri_mut() = path.parse().map_err(|_invalid| "its path is none".to_owned())?;
    let host = HeaderValue::from_str(&connect.authority()).map_err(|_invalid| "its host is none".to_owned())?;
    request.headers_mut().insert(header::HOST, host);
    if let Some(file) = token_file {
        let source = Source::File(file.to_owned());
        let token = tokio::task::spawn_blocking(move || read_secret(&source, exposed)).await;
        let token = token.map_err(|_ended| "its token was not read".to_owned())?.map_err(|error| chain(&error))?;
        let mut value = HeaderValue::from_str(&token).map_err(|_invalid| "its token is none".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let target = target(connect)?;
    let response = pool.send(&target, &mut Some(request), TIMEOUTS).await.map_err(|error| chain(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answered {}", response.status()));
    }
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect();
    let body = tokio::time::timeout(TIMEOUTS.response, body).await.map_err(|_elapsed| "it took too long".to_owned())?;
    let body = body.map_err(|_cut| "its answer broke off or is too long".to_owned())?.to_bytes();
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_other| "its answer has not the form of keys".to_owned())?;
    let until = match answer.expiration {
        None => None,
        Some(text) => {
            let time =
                DateTime::from_str(&text, Format::DateTime).ok().and_then(|time| SystemTime::try_from(time).ok());
            Some(time.ok_or_else(|| "its answer does not say until when".to_owned())?)
        }
    };
    Ok(aws::keys(answer.access_key_id, answer.secret_access_key, answer.token, until))
}

fn target(connect: &Connect) -> Result<Target, String> {
    let place = connect.dial().ok_or_else(|| "it is no URL of HTTP".to_owned())?;
    let is_tls = connect.is_tls();
    let check: Arc<dyn AddressCheck> = Arc::new(move |_host: &str, address: SocketAddr| {
        let ip = address.ip().to_canonical();
        let is_open = ip.is_loopback() || KNOWN.contains(&ip) || (is_tls && never_dialled(ip).is_none());
        if is_open { Ok(()) } else { Err("keys are asked for on this machine only, or over TLS".to_owned()) }
    });
    let tls = if is_tls {
        let grant = crate::host::grant::Grant::new(connect.clone());
        super::tls::load(&grant).map_err(|error| chain(&error))?
    } else {
        None::<Tls>
    };
    Ok(Target { place: Place::Tcp(place.into()), tls, protocol: Protocol::Http1, check: Some(check) })
}
