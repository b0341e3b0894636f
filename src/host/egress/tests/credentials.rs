//! Credentials reach the platform and nobody else.

use super::server::Server;
use super::*;
use crate::host::grant::Auth;

const PASSWORD: &str = "correct-horse";

fn basic(directory: &Path) -> Auth {
    Auth::Basic {
        user_file: secret(directory, "user", "admin\n"),
        password_file: secret(directory, "password", &format!("{PASSWORD}\n")),
    }
}

#[tokio::test]
async fn each_kind_of_credential_reaches_the_platform() {
    let directory = tempfile::tempdir().unwrap();
    let token = secret(directory.path(), "token", " abc.def-123 \r\n");
    for (auth, field, value) in [
        (basic(directory.path()), "authorization", "Basic YWRtaW46Y29ycmVjdC1ob3JzZQ=="),
        (Auth::Bearer { token: token.clone().into() }, "authorization", "Bearer abc.def-123"),
        (Auth::Header { name: "x-token".parse().unwrap(), file: token.clone() }, "x-token", "abc.def-123"),
    ] {
        let server = Server::start().await;
        let edge = Edge::new(Grant { auth, ..grant(server.port, &["GET /x"]) });
        let mut request = get("/x");
        request.headers_mut().insert("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=".parse().unwrap());
        request.headers_mut().insert("x-token", "the guest's".parse().unwrap());
        text(edge.send(request).await.unwrap()).await;
        let seen = server.only();
        assert_eq!(seen.field(field), Some(value));
        assert_eq!(seen.headers.get_all(field).iter().count(), 1);
    }
}

#[tokio::test]
async fn fields_that_echo_or_challenge_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let token = secret(directory.path(), "token", "abc.def-123");
    let auths = [
        basic(directory.path()),
        Auth::Bearer { token: token.clone().into() },
        Auth::Header { name: "x-token".parse().unwrap(), file: token },
    ];
    for auth in auths {
        let server = Server::start().await;
        let edge = Edge::new(Grant { auth: auth.clone(), ..grant(server.port, &["GET /echo"]) });
        let response = edge.get("/echo").await.unwrap();
        let names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
        for gone in ["x-echo", "x-nested", "set-cookie", "www-authenticate", "proxy-authenticate"] {
            assert!(!names.contains(&gone), "{auth:?}: {names:?}");
        }
        assert!(names.contains(&"x-kept"), "{names:?}");
        assert_eq!(text(response).await, "body");
        assert!(server.only().field("authorization").or(server.only().field("x-token")).is_some());
    }
}

#[tokio::test]
async fn a_short_secret_is_recognised_only_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let auth = Auth::Header { name: "x-token".parse().unwrap(), file: secret(directory.path(), "token", "ye") };
    let server = Server::start().await;
    let edge = Edge::new(Grant { auth, ..grant(server.port, &["GET /echo"]) });
    let response = edge.get("/echo").await.unwrap();
    assert_eq!(response.headers()["x-kept"], "yes");
    assert!(response.headers().get("x-echo").is_none());
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /hold", "GET /large"]);
    granted.auth = basic(directory.path());
    granted.limits.first_byte_timeout = std::time::Duration::from_millis(10);
    let shown = format!("{granted:?}");
    let edge = Edge::new(granted);
    let mut all = vec![shown, format!("{:?}", edge.egress), format!("{:?}", edge.egress.client("platform"))];
    for target in ["/denied", "/a//b", "/hold"] {
        let error = edge.get(target).await.unwrap_err();
        all.extend([said(&error), format!("{error:?}")]);
    }
    let response = edge.get("/large").await.unwrap();
    all.push(format!("{response:?}"));
    all.push(edge.metrics());
    for text in all {
        for part in [PASSWORD, "YWRtaW46"] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

#[test]
fn unusable_secrets_are_refused_at_load_by_the_name_of_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let bearer = |file: std::path::PathBuf| Grant { auth: Auth::Bearer { token: file.into() }, ..grant(9, &[]) };
    for (granted, part) in [
        (bearer(path.join("absent")), "absent was not read"),
        (bearer(secret(path, "empty", "\n")), "empty holds no usable secret"),
        (bearer(secret(path, "lines", "one\ntwo")), "lines holds no usable secret"),
        (bearer(secret(path, "binary", "a\u{1}b")), "binary holds no usable secret"),
        (bearer(secret(path, "huge", &"a".repeat((1 << 20) + 1))), "huge has more than"),
        (
            Grant {
                auth: Auth::Basic { user_file: secret(path, "colon", "a:b"), password_file: secret(path, "pw", "x") },
                ..grant(9, &[])
            },
            "colon holds no usable secret",
        ),
        (
            Grant { auth: Auth::Header { name: http::header::HOST, file: secret(path, "v", "x") }, ..grant(9, &[]) },
            "cannot carry a credential",
        ),
    ] {
        let said = said(&Edge::try_new(granted).map(|_| ()).unwrap_err());
        assert!(said.starts_with("provider edge: grant platform: "), "{said}");
        assert!(said.contains(part), "{said}");
        assert!(!said.contains("two"), "{said}");
    }
}
