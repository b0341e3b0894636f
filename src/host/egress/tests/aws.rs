//! Signed requests: what a server that checks signatures sees, and where the keys come from.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac as _};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::*;
use crate::host::grant::{Auth, AwsAuth, AwsKeys};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "session/token+1=";

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    target: String,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// The signature, made again as AWS describes it ("Create a signed AWS API request").
    fn signature(&self, secret: &str) -> String {
        let authorization = self.field("authorization").to_owned();
        let part = |name: &str| {
            let (_before, rest) = authorization.split_once(name).unwrap();
            rest.split(',').next().unwrap().trim().to_owned()
        };
        let (credential, signed) = (part("Credential="), part("SignedHeaders="));
        let (_key, scope) = credential.split_once('/').unwrap();
        let fields: String = signed.split(';').map(|name| format!("{name}:{}\n", self.field(name))).collect();
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let hash = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        let canonical = format!("{}\n{path}\n{query}\n{fields}\n{signed}\n{}", self.method, hash(&self.body));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.field("x-amz-date"), hash(canonical.as_bytes()));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes());
        }
        hex(&mac(&key, text.as_bytes()))
    }

    fn is_signed_with(&self, secret: &str) -> bool {
        self.field("authorization").ends_with(&format!("Signature={}", self.signature(secret)))
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Record = Arc<Mutex<Vec<Seen>>>;

/// A server that answers as `answer` says.
async fn serve(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> (u16, Record) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let record = Record::default();
    let (kept, answer) = (Arc::clone(&record), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            let (record, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            let service = service_fn(move |request: Request<Incoming>| {
                let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                async move {
                    let (head, body) = request.into_parts();
                    let seen = Seen {
                        method: head.method.to_string(),
                        target: head.uri.to_string(),
                        headers: head.headers,
                        body: body.collect().await.unwrap().to_bytes(),
                    };
                    let response = answer(&seen);
                    record.lock().unwrap().push(seen);
                    Ok::<_, Infallible>(response)
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    (port, record)
}

fn ok(_seen: &Seen) -> Response<Full<Bytes>> {
    Response::new(Full::from("ok"))
}

fn aws_grant(port: u16, keys: AwsKeys) -> Grant {
    let auth = AwsAuth { region: "eu-west-1".into(), service: "ecs".into(), keys };
    Grant { auth: Auth::Aws(Box::new(auth)), ..grant(port, &["POST /", "GET /list?a=*&b=*"]) }
}

fn files(directory: &Path) -> AwsKeys {
    AwsKeys::Files {
        access_key: secret(directory, "access", "AKID\n"),
        secret_key: secret(directory, "secret", SECRET),
        session_token: Some(secret(directory, "session", TOKEN)),
    }
}

fn describe() -> Request<Full<Bytes>> {
    let mut request = post("/", "{\"cluster\":\"edge\"}");
    let target = "AmazonEC2ContainerServiceV20141113.DescribeServices".parse().unwrap();
    request.headers_mut().insert("x-amz-target", target);
    request.headers_mut().insert("content-type", "application/x-amz-json-1.1".parse().unwrap());
    request
}

#[tokio::test]
async fn what_is_sent_is_signed_with_the_keys_of_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let (port, record) = serve(ok).await;
    let edge = Edge::new(aws_grant(port, files(directory.path())));
    let mut request = describe();
    request.headers_mut().insert("x-amz-date", "19700101T000000Z".parse().unwrap());
    request.headers_mut().insert("x-amz-security-token", "the guest's".parse().unwrap());
    request.headers_mut().insert("authorization", "the guest's".parse().unwrap());
    assert_eq!(text(edge.send(request).await.unwrap()).await, "ok");
    drop(edge.get("/list?a=1&b=2").await.unwrap());
    let seen = record.lock().unwrap().clone();
    for seen in &seen {
        assert!(seen.is_signed_with(SECRET), "{seen:?}");
        assert!(!seen.is_signed_with("another"));
        assert_eq!(seen.field("x-amz-security-token"), TOKEN);
        assert!(seen.field("authorization").contains("/eu-west-1/ecs/aws4_request, SignedHeaders="), "{seen:?}");
    }
    let signed = seen[0].field("authorization");
    assert!(
        signed.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"),
        "{signed}"
    );
    assert_eq!(seen[0].headers.get_all("authorization").iter().count(), 1);
    assert_eq!(&*seen[0].body, b"{\"cluster\":\"edge\"}");
}

#[tokio::test]
async fn a_profile_of_the_shared_file_is_used_and_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let content = |key: &str| {
        format!(
            "[default]\naws_access_key_id=NO\naws_secret_access_key=no\n[edge]\naws_access_key_id = AKID\naws_secret_access_key = {key}\n"
        )
    };
    let path = secret(directory.path(), "credentials", &content(SECRET));
    let keys = AwsKeys::Profile { path: path.clone(), name: "edge".into() };
    // Refuses what is signed with the old key, as AWS does when a session ended.
    let (port, record) = serve(|seen| {
        let status = if seen.is_signed_with("renewed") { StatusCode::OK } else { StatusCode::FORBIDDEN };
        Response::builder().status(status).body(Full::from("x")).unwrap()
    })
    .await;
    let edge = Edge::new(aws_grant(port, keys.clone()));
    assert_eq!(edge.send(describe()).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(record.lock().unwrap()[0].is_signed_with(SECRET));
    std::fs::write(&path, content("renewed")).unwrap();
    assert_eq!(edge.send(describe()).await.unwrap().status(), StatusCode::OK);

    std::fs::write(&path, "[default]\naws_access_key_id=NO\n").unwrap();
    let said = said(&Edge::try_new(aws_grant(port, keys)).map(|_| ()).unwrap_err());
    assert!(said.contains("has no aws_access_key_id in [edge]"), "{said}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_answered_with_the_servers() {
    let directory = tempfile::tempdir().unwrap();
    // The server's clock is ahead of this machine's.
    let ahead = SystemTime::now() + Duration::from_secs(7200);
    let date = httpdate::fmt_http_date(ahead);
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).take(10).map(char::from).collect::<String>();
    // The day and the hour: close enough for a test, and the tolerance of AWS is minutes.
    let hour = |time: SystemTime| {
        let fields = [("x-amz-date", humantime(time))];
        digits(&fields[0].1)
    };
    let wanted = [hour(ahead), hour(ahead + Duration::from_secs(60))];
    let (port, record) = serve(move |seen| {
        let is_in_time = wanted.contains(&digits(seen.field("x-amz-date")));
        let status = if is_in_time { StatusCode::OK } else { StatusCode::FORBIDDEN };
        Response::builder().status(status).header("date", &date).body(Full::from("x")).unwrap()
    })
    .await;
    let edge = Edge::new(aws_grant(port, files(directory.path())));
    for _ in 0..2 {
        assert_eq!(edge.send(describe()).await.unwrap().status(), StatusCode::OK);
    }
    let seen = record.lock().unwrap().clone();
    assert_eq!(seen.len(), 3, "refused once, then signed with the server's time");
    assert!(seen.iter().all(|seen| seen.is_signed_with(SECRET)));
}

/// The digits of a time as `x-amz-date` has them.
fn humantime(time: SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    let fields: Vec<&str> = text.split(' ').collect();
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|name| *name == fields[2])
        .unwrap();
    format!("{}{:02}{}T{}", fields[3], month + 1, fields[1], fields[4])
}

#[tokio::test]
async fn keys_of_a_container_come_from_its_endpoint_and_are_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let (endpoint, asked) = serve(|seen| {
        if seen.target != "/v1/keys" || seen.headers.get("authorization").is_none_or(|token| token != "pod-token") {
            return Response::builder().status(StatusCode::UNAUTHORIZED).body(Full::default()).unwrap();
        }
        // They end soon, so each request asks for others.
        let until = "2020-01-01T00:00:00Z";
        Response::new(Full::from(format!(
            "{{\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"{TOKEN}\",\"Expiration\":\"{until}\"}}"
        )))
    })
    .await;
    let (port, record) = serve(ok).await;
    let container = |path: &str| AwsKeys::Container {
        connect: format!("http://127.0.0.1:{endpoint}").parse().unwrap(),
        path: path.to_owned(),
        token_file: Some(secret(directory.path(), "pod", "pod-token")),
    };
    // Making it asks nobody: only who sends needs keys.
    let edge = Edge::new(aws_grant(port, container("/v1/keys")));
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(edge.send(describe()).await.unwrap().status(), StatusCode::OK);
    let seen = record.lock().unwrap()[0].clone();
    assert!(seen.is_signed_with(SECRET));
    assert_eq!(seen.field("x-amz-security-token"), TOKEN);
    assert_eq!(asked.lock().unwrap().len(), 1);

    // Without keys nothing is sent, and nothing unsigned.
    let edge = Edge::new(aws_grant(port, container("/other")));
    let error = edge.send(describe()).await.unwrap_err();
    assert!(said(&error).contains("was not signed"), "{}", said(&error));
    assert!(!said(&error).contains(TOKEN) && error.is_retryable());
    assert_eq!(record.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_signed_body_is_bounded_and_no_answer_gives_a_key_away() {
    use base64::Engine as _;
    let directory = tempfile::tempdir().unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("key={SECRET}"));
    let (port, record) = serve(move |seen| {
        let token = seen.field("x-amz-security-token");
        let percent = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).to_string();
        Response::builder()
            .header("x-plain", SECRET)
            .header("x-base64", &encoded)
            .header("x-percent", percent)
            .header("x-kept", "yes")
            .body(Full::from("x"))
            .unwrap()
    })
    .await;
    let mut granted = aws_grant(port, files(directory.path()));
    granted.limits.buffered_bytes = 64;
    let edge = Edge::new(granted);
    let names: Vec<String> = edge
        .send(describe())
        .await
        .unwrap()
        .headers()
        .keys()
        .map(ToString::to_string)
        .filter(|name| name.starts_with("x-"))
        .collect();
    assert_eq!(names, ["x-kept"]);
    let long = edge.send(post("/", "12345678901234567890123456789012345678901234567890123456789012345")).await;
    assert!(matches!(long.unwrap_err(), EgressError::BodyTooLarge { limit: 64, .. }));
    assert_eq!(record.lock().unwrap().len(), 1);
}
