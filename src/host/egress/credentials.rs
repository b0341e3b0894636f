//! Credentials: read from files, added behind the sandbox, and kept from coming back.

use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use base64::Engine as _;
use http::Request;
use http::header::{self, HeaderName, HeaderValue};

use super::aws::{self, Signer};
use super::body::RequestBody;
use super::echo::Echo;
use super::fault::GrantFault;
use crate::host::files::{FileFault, read_secret};
use crate::host::grant::{Auth, AwsAuth, Grant, Source};

/// What a grant adds to every request. Has no `Debug`: it cannot be logged by accident.
pub(super) struct Credentials {
    proof: Proof,
    echo: Echo,
}

enum Proof {
    None,
    Field(HeaderName, HeaderValue),
    /// `None` until a container's endpoint gave keys.
    Aws(Option<Signer>),
}

impl Credentials {
    /// Reads the files. Blocks.
    pub(super) fn load(grant: &Grant) -> Result<Self, GrantFault> {
        let secret = |source: &Source| read_secret(source, grant.exposed_secrets);
        match &grant.auth {
            Auth::None => Ok(Self { proof: Proof::None, echo: Echo::of(&[]) }),
            Auth::Basic { user_file, password_file } => {
                let user = secret(&Source::from(user_file.clone()))?;
                // RFC 7617 section 2: the first colon ends the user's name.
                if user.contains(':') {
                    return Err(FileFault::NotASecret { path: user_file.clone() }.into());
                }
                let password = secret(&Source::from(password_file.clone()))?;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                let value = secret_value(&format!("Basic {pair}"), password_file)?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&password, &pair]))
            }
            Auth::Header { name, file } => {
                if belongs_to_the_connection(name) {
                    return Err(GrantFault::Header(name.to_string()));
                }
                let secret = secret(&Source::from(file.clone()))?;
                Ok(Self::of(name.clone(), secret_value(&secret, file)?, &[&secret]))
            }
            Auth::Aws(auth) => Ok(Self::signing(auth, aws::read(auth, grant.exposed_secrets)?)),
            Auth::Bearer { token: source } => {
                let token = secret(source)?;
                let value = secret_value(&format!("Bearer {token}"), source.path())?;
                Ok(Self::of(header::AUTHORIZATION, value, &[&token]))
            }
        }
    }

    fn of(name: HeaderName, value: HeaderValue, secrets: &[&str]) -> Self {
        Self { proof: Proof::Field(name, value), echo: Echo::of(secrets) }
    }

    /// What signs with these keys.
    pub(super) fn signing(auth: &AwsAuth, keys: Option<Keys>) -> Self {
        let signer = keys.map(|keys| Signer::new(auth, keys));
        let echo = Echo::of(&signer.as_ref().map(Signer::secrets).unwrap_or_default());
        Self { proof: Proof::Aws(signer), echo }
    }

    /// Whether requests are signed, so that their bodies have to be known.
    pub(super) fn signs(&self) -> bool {
        matches!(self.proof, Proof::Aws(_))
    }

    /// Whether keys are missing, or are none any more at a time.
    pub(super) fn end_before(&self, time: SystemTime) -> bool {
        match &self.proof {
            Proof::None | Proof::Field(..) => false,
            Proof::Aws(signer) => signer.as_ref().is_none_or(|signer| signer.ends_before(time)),
        }
    }

    /// Adds the credential, in place of anything that has its name.
    ///
    /// # Errors
    /// Why the request cannot be signed, in words for the log.
    pub(super) fn apply(&self, request: &mut Request<RequestBody>, url: &str, now: SystemTime) -> Result<(), String> {
        match &self.proof {
            Proof::None => {}
            Proof::Field(name, value) => drop(request.headers_mut().insert(name.clone(), value.clone())),
            Proof::Aws(signer) => {
                let signer = signer.as_ref().ok_or("there are no keys; the log says what their endpoint answered")?;
                let body = request.body().bytes().ok_or("its body is not known as a whole")?;
                let fields = signer.sign(request.method(), url, request.headers(), body, now)?;
                request.headers_mut().extend(fields);
            }
        }
        Ok(())
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

fn secret_value(text: &str, path: &Path) -> Result<HeaderValue, FileFault> {
    let mut value = HeaderValue::from_str(text).map_err(|_invalid| FileFault::NotASecret { path: path.to_owned() })?;
    // Kept out of hyper's logs and of HTTP/2's compression tables.
    value.set_sensitive(true);
    Ok(value)
}
