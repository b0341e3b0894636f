//! Who signed a plugin: minisign signatures ([`minisign`]) and sigstore bundles ([`sigstore`]), checked offline
//! against the keys and identities that the operator named.
//!
//! A signature is a small file beside the component or at a path of the operator's choice. One that fits is
//! enough. Keys and identities may count only from a day, or until one, so that they can be rotated: both are
//! named for a while.

mod crypto;
pub mod minisign;
pub mod sigstore;

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use minisign::{InvalidKey, MinisignKey, TrustedKey};
pub use sigstore::{NoProof, TrustedIdentity};

use crate::name::Digest;
use crate::provider::ComponentSource;

/// The longest signature or bundle, in bytes. Real ones have about 300, and 4 to 12 thousand.
pub const SIGNATURE_MAX_BYTES: u64 = 64 << 10;

/// What a component's path and this are is the path of its minisign signature.
pub const MINISIGN_SUFFIX: &str = ".minisig";

/// The same of its sigstore bundle.
pub const BUNDLE_SUFFIX: &str = ".sigstore.json";

/// The most characters of a signer's description that are kept.
pub const COMMENT_MAX_CHARS: usize = 200;

/// What a provider asks of its plugin's signature. By default nothing: then no signature is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// `require`: an unsigned plugin is refused. Default `false`: one that has no signature is loaded, one whose
    /// signature does not fit is refused.
    pub require: bool,
    /// The minisign keys that count.
    pub keys: Vec<TrustedKey>,
    /// The sigstore identities that count.
    pub identities: Vec<TrustedIdentity>,
    /// `file`: the path of the minisign signature. Default: the component's path and `.minisig`.
    pub file: Option<PathBuf>,
    /// `bundle`: the path of the sigstore bundle. Default: the component's path and `.sigstore.json`.
    pub bundle: Option<PathBuf>,
}

/// The days in which somebody's signatures count. Default: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// From then on.
    pub not_before: Option<SystemTime>,
    /// Until then.
    pub not_after: Option<SystemTime>,
}

impl Days {
    fn check(&self, whose: &str, time: SystemTime) -> Result<(), SignatureError> {
        let error = |is_over| SignatureError::OutOfTime { key: whose.to_owned(), is_over };
        if self.not_before.is_some_and(|first| time < first) {
            return Err(error(false));
        }
        if self.not_after.is_some_and(|last| time > last) {
            return Err(error(true));
        }
        Ok(())
    }
}

/// Signatures that were handed over together with a component, in place of files beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The text of a `.minisig`.
    pub minisign: Option<String>,
    /// The text of a sigstore bundle.
    pub sigstore: Option<String>,
}

/// Who vouches for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The operator's name for the key or the identity.
    pub key: String,
    /// Without control characters: what the signer wrote into the signature (it is signed too), or whom the
    /// certificate names, and who says so.
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
    #[error("it is not signed: there is no {}; sign it as docs/trust.md says, or write signature.file", list(paths))]
    Unsigned {
        /// Where one was looked for.
        paths: Vec<PathBuf>,
    },
    /// It was sent over the admin socket, and no signature that counts with it.
    #[error("it was uploaded without its signature; send that too, as docs/admin-api.md says")]
    Uploaded,
    /// It cannot be read.
    #[error("its signature {} cannot be read", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no minisign signature.
    #[error("{origin} is not a minisign signature")]
    Malformed {
        /// Where it is.
        origin: String,
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
    /// The trusted root cannot be used.
    #[error("the trusted root {} cannot be used", path.display())]
    Root {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bundle does not prove that somebody signed these bytes.
    #[error("the bundle {origin} proves nothing of it")]
    Bundle {
        /// Where it is.
        origin: String,
        /// Why.
        source: NoProof,
    },
    /// Somebody whom the operator does not trust signed it.
    #[error(
        "it was signed by {identity}, says {issuer}, and the configuration does not name them; it names {}",
        known.join(", ")
    )]
    UnknownIdentity {
        /// Whom the certificate names.
        identity: String,
        /// Who says so.
        issuer: String,
        /// The names of the trusted identities.
        known: Vec<String>,
    },
    /// The key or identity did not count yet, or no more.
    #[error("it was signed with key {key}, which counts {}", if *is_over { "no more since its not-after" } else { "only from its not-before on" })]
    OutOfTime {
        /// The operator's name for the key or the identity.
        key: String,
        /// Whether its time is over, rather than yet to come.
        is_over: bool,
    },
    /// It has two signatures, and neither is accepted.
    #[error("{minisign}; and {}", chain(sigstore))]
    Neither {
        /// What is wrong with the minisign signature.
        minisign: Box<SignatureError>,
        /// What is wrong with the bundle.
        sigstore: Box<SignatureError>,
    },
}

impl SignaturePolicy {
    /// Whether a signature is looked for at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.require || !self.keys.is_empty() || !self.identities.is_empty()
    }

    /// Checks a component's signatures; `None` if it has none and needs none. A bundled plugin is part of the
    /// binary, which somebody else vouches for. Blocks for reading some small files.
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
        let minisign = self.minisign_file(path).map(|path| {
            let check = |text: &str, origin: &str| self.check_minisign(text, component, now, origin);
            beside(path, self.file.is_some(), check)
        });
        let sigstore = || {
            self.bundle_file(path).map(|path| {
                let check = |text: &str, origin: &str| sigstore::check(&self.identities, text, component, origin);
                beside(path, self.bundle.is_some(), check)
            })
        };
        self.one_of(minisign, sigstore, |paths| SignatureError::Unsigned { paths })
    }

    /// Checks the signatures that were sent with a component, whatever it is to replace.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify_sent(
        &self,
        sent: &Sent,
        component: &[u8],
        now: SystemTime,
    ) -> Result<Option<Signer>, SignatureError> {
        let known = |text: &Option<String>, is_read: bool| text.clone().filter(|_| is_read);
        let minisign = known(&sent.minisign, !self.keys.is_empty())
            .map(|text| self.check_minisign(&text, component, now, "the signature that was sent").into());
        let sigstore = || {
            known(&sent.sigstore, !self.identities.is_empty())
                .map(|text| sigstore::check(&self.identities, &text, component, "that was sent").into())
        };
        self.one_of(minisign, sigstore, |_paths| SignatureError::Uploaded)
    }

    /// One that fits is enough; of several that do not, each is told.
    fn one_of(
        &self,
        minisign: Option<Checked>,
        sigstore: impl FnOnce() -> Option<Checked>,
        unsigned: impl FnOnce(Vec<PathBuf>) -> SignatureError,
    ) -> Result<Option<Signer>, SignatureError> {
        if let Some(Checked::Fits(signer)) = minisign {
            return Ok(Some(signer));
        }
        match (minisign, sigstore()) {
            (Some(Checked::Fits(signer)), _) | (_, Some(Checked::Fits(signer))) => Ok(Some(signer)),
            (Some(Checked::Wrong(minisign)), Some(Checked::Wrong(sigstore))) => {
                Err(SignatureError::Neither { minisign: Box::new(minisign), sigstore: Box::new(sigstore) })
            }
            (Some(Checked::Wrong(error)), _) | (_, Some(Checked::Wrong(error))) => Err(error),
            (minisign, sigstore) if self.require => {
                Err(unsigned([minisign, sigstore].into_iter().flatten().filter_map(Checked::missing).collect()))
            }
            (None | Some(Checked::Missing(_)), None | Some(Checked::Missing(_))) => Ok(None),
        }
    }

    /// The same policy for another component than the configured one: its signatures are beside it.
    #[must_use]
    pub fn beside_another(mut self) -> Self {
        (self.file, self.bundle) = (None, None);
        self
    }

    /// What the signatures of a component are now, so that a change of them is noticed. A file that is not there,
    /// or cannot be read, is one too. Blocks for reading some small files.
    #[must_use]
    pub fn state(&self, component: &Path) -> Digest {
        let texts: Vec<_> = self.files(component).map(|path| read_text(&path, SIGNATURE_MAX_BYTES).ok()).collect();
        Digest::of(format!("{texts:?}").as_bytes())
    }

    /// Where signatures of a component are looked for.
    pub fn files(&self, component: &Path) -> impl Iterator<Item = PathBuf> {
        let [minisign, sigstore] =
            if self.is_on() { [self.minisign_file(component), self.bundle_file(component)] } else { [None, None] };
        minisign.into_iter().chain(sigstore)
    }

    /// Also where nothing is named, so that somebody is told where it would be.
    fn minisign_file(&self, component: &Path) -> Option<PathBuf> {
        let is_read = !self.keys.is_empty() || self.identities.is_empty();
        is_read.then(|| self.file.clone().unwrap_or_else(|| with_suffix(component, MINISIGN_SUFFIX)))
    }

    fn bundle_file(&self, component: &Path) -> Option<PathBuf> {
        let is_read = !self.identities.is_empty();
        is_read.then(|| self.bundle.clone().unwrap_or_else(|| with_suffix(component, BUNDLE_SUFFIX)))
    }

    /// Checks a minisign signature's text; `origin` says in messages where it came from.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn check_minisign(
        &self,
        text: &str,
        component: &[u8],
        now: SystemTime,
        origin: &str,
    ) -> Result<Signer, SignatureError> {
        minisign::check(&self.keys, text, component, now, origin)
    }
}

/// What became of one of the signatures of a component.
enum Checked {
    Fits(Signer),
    Wrong(SignatureError),
    Missing(PathBuf),
}

impl From<Result<Signer, SignatureError>> for Checked {
    fn from(checked: Result<Signer, SignatureError>) -> Self {
        match checked {
            Ok(signer) => Self::Fits(signer),
            Err(error) => Self::Wrong(error),
        }
    }
}

impl Checked {
    fn missing(self) -> Option<PathBuf> {
        match self {
            Self::Missing(path) => Some(path),
            Self::Fits(_) | Self::Wrong(_) => None,
        }
    }
}

/// A file whose path is written out has to be there.
fn beside(path: PathBuf, is_named: bool, check: impl FnOnce(&str, &str) -> Result<Signer, SignatureError>) -> Checked {
    match read_text(&path, SIGNATURE_MAX_BYTES) {
        Ok(text) => check(&text, &path.display().to_string()).into(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Checked::Missing(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Checked::Wrong(SignatureError::Unsigned { paths: vec![path] })
        }
        Err(source) => Checked::Wrong(SignatureError::Unreadable { path, source }),
    }
}

/// The path of a component's signature beside it.
#[must_use]
pub fn with_suffix(component: &Path, suffix: &str) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Reads a file of at most `most` bytes. Blocks.
///
/// # Errors
/// It cannot be read, is no regular file, is longer, or no UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// Somebody else's words in one line of at most `most` characters.
fn printable(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and no ")
}

fn chain(error: &SignatureError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
