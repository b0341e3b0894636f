//! Nothing that a guest or a reader of the log sees carries a secret, in whatever form.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use tracing_subscriber::fmt::MakeWriter;

use super::server::Server;
use super::*;
use crate::host::grant::{Auth, HttpVersion, Mode};

const SECRET: &str = "correct/horse?battery";

/// All that is logged, of every crate and level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The forms in which a secret could be read.
fn forms() -> Vec<String> {
    let standard = base64::engine::general_purpose::STANDARD;
    let inner = |text: &str| standard.encode(text).trim_end_matches('=').to_owned();
    vec![
        SECRET.to_owned(),
        "correct%2Fhorse".to_owned(),
        "%63%6F%72%72%65%63%74".to_owned(),
        inner(SECRET),
        // Behind `admin:`, as in basic credentials.
        inner(&format!("admin:{SECRET}")),
        SECRET.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

fn assert_clean(what: &str, text: &str) {
    for form in forms() {
        assert!(!text.to_lowercase().contains(&form.to_lowercase()), "{what}: {form} in {text}");
    }
}

#[tokio::test]
async fn nothing_that_a_guest_or_the_log_sees_carries_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let directory = tempfile::tempdir().unwrap();
    let file = secret(directory.path(), "secret", &format!("{SECRET}\n"));
    let auths = [
        Auth::Bearer { token: file.clone().into() },
        Auth::Header { name: "x-token".parse().unwrap(), file: file.clone() },
        Auth::Basic { user_file: secret(directory.path(), "user", "admin"), password_file: file.clone() },
    ];
    let rules = ["GET /leak", "GET /echo", "GET /guarded", "GET /hold", "GET /long-header", "GET /silent"];
    for (auth, version) in auths.iter().flat_map(|auth| [(auth, HttpVersion::Http1), (auth, HttpVersion::Http2)]) {
        let server = Server::start().await;
        let mut granted = Grant { auth: auth.clone(), version, mode: Mode::DryRun, ..grant(server.port, &rules) };
        granted.limits.first_byte_timeout = Duration::from_millis(200);
        granted.limits.between_bytes_timeout = Duration::from_millis(200);
        assert_clean("a grant", &format!("{granted:?}"));
        let mut edge = Edge::new(granted);
        edge.meter = Arc::new(EgressMeter::new(EgressLimits { header_bytes: 1500, ..limits() }));

        for target in ["/leak", "/echo", "/guarded", "/unlisted", "/hold", "/long-header", "/silent", "/a//b"] {
            match edge.get(target).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    assert_clean(target, &format!("{head:?}"));
                    if let Err(cut) = body.collect().await {
                        assert_clean(target, &format!("{} {cut:?}", said(&cut)));
                    }
                }
                Err(error) => assert_clean(target, &format!("{} {error:?}", said(&error))),
            }
        }
        let leak = server.seen().into_iter().find(|seen| seen.target == "/leak").unwrap();
        let sent = leak.field("authorization").or(leak.field("x-token")).unwrap();
        assert!(!sent.is_empty(), "the platform got the credential");
        // A redirect is an answer: nobody went there, and what leads to it was taken away.
        let kept = edge.get("/leak").await.unwrap();
        assert_eq!((kept.status(), kept.headers().get("location")), (http::StatusCode::FOUND, None));
        assert_eq!(kept.headers()["x-kept"], "yes");
        assert_clean("metrics", &edge.metrics());
    }
    // Half a renewal: the reason is logged, the content is not.
    let edge = Edge::new(Grant { auth: auths[0].clone(), ..grant(9, &[]) });
    std::fs::write(&file, format!("{SECRET}\u{1}{SECRET}")).unwrap();
    edge.egress.gates.get("platform").unwrap().renew().await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("changed files cannot be used") && logged.contains("would be refused"), "{logged}");
    assert_clean("the log", &logged);
}

#[tokio::test]
async fn a_name_that_means_a_metadata_service_is_refused_at_connect() {
    // Names that the system's resolver reads as 169.254.169.254, without asking anybody.
    for name in ["2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "169.254.43518"] {
        let connect = Connect::Tcp { tls: false, host: name.to_owned(), port: 80 };
        let edge = Edge::new(Grant { connect, ..grant(80, &["GET /latest/meta-data"]) });
        let error = edge.get("/latest/meta-data").await.unwrap_err();
        assert_eq!((error.denial(), error.is_retryable()), (Some("address"), false), "{name}: {}", said(&error));
        assert!(said(&error).contains("link-local"), "{}", said(&error));
    }
}
