//! Minisign signatures. Both forms are read: the prehashed one, and the older one over the bytes themselves.
//! Format: <https://jedisct1.github.io/minisign/>, "Signature format".

use std::fmt;
use std::time::SystemTime;

use minisign_verify::{Error as Minisign, PublicKey, Signature};

use super::{COMMENT_MAX_CHARS, Days, SignatureError, Signer, printable};

/// A key that the operator trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The operator's name for it.
    pub name: String,
    /// The key.
    pub key: MinisignKey,
    /// When it counts, by the clock at the time of loading: the time inside a signature is the word of whoever
    /// holds the key.
    pub days: Days,
}

/// A minisign public key.
#[derive(Clone, PartialEq, Eq)]
pub struct MinisignKey(PublicKey);

impl fmt::Debug for MinisignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MinisignKey")
    }
}

/// A text that is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a minisign public key: the line of minisign.pub that begins with \"RW\"")]
pub struct InvalidKey;

impl std::str::FromStr for MinisignKey {
    type Err = InvalidKey;

    /// Reads the key's line, or all of `minisign.pub`.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let key = if text.contains('\n') { PublicKey::decode(text) } else { PublicKey::from_base64(text) };
        key.map(Self).map_err(|_reason| InvalidKey)
    }
}

/// Checks a signature's text against the keys that are trusted; `origin` says in messages where it came from.
pub(super) fn check(
    trusted: &[TrustedKey],
    text: &str,
    component: &[u8],
    now: SystemTime,
    origin: &str,
) -> Result<Signer, SignatureError> {
    let malformed = |_reason| SignatureError::Malformed { origin: origin.to_owned() };
    let signature = Signature::decode(text).map_err(malformed)?;
    let mut wrong = None;
    for trusted in trusted {
        match trusted.key.0.verify(component, &signature, true) {
            Ok(()) => return trusted.days.check(&trusted.name, now).map(|()| trusted.signer(&signature)),
            // Another key, which nothing can be said of.
            Err(Minisign::UnexpectedKeyId) => {}
            Err(
                Minisign::InvalidSignature
                | Minisign::InvalidEncoding
                | Minisign::IoError(_)
                | Minisign::UnexpectedAlgorithm
                | Minisign::UnsupportedAlgorithm
                | Minisign::UnsupportedLegacyMode,
            ) => wrong = Some(trusted.name.clone()),
        }
    }
    Err(match wrong {
        Some(key) => SignatureError::Wrong { key },
        None => SignatureError::UnknownKey { known: trusted.iter().map(|key| key.name.clone()).collect() },
    })
}

impl TrustedKey {
    fn signer(&self, signature: &Signature) -> Signer {
        Signer { key: self.name.clone(), comment: printable(signature.trusted_comment(), COMMENT_MAX_CHARS) }
    }
}
