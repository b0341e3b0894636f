//! Who may call `/system/*`: basic credentials from files, everybody, or callers on this machine.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use http::{HeaderMap, Uri, header};
use sha2::{Digest as _, Sha256};

use crate::host::files::{ExposedSecrets, FileFault, read_secret};
use crate::host::grant::Source;

/// Who may call `/system/*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing is configured: only a loopback peer that addresses a loopback host, and no web page of
    /// another host. The last two keep pages in a local browser from reaching the API, under a name of
    /// their own or with a form that they send to 127.0.0.1.
    #[default]
    Loopback,
    /// `auth = "none"`, written out by the operator: everybody.
    Open,
    /// Whoever knows what these two files hold. They are read once, at the start.
    Basic {
        /// The file with the user's name; white space around it is trimmed.
        user_file: PathBuf,
        /// The file with the password; white space around it is trimmed.
        password_file: PathBuf,
    },
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No or wrong credentials: 401.
    Credentials,
    /// Not from this machine, and no credentials are configured: 403.
    NotLocal,
}

/// Decides by [`Auth`].
pub(super) enum Guard {
    Loopback,
    Open,
    Basic(Credentials),
}

/// What the files held, as digests: comparing them takes the same time whatever was sent, and no
/// secret lies in memory or in a debug print.
pub(super) struct Credentials {
    user: [u8; 32],
    password: [u8; 32],
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Guard {
    /// Reads the files. Blocks.
    pub(super) fn new(auth: &Auth, exposed: ExposedSecrets) -> Result<Self, FileFault> {
        let digest = |path: &PathBuf| -> Result<[u8; 32], FileFault> {
            Ok(Sha256::digest(read_secret(&Source::from(path.clone()), exposed)?.as_bytes()).into())
        };
        Ok(match auth {
            Auth::Loopback => Self::Loopback,
            Auth::Open => Self::Open,
            Auth::Basic { user_file, password_file } => {
                Self::Basic(Credentials { user: digest(user_file)?, password: digest(password_file)? })
            }
        })
    }

    /// Whether this caller may go on.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri, peer: SocketAddr) -> Result<(), Refused> {
        match self {
            Self::Open => Ok(()),
            Self::Loopback if is_loopback(peer) && names_loopback(headers, uri) && is_no_foreign_page(headers) => {
                Ok(())
            }
            Self::Loopback => Err(Refused::NotLocal),
            Self::Basic(credentials) if credentials.match_field(headers) => Ok(()),
            Self::Basic(_) => Err(Refused::Credentials),
        }
    }
}

impl Credentials {
    fn match_field(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = headers.get(header::AUTHORIZATION).and_then(|field| basic(field.as_bytes()))
        else {
            return false;
        };
        // Both are compared whatever the first says (`&`, not `&&`).
        same(&self.user, &Sha256::digest(user).into()) & same(&self.password, &Sha256::digest(password).into())
    }
}

/// Every file that cannot be used. Blocks.
pub(super) fn faults(auth: &Auth, exposed: ExposedSecrets) -> Vec<FileFault> {
    let files = match auth {
        Auth::Loopback | Auth::Open => Vec::new(),
        Auth::Basic { user_file, password_file } => vec![user_file, password_file],
    };
    files.into_iter().filter_map(|file| read_secret(&Source::from(file.clone()), exposed).err()).collect()
}

/// Reads `Basic base64(user:password)` (RFC 7617 section 2); the scheme's case does not matter.
fn basic(field: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((user.to_vec(), password.get(1..)?.to_vec()))
}

/// Compares two digests without a branch on their content.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    std::hint::black_box(left.iter().zip(right).fold(0, |differing, (a, b)| differing | (a ^ b))) == 0
}

fn is_loopback(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// Whether the request is addressed to this machine: by the target's authority (HTTP/2, absolute
/// form) and by the `Host` field. A request with neither (HTTP/1.0) is taken for local.
fn names_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    let fields = headers.get_all(header::HOST).iter().map(|field| field.to_str().unwrap_or("invalid"));
    fields.map(without_port).chain(uri.host()).all(is_loopback_name)
}

/// Whether no browser says that the request comes from a page of another host. The origin `null` is
/// another host's.
fn is_no_foreign_page(headers: &HeaderMap) -> bool {
    let origins = headers.get_all(header::ORIGIN).iter().map(|field| field.to_str().unwrap_or("invalid"));
    let mut hosts = origins.map(|origin| without_port(origin.split_once("://").map_or("null", |(_, host)| host)));
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    hosts.all(is_loopback_name) && site != Some(b"cross-site")
}

/// An authority's host. The colons of `[::1]` are inside its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// A folder with both files, and the setting that names them.
    fn files(user: &str, password: &str, mode: u32) -> (tempfile::TempDir, Auth) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let auth = Auth::Basic { user_file: file("user", user), password_file: file("password", password) };
        (folder, auth)
    }

    fn field(text: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }

    #[test]
    fn basic_credentials_are_trimmed_and_both_must_match() {
        let (_folder, auth) = files("admin\n", " secret:with colon \n", 0o600);
        let guard = Guard::new(&auth, ExposedSecrets::Refuse).unwrap();
        let peer = "192.0.2.1:1".parse().unwrap();
        let check = |text: &str| guard.check(&headers(&[("authorization", text)]), &Uri::from_static("/"), peer);
        assert_eq!(check(&field("admin:secret:with colon")), Ok(()));
        assert_eq!(check(&field("admin:secret:with colon").replace("Basic", "bASIC")), Ok(()));
        for bad in
            [field("admin:"), field("admin:wrong"), field("root:secret:with colon"), field("admin"), "Bearer x".into()]
        {
            assert_eq!(check(&bad), Err(Refused::Credentials), "{bad}");
        }
        assert_eq!(guard.check(&HeaderMap::new(), &Uri::from_static("/"), peer), Err(Refused::Credentials));
    }

    #[test]
    fn an_empty_password_and_what_everybody_can_read_are_refused() {
        let made = |password, mode, exposed| {
            let (_folder, auth) = files("admin", password, mode);
            Guard::new(&auth, exposed).map(drop)
        };
        assert!(matches!(made(" \n", 0o600, ExposedSecrets::Refuse), Err(FileFault::NotASecret { .. })));
        assert!(matches!(made("secret", 0o644, ExposedSecrets::Refuse), Err(FileFault::Exposed { .. })));
        assert!(matches!(made("secret", 0o644, ExposedSecrets::Warn), Ok(())));
        assert!(matches!(made(" \n", 0o644, ExposedSecrets::Warn), Err(FileFault::NotASecret { .. })));
    }

    #[test]
    fn without_credentials_peer_and_host_must_be_loopback() {
        let check = |host: &str, peer: &str| {
            Guard::Loopback.check(&headers(&[("host", host)]), &Uri::from_static("/"), peer.parse().unwrap()).is_ok()
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.8.8", "[::1]:8080", "[::1]"] {
            assert!(check(host, "127.0.0.1:1"), "{host}");
            assert!(check(host, "[::1]:1"), "{host}");
            assert!(check(host, "[::ffff:127.0.0.1]:1"), "{host}");
            assert!(!check(host, "192.0.2.1:1"), "{host}");
        }
        for host in ["rebound.example:8080", "localhost.example", "10.0.0.1", "", "127.0.0.1.example", "[::2]:80"] {
            assert!(!check(host, "127.0.0.1:1"), "{host}");
        }
    }

    #[test]
    fn an_absolute_target_counts_beside_the_host_field() {
        let uri = Uri::from_static("http://rebound.example/system/functions");
        let refused = Guard::Loopback.check(&headers(&[("host", "localhost")]), &uri, "127.0.0.1:1".parse().unwrap());
        assert_eq!(refused, Err(Refused::NotLocal));
    }

    #[test]
    fn a_page_of_another_host_is_turned_away() {
        let check = |name: &'static str, value: &str| {
            let headers = headers(&[("host", "127.0.0.1:8080"), (name, value)]);
            Guard::Loopback.check(&headers, &Uri::from_static("/"), "127.0.0.1:1".parse().unwrap()).is_ok()
        };
        assert!(check("origin", "http://localhost:3000"));
        assert!(check("sec-fetch-site", "same-origin"));
        assert!(!check("origin", "https://evil.example"));
        assert!(!check("origin", "null"));
        assert!(!check("sec-fetch-site", "cross-site"));
    }
}
