//! AWS: requests are signed (Signature Version 4) after they left the sandbox.
//!
//! Keys come from files, or from the endpoint that ECS and EKS give to a container; that one the
//! host asks itself, outside of every grant, and only where the operator wrote it. A clock that is
//! wrong is answered by signing again with the server's.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials as Keys;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::fault::GrantFault;
use crate::host::files::{ExposedSecrets, FileFault, read_private, read_secret};
use crate::host::grant::{AwsAuth, AwsKeys, Source};

/// A clock that is further off than this is not taken for right. AWS refuses signatures that are more
/// than five minutes away from its own.
const SKEW_MAX: i64 = 240;

/// Signs with keys.
pub(super) struct Signer {
    auth: AwsAuth,
    keys: Keys,
}

impl Signer {
    pub(super) fn new(auth: &AwsAuth, keys: Keys) -> Self {
        Self { auth: auth.clone(), keys }
    }

    /// Whether the keys are none any more at a time.
    pub(super) fn ends_before(&self, time: SystemTime) -> bool {
        self.keys.expiry().is_some_and(|end| end < time)
    }

    /// What must not come back: the key's name is no secret.
    pub(super) fn secrets(&self) -> Vec<&str> {
        std::iter::once(self.keys.secret_access_key()).chain(self.keys.session_token()).collect()
    }

    /// The fields that sign a request: when, with what and how.
    ///
    /// # Errors
    /// What cannot be signed, in words for the log.
    pub(super) fn sign(
        &self,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let is_signed = |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        let signed = headers.iter().filter(|(name, _value)| is_signed(name));
        let signed = signed.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let request = SignableRequest::new(method.as_str(), url, signed, SignableBody::Bytes(body));
        let request = request.map_err(|error| error.to_string())?;
        let identity = self.keys.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.auth.region)
            .name(&self.auth.service)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?;
        let (instructions, _signature) = sign(request, &params.into()).map_err(|error| error.to_string())?.into_parts();
        let field = |(name, value): (&str, &str)| {
            let name = name.parse::<HeaderName>().map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        instructions.headers().map(field).collect()
    }
}

/// How far the platform's clock is ahead of this machine's, in seconds; 0 until it complained.
#[derive(Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    /// The platform's time.
    pub(super) fn now(&self) -> SystemTime {
        let ahead = self.0.load(Ordering::Relaxed);
        let span = Duration::from_secs(ahead.unsigned_abs());
        let now = local_now();
        (if ahead < 0 { now.checked_sub(span) } else { now.checked_add(span) }).unwrap_or(now)
    }

    /// Takes the time of an answer that refuses; whether it is so far from the one that was signed
    /// with that signing again is worth it.
    pub(super) fn learn(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let is_refusal = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let date = headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let Some(date) = date.filter(|_date| is_refusal) else { return false };
        let ahead = seconds(date).saturating_sub(seconds(local_now()));
        let before = self.0.load(Ordering::Relaxed);
        if ahead.saturating_sub(before).abs() <= SKEW_MAX {
            return false;
        }
        self.0.store(ahead, Ordering::Relaxed);
        true
    }
}

fn local_now() -> SystemTime {
    SystemTime::now()
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Reads keys from files. `None` where they come from a container's endpoint. Blocks.
pub(super) fn read(auth: &AwsAuth, exposed: ExposedSecrets) -> Result<Option<Keys>, GrantFault> {
    let secret = |path: &Path| read_secret(&Source::File(path.to_owned()), exposed);
    let keys = match &auth.keys {
        AwsKeys::Files { access_key, secret_key, session_token } => {
            let token = session_token.as_deref().map(secret).transpose()?;
            keys(secret(access_key)?, secret(secret_key)?, token, None)
        }
        AwsKeys::Profile { path, name } => {
            let bytes = read_private(&Source::File(path.clone()), exposed)?;
            let text = std::str::from_utf8(&bytes).map_err(|_binary| FileFault::NotASecret { path: path.clone() })?;
            let value = |key: &'static str| profile_value(text, name, key);
            let needed = |key: &'static str| {
                value(key).ok_or_else(|| GrantFault::Profile { path: path.clone(), profile: name.clone(), key })
            };
            keys(needed("aws_access_key_id")?, needed("aws_secret_access_key")?, value("aws_session_token"), None)
        }
        AwsKeys::Container { .. } => return Ok(None),
    };
    Ok(Some(keys))
}

pub(super) fn keys(access: String, secret: String, token: Option<String>, until: Option<SystemTime>) -> Keys {
    Keys::new(access, secret, token, until, "wicketgate")
}

/// A value of a section of AWS's shared credentials file: `[name]`, `key = value`, comments with `#`
/// and `;` at the start of a line.
fn profile_value(text: &str, profile: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let mut is_within = false;
    let mut found = None;
    for line in lines {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_within = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_pair| is_within)
            && name.trim() == key
            && !value.trim().is_empty()
        {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_section_of_the_shared_file() {
        let text = "; mine\n[default]\naws_access_key_id = AKID\n# aws_secret_access_key = no\n\
                    aws_secret_access_key=abc/def=\n\n[ other ]\naws_access_key_id=OTHER\naws_session_token = \n";
        assert_eq!(profile_value(text, "default", "aws_access_key_id").as_deref(), Some("AKID"));
        assert_eq!(profile_value(text, "default", "aws_secret_access_key").as_deref(), Some("abc/def="));
        assert_eq!(profile_value(text, "other", "aws_access_key_id").as_deref(), Some("OTHER"));
        assert_eq!(profile_value(text, "other", "aws_session_token"), None);
        assert_eq!(profile_value(text, "absent", "aws_access_key_id"), None);
    }

    /// The first case of AWS's published test suite for Signature Version 4, "get-vanilla".
    #[test]
    fn a_signature_is_the_one_that_aws_publishes() {
        let keys = keys("AKIDEXAMPLE".into(), "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(), None, None);
        let auth = AwsAuth {
            region: "us-east-1".into(),
            service: "service".into(),
            keys: AwsKeys::Profile { path: "/".into(), name: "x".into() },
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let fields = Signer::new(&auth, keys)
            .sign(&Method::GET, "https://example.amazonaws.com/", &HeaderMap::new(), b"", now)
            .unwrap();
        let field = |name: &str| fields.iter().find(|(known, _value)| known == name).unwrap().1.to_str().unwrap();
        assert_eq!(field("x-amz-date"), "20150830T123600Z");
        assert_eq!(
            field("authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert!(fields.iter().all(|(_name, value)| value.is_sensitive()));
    }
}
