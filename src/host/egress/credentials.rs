//! Credentials: read from files, added behind the sandbox, and kept from coming back.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::GrantFault;
use crate::host::grant::Auth;

/// The longest file of a secret, a key or certificates, in bytes. A bundle of all public authorities
/// has about 220 KiB.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// A shorter secret is recognised only as a whole value: found *within* values it would strip
/// fields that have nothing to do with it.
const ECHO_MIN_BYTES: usize = 4;

/// What a grant adds to every request. Has no `Debug`: it cannot be logged by accident.
pub(super) struct Credentials {
    field: Option<(HeaderName, HeaderValue)>,
    secrets: Vec<Box<[u8]>>,
}

impl Credentials {
    /// Reads the files. Blocks.
    pub(super) fn load(auth: &Auth) -> Result<Self, GrantFault> {
        match auth {
            Auth::None => Ok(Self { field: None, secrets: Vec::new() }),
            Auth::Basic { user_file, password_file } => {
                let user = read_secret(user_file)?;
                // RFC 7617 section 2: the first colon ends the user's name.
                if user.contains(':') {
                    return Err(GrantFault::NotASecret { path: user_file.clone() });
                }
                let password = read_secret(password_file)?;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                let value = secret_value(&format!("Basic {pair}"), password_file)?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&password, &pair]))
            }
            Auth::Header { name, file } => {
                if belongs_to_the_connection(name) {
                    return Err(GrantFault::Header(name.to_string()));
                }
                let secret = read_secret(file)?;
                Ok(Self::of(name.clone(), secret_value(&secret, file)?, &[&secret]))
            }
            Auth::Bearer { file } => {
                let token = read_secret(file)?;
                let value = secret_value(&format!("Bearer {token}"), file)?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&token]))
            }
        }
    }

    fn of(name: HeaderName, value: HeaderValue, secrets: &[&str]) -> Self {
        let secrets = secrets.iter().map(|secret| secret.as_bytes().into()).collect();
        Self { field: Some((name, value)), secrets }
    }

    /// Adds the credential, in place of anything that has its name.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.field {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Whether a field of a response gives the credential away.
    pub(super) fn is_echoed_by(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        self.secrets.iter().any(|secret| {
            if secret.len() < ECHO_MIN_BYTES {
                return value.as_bytes() == &**secret;
            }
            contains(value.as_bytes(), secret) || contains_ignoring_case(name.as_str().as_bytes(), secret)
        })
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

fn belongs_to_the_connection(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
    ]
    .contains(name)
}

fn secret_value(text: &str, path: &Path) -> Result<HeaderValue, GrantFault> {
    let mut value = HeaderValue::from_str(text).map_err(|_invalid| GrantFault::NotASecret { path: path.to_owned() })?;
    // Kept out of hyper's logs and of HTTP/2's compression tables.
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a secret without the white space around it (as OpenFaaS does; editors end files with a
/// line break).
fn read_secret(path: &Path) -> Result<String, GrantFault> {
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(GrantFault::NotASecret { path: path.to_owned() });
    }
    Ok(text.to_owned())
}

/// Reads a file that only the gateway should be able to read; a warning says if others can.
pub(super) fn read_private(path: &Path) -> Result<Vec<u8>, GrantFault> {
    use std::os::unix::fs::PermissionsExt as _;
    let bytes = read_file(path)?;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
        tracing::warn!(path = %path.display(), "every user of this machine can read this secret; chmod 600 it");
    }
    Ok(bytes)
}

/// Reads a file of at most [`FILE_MAX_BYTES`].
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, GrantFault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(source) => Err(GrantFault::Unreadable { path: path.to_owned(), source }),
        Ok(_length) if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_MAX_BYTES) => Ok(bytes),
        Ok(_length) => Err(GrantFault::TooLong { path: path.to_owned(), limit: FILE_MAX_BYTES }),
    }
}
