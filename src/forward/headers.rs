//! What a header section loses and gains on its way through, edited in place.

use http::header::{
    CONNECTION, COOKIE, EXPECT, Entry, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Request, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most fields that one `Connection` field may name; with more, nothing good is meant.
const NAMED_MAX: usize = 32;

/// Fields that no `Connection` field removes: without them the message would mean something else,
/// which is how a front and a back end are made to disagree about it.
fn is_kept(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-length" | "content-type" | "authorization" | "cookie" | "x-call-id")
        || name.as_str().starts_with("x-forwarded-")
}

/// Whether a field is meant for the next hop only (RFC 9110 section 7.6.1). `Trailer` is not: it tells of fields
/// that are passed on.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, PROXY_CONNECTION, KEEP_ALIVE, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
}

/// Removes what is meant for the next hop only, with the fields that `Connection` names, and what `is_other` says.
fn remove_hop_by_hop(headers: &mut HeaderMap, is_other: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    // A look at each field that is there costs less than a search for each that might be.
    let is_removed = |name: &&HeaderName| is_hop_by_hop(name) || is_other(name);
    while let Some(name) = headers.keys().find(is_removed).cloned() {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let tokens = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    tokens
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // The usual tokens are no fields that would be there, or are removed anyway.
        .filter(|token| !["close", "keep-alive", "upgrade", "te"].iter().any(|usual| token.eq_ignore_ascii_case(usual)))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_kept(name))
        .take(NAMED_MAX)
        .collect()
}

/// The protocol that a request or a 101 wants to switch to, if it says so as RFC 9110 section 7.8 wants it.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let says_so = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    says_so.then(|| protocol.clone())
}

/// Writes the wish to switch protocols for the next hop.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Makes a client's request one of the gateway's: hop-by-hop fields, forwarding fields, and what the
/// gateway answers itself.
pub(super) fn edit_request<B>(request: &mut Request<B>, client: &HeaderValue) {
    let takes_trailers = request.headers().get(TE).is_some_and(|te| {
        te.to_str().is_ok_and(|te| te.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    });
    let version = request.version();
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let headers = request.headers_mut();
    // The gateway's own server answers 100 as soon as the body is asked for.
    remove_hop_by_hop(headers, |name| [PROXY_AUTHORIZATION, EXPECT].contains(name));
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    // An absolute target is what counts (RFC 9112 section 3.2.2); HTTP/2 has nothing else.
    if let Some(host) = authority.or_else(|| headers.get(HOST).cloned()) {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    match headers.entry(FORWARDED_FOR) {
        Entry::Vacant(none) => drop(none.insert(client.clone())),
        Entry::Occupied(mut chain) => {
            let chained = appended(chain.get(), client);
            chain.insert(chained);
        }
    }
}

fn appended(before: &HeaderValue, client: &HeaderValue) -> HeaderValue {
    let joined = [before.as_bytes(), b", ", client.as_bytes()].concat();
    // Both halves are values already.
    HeaderValue::from_bytes(&joined).unwrap_or_else(|_never| client.clone())
}

/// HTTP/2 may send one field for each cookie; HTTP/1.1 has one for all (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = [first.as_bytes(), b"; ", second.as_bytes()].concat();
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes a function's response one of the gateway's.
pub(super) fn edit_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, |name| name == PROXY_AUTHENTICATE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    fn edited(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut request = request(fields);
        edit_request(&mut request, &HeaderValue::from_static("192.0.2.1"));
        request.into_parts().0.headers
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_are_removed() {
        let headers = edited(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eA=="),
            ("x-private", "1"),
            ("x-other", "1"),
            ("x-kept", "1"),
            ("trailer", "x-checksum"),
            ("authorization", "Bearer x"),
        ]);
        let mut left: Vec<_> =
            headers.keys().map(HeaderName::as_str).filter(|name| !name.starts_with("x-forwarded")).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "trailer", "x-kept"]);
    }

    #[test]
    fn connection_cannot_remove_what_gives_a_message_its_meaning() {
        let headers =
            edited(&[("connection", "host, content-length, x-forwarded-for"), ("host", "a"), ("content-length", "5")]);
        assert!(headers.contains_key(HOST) && headers.contains_key("content-length"));
        assert_eq!(headers[FORWARDED_FOR], "192.0.2.1");
    }

    #[test]
    fn trailers_are_asked_for_only_if_the_client_takes_them() {
        assert_eq!(edited(&[("te", "gzip, Trailers")])[TE], "trailers");
        assert!(!edited(&[("te", "gzip")]).contains_key(TE));
    }

    #[test]
    fn the_client_is_added_to_the_chain_and_host_and_scheme_are_set_once() {
        let headers = edited(&[("host", "gateway:8080")]);
        assert_eq!(headers[FORWARDED_FOR], "192.0.2.1");
        assert_eq!(headers[FORWARDED_HOST], "gateway:8080");
        assert_eq!(headers[FORWARDED_PROTO], "http");
        let headers = edited(&[
            ("host", "gateway:8080"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "example.com"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(headers[FORWARDED_FOR], "203.0.113.9, 192.0.2.1");
        assert_eq!(headers[FORWARDED_HOST], "example.com");
        assert_eq!(headers[FORWARDED_PROTO], "https");
    }

    #[test]
    fn an_absolute_target_is_the_host() {
        let mut request = request(&[("host", "other")]);
        *request.uri_mut() = "http://example.com/function/f".parse().unwrap();
        edit_request(&mut request, &HeaderValue::from_static("192.0.2.1"));
        assert_eq!(request.headers()[FORWARDED_HOST], "example.com");
    }

    #[test]
    fn cookies_of_http2_are_joined() {
        let mut request = request(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        *request.version_mut() = Version::HTTP_2;
        edit_request(&mut request, &HeaderValue::from_static("192.0.2.1"));
        let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_upgrade_must_be_named_by_connection() {
        assert_eq!(
            upgrade(request(&[("connection", "Upgrade"), ("upgrade", "websocket")]).headers()).unwrap(),
            "websocket"
        );
        assert_eq!(upgrade(request(&[("upgrade", "websocket")]).headers()), None);
        assert_eq!(upgrade(request(&[("connection", "upgrade")]).headers()), None);
    }

    #[test]
    fn responses_lose_their_hop_by_hop_fields_too() {
        let mut headers =
            request(&[("keep-alive", "timeout=5"), ("connection", "close"), ("x-a", "1")]).into_parts().0.headers;
        edit_response(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
