//! Which header fields cross the sandbox's wall, in both directions.

use http::header::{HeaderMap, HeaderName};

/// Fields of a guest's request that pass. Everything else is left out, without an error: a field
/// that no platform needs cannot be misused. A rule that asks for a field lets it pass as well,
/// unless [`is_forbidden`] names it.
pub const REQUEST_ALLOWLIST: &[&str] = &[
    // What the guest wants to read.
    "accept",
    "accept-encoding",
    "accept-language",
    "range",
    // What it sends. The length is kept to by the host's HTTP implementation.
    "content-type",
    "content-encoding",
    "content-language",
    "content-length",
    // Conditions: how an adapter avoids overwriting another writer.
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "cache-control",
    // Which plugin it is, in the platform's own logs.
    "user-agent",
    // Which of AWS's actions is meant: the path is the same for all of them.
    "x-amz-target",
    // Retries that the platform can recognise.
    "idempotency-key",
    "x-request-id",
    "traceparent",
    "tracestate",
];

/// Fields that never pass, whatever a rule says, with the reason why.
const FORBIDDEN: &[&str] = &[
    // Hop by hop (RFC 9110 section 7.6.1): they would change how the connection is read.
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    // Where the request goes is the grant's business; virtual hosts share addresses.
    "host",
    ":authority",
    "alt-used",
    // Who asks is the grant's business: credentials are the host's.
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "x-registry-auth",
    "x-registry-config",
    "x-api-key",
    "x-auth-token",
    "x-vault-token",
    "x-nomad-token",
    "x-consul-token",
    "x-amz-security-token",
    "x-amz-date",
    "x-amz-content-sha256",
    // Another method or path than the one that was matched.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    // Another origin than the gateway.
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Families of fields that never pass: another user (`impersonate-user` and its siblings in
/// Kubernetes, `x-remote-user` behind an authenticating proxy), or another origin.
const FORBIDDEN_PREFIXES: &[&str] =
    &["impersonate-", "x-remote-", "x-forwarded-", "x-envoy-", "x-aws-ec2-metadata", "metadata", "proxy-", "sec-"];

/// Whether a field never passes from a guest to a platform.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    let name = name.as_str();
    FORBIDDEN.contains(&name) || FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Fields of a response that no guest gets: they would start a session or a login, tell what the
/// credential is for, or describe the connection, which ends at the host.
const STRIPPED: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
    "authorization",
    "proxy-authorization",
    "alt-svc",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field never passes from a platform to a guest.
#[must_use]
pub fn is_stripped_from_responses(name: &HeaderName) -> bool {
    STRIPPED.contains(&name.as_str())
}

/// The length of a header section, as HTTP/1.1 writes it: names, values, `: ` and line ends.
#[must_use]
pub fn section_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
