//! Who signed a plugin: minisign signatures, checked offline against the keys that the operator named.
//!
//! A signature is a small file beside the component (`acme.wasm.minisig`) or at a path of the operator's
//! choice. Both forms of minisign are read: the prehashed one, and the older one over the bytes themselves.
//! Format: <https://jedisct1.github.io/minisign/>, "Signature format".
//!
//! A key may count only from a day, or until one, so that keys can be rotated: both are named for a while. The
//! days are compared with the clock at the time of loading, since the time inside a signature is the word of
//! whoever holds the key.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minisign_verify::{Error as Minisign, PublicKey, Signature};

use crate::provider::ComponentSource;

/// The longest signature file, in bytes. A real one has about 300.
pub const SIGNATURE_MAX_BYTES: u64 = 64 << 10;

/// The most characters of a signature's comment that are kept.
pub const COMMENT_MAX_CHARS: usize = 200;

/// What is added to a component's path.
const SUFFIX: &str = ".minisig";

/// What a provider asks of its plugin's signature. By default nothing: then no signature is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// `require`: an unsigned plugin is refused. Default `false`: one that has no signature is loaded, one whose
    /// signature does not fit is refused.
    pub require: bool,
    /// The keys that count.
    pub keys: Vec<TrustedKey>,
    /// `file`: the signature's path. Default: the component's path and `.minisig`.
    pub file: Option<PathBuf>,
}

/// A key that the operator trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The operator's name for it.
    pub name: String,
    /// The key.
    pub key: MinisignKey,
    /// It counts from then on.
    pub not_before: Option<SystemTime>,
    /// It counts until then.
    pub not_after: Option<SystemTime>,
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

/// Who vouches for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The operator's name for the key.
    pub key: String,
    /// What the signer wrote into the signature (it is signed too), without control characters.
    pub comment: String,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// Why a plugin's signature is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is none, and there has to be one.
    #[error("it is not signed: there is no {}; sign it with `minisign -S`, or write signature.file", path.display())]
    Unsigned {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It was sent over the admin socket in the place of a bundled plugin, which has no signature.
    #[error("it was uploaded without a signature; write component = \"/path/to/it.wasm\", with its .minisig beside it")]
    Uploaded,
    /// It cannot be read.
    #[error("its signature {} cannot be read", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no signature.
    #[error("{} is not a minisign signature", path.display())]
    Malformed {
        /// Where it is.
        path: PathBuf,
    },
    /// Nobody whom the operator trusts signed it.
    #[error(
        "it was signed with a key that the configuration does not name; {}",
        if known.is_empty() { "it names none: write [signature.key.NAME]".to_owned() } else { format!("it names {}", known.join(", ")) }
    )]
    UnknownKey {
        /// The names of the trusted keys.
        known: Vec<String>,
    },
    /// The signature belongs to other bytes, or was tampered with.
    #[error(
        "the signature of key {key} does not fit: the file was changed after it was signed, or the signature belongs to another one"
    )]
    Wrong {
        /// The operator's name for the key.
        key: String,
    },
    /// The key does not count yet, or no more.
    #[error("it was signed with key {key}, which counts {}", if *is_over { "no more since its not-after" } else { "only from its not-before on" })]
    OutOfTime {
        /// The operator's name for the key.
        key: String,
        /// Whether its time is over, rather than yet to come.
        is_over: bool,
    },
}

impl SignaturePolicy {
    /// Whether a signature is looked for at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.require || !self.keys.is_empty()
    }

    /// Checks a component's signature; `None` if it has none and needs none. A bundled plugin is part of the
    /// binary, which somebody else vouches for. Blocks for reading one small file.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify(
        &self,
        source: &ComponentSource,
        component: &[u8],
        now: SystemTime,
    ) -> Result<Option<Signer>, SignatureError> {
        let ComponentSource::File(path) = source else { return Ok(None) };
        if !self.is_on() {
            return Ok(None);
        }
        let path = self.path(path);
        match read(&path) {
            Ok(text) => self.check(&text, component, now, &path).map(Some),
            // A signature whose path is written out has to be there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.require && self.file.is_none() => {
                Ok(None)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(SignatureError::Unsigned { path }),
            Err(source) => Err(SignatureError::Unreadable { path, source }),
        }
    }

    /// Where the signature of a component is.
    #[must_use]
    pub fn path(&self, component: &Path) -> PathBuf {
        self.file.clone().unwrap_or_else(|| {
            let mut path = component.as_os_str().to_owned();
            path.push(SUFFIX);
            path.into()
        })
    }

    /// Checks a signature's text; `path` is for messages.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn check(&self, text: &str, component: &[u8], now: SystemTime, path: &Path) -> Result<Signer, SignatureError> {
        let signature =
            Signature::decode(text).map_err(|_reason| SignatureError::Malformed { path: path.to_owned() })?;
        let mut wrong = None;
        for trusted in &self.keys {
            match trusted.key.0.verify(component, &signature, true) {
                Ok(()) => return trusted.in_time(now).map(|()| trusted.signer(&signature)),
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
            None => SignatureError::UnknownKey { known: self.keys.iter().map(|key| key.name.clone()).collect() },
        })
    }
}

impl TrustedKey {
    fn in_time(&self, now: SystemTime) -> Result<(), SignatureError> {
        let error = |is_over| SignatureError::OutOfTime { key: self.name.clone(), is_over };
        if self.not_before.is_some_and(|first| now < first) {
            return Err(error(false));
        }
        if self.not_after.is_some_and(|last| now > last) {
            return Err(error(true));
        }
        Ok(())
    }

    fn signer(&self, signature: &Signature) -> Signer {
        let comment = signature.trusted_comment().chars().map(|c| if c.is_control() { ' ' } else { c });
        Signer { key: self.name.clone(), comment: comment.take(COMMENT_MAX_CHARS).collect() }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(SIGNATURE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIGNATURE_MAX_BYTES {
        return Err(std::io::Error::other(format!("it has more than {SIGNATURE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
