//! Endpoints: where a guest says that a function's instances are.

use std::sync::Arc;
use std::time::Duration;

use super::super::bindings::guest::endpoints as wit;
use super::{BadOutput, Checked, at_most, check_name};
use crate::name::{NAME_MAX_BYTES, ProviderName};
use crate::query::{Endpoint, Target};

/// Endpoints of one answer.
const ENDPOINTS_MAX: usize = 1000;
/// The longest prefix of a path.
const PREFIX_MAX_BYTES: usize = 1024;
/// The longest time that an endpoint may be used: an hour.
const TTL_MAX_MS: u32 = 3_600_000;
/// A name, a colon and a port.
const AUTHORITY_MAX_BYTES: usize = NAME_MAX_BYTES + 6;

/// `has_grant` knows the provider's grants: an endpoint may name no other.
pub(crate) fn endpoints(list: Vec<wit::Endpoint>, has_grant: impl Fn(&str) -> bool) -> Checked<Vec<Endpoint>> {
    at_most(list, ENDPOINTS_MAX, "endpoints")?.into_iter().map(|one| endpoint(one, &has_grant)).collect()
}

fn endpoint(endpoint: wit::Endpoint, has_grant: &impl Fn(&str) -> bool) -> Checked<Endpoint> {
    let wit::Endpoint { target, path_prefix, host_header, tls, ttl_ms, instance } = endpoint;
    let target = match target {
        wit::Target::Authority(authority) => Target::Authority(checked_authority(&authority, "target")?),
        wit::Target::Grant(grant) => {
            // A grant's name follows the grammar of names.
            check_name::<ProviderName>(&grant, "target")?;
            if !has_grant(&grant) {
                return Err(BadOutput("target"));
            }
            Target::Grant(grant.into())
        }
    };
    if !is_prefix(&path_prefix) {
        return Err(BadOutput("path-prefix"));
    }
    if ttl_ms == 0 || ttl_ms > TTL_MAX_MS {
        return Err(BadOutput("ttl-ms"));
    }
    if instance.len() > NAME_MAX_BYTES || instance.chars().any(char::is_control) {
        return Err(BadOutput("instance"));
    }
    Ok(Endpoint {
        target,
        path_prefix: path_prefix.into(),
        host_header: host_header.map(|host| checked_host(&host)).transpose()?,
        tls,
        ttl: Duration::from_millis(u64::from(ttl_ms)),
        instance: instance.into(),
        via: None,
    })
}

/// `host:port`, with a port that can be connected to and nobody's credentials.
fn checked_authority(text: &str, field: &'static str) -> Checked<Arc<str>> {
    let authority = parsed(text, field)?;
    match authority.port_u16() {
        Some(port) if port != 0 => Ok(text.into()),
        Some(_) | None => Err(BadOutput(field)),
    }
}

fn checked_host(text: &str) -> Checked<Arc<str>> {
    parsed(text, "host-header")?;
    Ok(text.into())
}

fn parsed(text: &str, field: &'static str) -> Checked<http::uri::Authority> {
    let bad = || BadOutput(field);
    if text.len() > AUTHORITY_MAX_BYTES || text.contains('@') {
        return Err(bad());
    }
    let authority: http::uri::Authority = text.parse().map_err(|_invalid| bad())?;
    if authority.host().is_empty() { Err(bad()) } else { Ok(authority) }
}

/// Empty, or segments that stand for themselves: no query, no `.` or `..`, no empty one.
fn is_prefix(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let Some(segments) = text.strip_prefix('/') else { return false };
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'"' | b'<' | b'>');
    text.len() <= PREFIX_MAX_BYTES
        && text.bytes().all(plain)
        && segments.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}
