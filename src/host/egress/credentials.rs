//! Credentials: read from files, added behind the sandbox, and kept from coming back.

use std::path::Path;

use base64::Engine as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::echo::Echo;
use super::error::GrantFault;
use super::files::read_secret;
use crate::host::grant::{Auth, Source};

/// What a grant adds to every request. Has no `Debug`: it cannot be logged by accident.
pub(super) struct Credentials {
    field: Option<(HeaderName, HeaderValue)>,
    echo: Echo,
}

impl Credentials {
    /// Reads the files. Blocks.
    pub(super) fn load(auth: &Auth) -> Result<Self, GrantFault> {
        match auth {
            Auth::None => Ok(Self { field: None, echo: Echo::of(&[]) }),
            Auth::Basic { user_file, password_file } => {
                let user = read_secret(&Source::from(user_file.clone()))?;
                // RFC 7617 section 2: the first colon ends the user's name.
                if user.contains(':') {
                    return Err(GrantFault::NotASecret { path: user_file.clone() });
                }
                let password = read_secret(&Source::from(password_file.clone()))?;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                let value = secret_value(&format!("Basic {pair}"), password_file)?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&password, &pair]))
            }
            Auth::Header { name, file } => {
                if belongs_to_the_connection(name) {
                    return Err(GrantFault::Header(name.to_string()));
                }
                let secret = read_secret(&Source::from(file.clone()))?;
                Ok(Self::of(name.clone(), secret_value(&secret, file)?, &[&secret]))
            }
            Auth::Bearer { token: source } => {
                let token = read_secret(source)?;
                let value = secret_value(&format!("Bearer {token}"), source.path())?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&token]))
            }
        }
    }

    fn of(name: HeaderName, value: HeaderValue, secrets: &[&str]) -> Self {
        Self { field: Some((name, value)), echo: Echo::of(secrets) }
    }

    /// Adds the credential, in place of anything that has its name.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.field {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Whether a field of a response gives the credential away.
    pub(super) fn is_echoed_by(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        self.echo.is_in(name, value)
    }
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
