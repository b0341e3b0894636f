//! Every error has its answer, and no answer tells what only the operator may know.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;

use super::*;
use crate::forward;
use crate::name::FunctionRef;
use crate::query::{Budget, Cause, ErrorKind, Interface, PluginFault, QueryError};
use crate::router;
use crate::scaler::{AddressRefused, ScaleError};
use crate::upstream::{self, Place};

/// What must never be shown to a caller of a function.
const INTERNAL: &str = "10.1.2.3:4567 password=hunter2";

fn figlet() -> FunctionRef {
    FunctionRef::parse("figlet.dev", &"openfaas-fn".parse().unwrap()).unwrap()
}

fn said(cause: Cause) -> QueryError {
    QueryError::new(cause, INTERNAL)
}

const KINDS: [(ErrorKind, u16, u16); 13] = [
    (ErrorKind::NotFound, 404, 404),
    (ErrorKind::AlreadyExists, 502, 409),
    (ErrorKind::Invalid, 502, 400),
    (ErrorKind::Unauthenticated, 502, 502),
    (ErrorKind::Denied, 502, 502),
    (ErrorKind::Conflict, 503, 409),
    (ErrorKind::RateLimited, 503, 503),
    (ErrorKind::Unavailable, 503, 503),
    (ErrorKind::Timeout, 504, 504),
    (ErrorKind::CursorExpired, 502, 503),
    (ErrorKind::Quota, 503, 409),
    (ErrorKind::Unsupported, 502, 501),
    (ErrorKind::Internal, 502, 502),
];

pub(crate) fn causes() -> Vec<(Cause, u16, u16)> {
    let mut causes: Vec<_> =
        KINDS.iter().map(|(kind, function, system)| (Cause::Platform(*kind), *function, *system)).collect();
    causes.extend([
        (Cause::Plugin(PluginFault::Trap), 502, 502),
        (Cause::Plugin(PluginFault::Budget(Budget::Cpu)), 502, 502),
        (Cause::Plugin(PluginFault::Budget(Budget::Wall)), 504, 504),
        (Cause::Plugin(PluginFault::BadOutput("replicas")), 502, 502),
        (Cause::Plugin(PluginFault::Quarantined), 503, 503),
        (Cause::Plugin(PluginFault::Busy), 503, 503),
        (Cause::NotExported(Interface::Watch), 502, 501),
        (Cause::NoProvider, 404, 404),
        (Cause::NoPlugin, 503, 503),
        (Cause::Gateway, 503, 503),
    ]);
    causes
}

#[test]
fn every_cause_has_its_status_on_both_sides() {
    for (cause, function, system) in causes() {
        let error = said(cause.clone());
        assert_eq!(Problem::of_invocation(&error, &figlet()).status.as_u16(), function, "{cause:?}");
        assert_eq!(Problem::of_administration(&error).status.as_u16(), system, "{cause:?}");
    }
}

#[test]
fn every_503_says_when_to_come_back_and_every_404_does_not() {
    for (cause, ..) in causes() {
        for problem in
            [Problem::of_invocation(&said(cause.clone()), &figlet()), Problem::of_administration(&said(cause.clone()))]
        {
            if problem.status == StatusCode::SERVICE_UNAVAILABLE {
                assert!(problem.retry_after.is_some(), "{problem:?}");
            }
            if problem.status == StatusCode::NOT_FOUND {
                assert_eq!(problem.retry_after, None, "{problem:?}");
            }
        }
    }
}

#[test]
fn callers_of_functions_are_told_nothing_internal_but_the_platforms_word_for_a_404() {
    for (cause, ..) in causes() {
        let problem = Problem::of_invocation(&said(cause.clone()), &figlet());
        let shown = problem.message.contains(INTERNAL);
        assert_eq!(shown, cause == Cause::Platform(ErrorKind::NotFound), "{problem:?}");
    }
}

#[test]
fn what_the_platform_asks_for_is_passed_on() {
    let error =
        QueryError { retry_after: Some(Duration::from_millis(2500)), ..said(Cause::Platform(ErrorKind::Unavailable)) };
    let response = Problem::of_invocation(&error, &figlet()).response(&CallId::random());
    assert_eq!(response.headers()[RETRY_AFTER], "3");
}

/// Errors of the scaler but for the unknown name, with status and whether another attempt is worth it.
fn scaling_errors() -> Vec<(ScaleError, u16, bool)> {
    let function = figlet;
    let failed = || Arc::new(said(Cause::Platform(ErrorKind::Unavailable)));
    let timeout = || ScaleError::Timeout {
        function: function(),
        limit: Duration::from_secs(60),
        retry_after: Duration::from_secs(1),
        source: Some(Arc::new(ScaleError::NotAccepting { function: function(), reason: INTERNAL.into() })),
    };
    let address: SocketAddr = "10.1.2.3:4567".parse().unwrap();
    vec![
        (ScaleError::NoProvider { function: function() }, 404, false),
        (timeout(), 504, true),
        (ScaleError::TooManyWaiting { function: function(), limit: 1, setting: "waiting" }, 503, true),
        (ScaleError::TooManyLookups { limit: 1 }, 503, true),
        (ScaleError::ProviderFailed { function: function(), source: failed() }, 503, true),
        (
            ScaleError::BackingOff {
                function: function(),
                retry_after: Duration::from_millis(1),
                source: Arc::new(timeout()),
            },
            503,
            true,
        ),
        (ScaleError::Disabled { function: function() }, 503, false),
        (ScaleError::NoAddress { function: function(), provider: "edge".parse().unwrap() }, 502, false),
        (
            ScaleError::EndpointRefused {
                function: function(),
                source: Arc::new(AddressRefused::Never { address, kind: "a metadata service" }),
            },
            502,
            false,
        ),
        (ScaleError::NotAccepting { function: function(), reason: INTERNAL.into() }, 503, true),
        (ScaleError::ShuttingDown, 503, true),
    ]
}

#[test]
fn every_scaling_error_has_its_status_and_tells_nothing_internal() {
    for (error, status, comes_back) in scaling_errors() {
        let problem = Problem::of_scaling(&error, &figlet());
        assert_eq!(problem.status.as_u16(), status, "{error:?}");
        assert_eq!(problem.retry_after.is_some(), comes_back, "{error:?}");
        assert!(!problem.message.contains("10.1.2.3"), "{problem:?}");
    }
    let unknown = Arc::new(QueryError::platform(ErrorKind::NotFound, "no deployment \"figlet\"\r\nin dev"));
    let problem = Problem::of_scaling(&ScaleError::NotFound { function: figlet(), source: unknown }, &figlet());
    assert_eq!(problem.status, StatusCode::NOT_FOUND);
    assert!(problem.message.contains("no deployment \"figlet\"in dev"), "{problem:?}");
    assert_eq!(problem.retry_after, None);
}

/// Errors of forwarding but for a broken connection, with their status.
fn forwarding_errors() -> Vec<(forward::Error, u16)> {
    use forward::Error;
    let place = || Place::Tcp("10.1.2.3:4567".into());
    let io = || std::io::Error::other(INTERNAL);
    let address: SocketAddr = "10.1.2.3:4567".parse().unwrap();
    let upstream = |error| Error::Upstream(error);
    vec![
        (upstream(upstream::Error::InvalidAuthority(INTERNAL.into())), 502),
        (upstream(upstream::Error::Resolve { place: place(), source: io() }), 503),
        (upstream(upstream::Error::NoAddress(place())), 503),
        (upstream(upstream::Error::AddressDenied { place: place(), address, reason: INTERNAL.into() }), 502),
        (upstream(upstream::Error::Connect { place: place(), source: io() }), 503),
        (upstream(upstream::Error::ConnectTimeout { place: place(), after: Duration::from_secs(3) }), 503),
        (upstream(upstream::Error::Tls { place: place(), source: io() }), 502),
        (upstream(upstream::Error::ResponseTimeout(Duration::from_secs(60))), 504),
        (Error::UnknownGrant(INTERNAL.into()), 502),
        (Error::BadEndpoint(INTERNAL.into()), 502),
        (Error::NotOpened { grant: INTERNAL.into(), path: INTERNAL.into() }, 502),
        (Error::BodyTooLarge { limit: 1 }, 413),
        (Error::BodyTooSlow { after: Duration::from_secs(60) }, 408),
        (Error::BodyBroken, 400),
    ]
}

#[test]
fn every_forwarding_error_has_its_status_and_tells_nothing_internal() {
    for (error, status) in forwarding_errors() {
        let problem = Problem::of_forwarding(&error, &figlet());
        assert_eq!(problem.status.as_u16(), status, "{error:?}");
        assert!(!problem.message.contains("10.1.2.3"), "{problem:?}");
    }
}

#[test]
fn a_bad_path_is_400_and_a_large_header_431() {
    let name = router::function("a~", &"openfaas-fn".parse().unwrap()).unwrap_err();
    let problem = Problem::of_path(&name);
    assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid_name"));
    let problem = Problem::of_path(&router::PathRefused::HiddenDots);
    assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid_path"));
    assert_eq!(Problem::header_too_large("1 bytes").status.as_u16(), 431);
}

#[tokio::test]
async fn the_answer_is_json_with_code_sentence_and_call_id() {
    let id = CallId::random();
    let response = Problem::of_forwarding(&forward::Error::BodyTooLarge { limit: 7 }, &figlet()).response(&id);
    assert_eq!(response.headers()[ERROR_CODE], "body_too_large");
    assert_eq!(response.headers()[CALL_ID], id.as_str());
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"error": {
            "code": "body_too_large", "message": "the request body has more than 7 bytes", "call_id": id.as_str(),
        }})
    );
}

#[test]
fn long_words_are_cut() {
    let shown = words(&"x".repeat(100_000));
    assert_eq!(shown.chars().count(), WORDS_MAX_CHARS + 3);
    assert_eq!(words("a\u{7f}b\nc"), "abc");
}

#[test]
fn a_move_keeps_the_query() {
    assert_eq!(moved("/a", None).headers()[LOCATION], "/a");
    let response = moved("/a", Some("b=%20"));
    assert_eq!(
        (response.status().as_u16(), &response.headers()[LOCATION]),
        (301, &HeaderValue::from_static("/a?b=%20"))
    );
}

/// Status, code, and whether `Retry-After` is there.
pub(crate) type Told = BTreeSet<(u16, String, bool)>;

pub(crate) fn told(problem: &Problem) -> (u16, String, bool) {
    (problem.status.as_u16(), problem.code.to_owned(), problem.retry_after.is_some())
}

/// What a column of the README's table of answers says: 1 is `/function/*`, 2 is `/system/*`.
pub(crate) fn documented(column: usize) -> Told {
    let page = include_str!("../../README.md");
    let table = page.split("\n## What callers get").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1);
    let mut found = Told::new();
    for cell in rows.map(|row| row.trim_matches('|').split(" | ").nth(column).unwrap()) {
        let mut status = 0;
        for word in cell.split([' ', ',', ';']) {
            let code = word.trim_matches('`');
            if let Ok(number) = word.parse() {
                status = number;
            } else if word != code && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                assert!(found.insert((status, code.to_owned(), cell.contains("`Retry-After`"))), "{code} twice");
            }
        }
    }
    found
}

#[test]
fn the_readme_has_every_answer_to_callers_of_functions_and_no_other() {
    let function = figlet();
    let mut problems: Vec<Problem> =
        causes().into_iter().map(|(cause, ..)| Problem::of_invocation(&said(cause), &function)).collect();
    problems.extend(scaling_errors().iter().map(|(error, ..)| Problem::of_scaling(error, &function)));
    problems.extend(forwarding_errors().iter().map(|(error, _)| Problem::of_forwarding(error, &function)));
    problems.extend([
        function::upstream_broken(&function),
        Problem::of_path(&router::function("a~", &"openfaas-fn".parse().unwrap()).unwrap_err()),
        Problem::of_path(&router::PathRefused::HiddenDots),
        Problem::header_too_large("1 bytes"),
    ]);
    assert_eq!(problems.iter().map(told).collect::<Told>(), documented(1));
}
