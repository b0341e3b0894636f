//! Sigstore bundles: who signed is an identity that a certificate names for some minutes, and a public log keeps
//! that it was used within them. Everything is checked offline.
//!
//! A bundle is a small file beside the component (`acme.wasm.sigstore.json`), as `cosign sign-blob --bundle` and
//! `gh attestation` write it. What vouches for it is a *trusted root*: a file of the operator's with the
//! certificates of the authority (Fulcio) and the keys of the logs (Rekor, CT) that count.
//! Format: <https://docs.sigstore.dev/about/bundle/>; what is checked:
//! <https://github.com/sigstore/architecture-docs/blob/main/client-spec.md>, section 4.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::Bundle;
use sigstore_verify::{VerificationPolicy, Verifier};

use super::{Days, SignatureError, Signer, crypto, printable, read_text};
use crate::host::grant::pattern::Pattern;

/// The largest trusted root, in bytes. The public one has about 7 KiB.
pub const ROOT_MAX_BYTES: u64 = 1 << 20;

/// The longest sentence of the verifier that is shown, in characters: it may quote the bundle.
const REASON_MAX_CHARS: usize = 400;

/// Somebody whom the operator trusts to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIdentity {
    /// The operator's name for it.
    pub name: String,
    /// The file of the trusted root. It is read anew for each check, so that it can be renewed.
    pub root: PathBuf,
    /// Whom the certificate has to name: a URI or a mail address. `*` stands for anything but `/`, `**` for
    /// anything.
    pub identity: Pattern,
    /// Who has to have said so: the issuer of the token that the certificate was made for.
    pub issuer: String,
    /// When a signature has to have been made, by the time that the log signed.
    pub days: Days,
}

/// What a bundle proves of its component.
#[derive(Clone, Debug)]
pub struct Proven {
    /// Whom the certificate names.
    pub identity: String,
    /// Who said so.
    pub issuer: String,
    /// When the signature was there already, each time as somebody signed it.
    pub times: Vec<SystemTime>,
}

/// Why a bundle proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// It is no bundle.
    #[error("it is not a sigstore bundle: {0}")]
    Malformed(String),
    /// A part of it does not fit.
    #[error("{0}")]
    Refused(String),
    /// It is signed by somebody without a name.
    #[error("its certificate does not say who signed, or who says so")]
    Nameless,
}

/// A trusted root that was read.
pub struct Root {
    verifier: Verifier,
    has_certificate_logs: bool,
}

impl Root {
    /// Reads the text of a trusted root.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        crypto::install();
        let root = TrustedRoot::from_json(text).map_err(|error| error.to_string())?;
        let missing = if root.certificate_authorities.is_empty() {
            Some("certificateAuthorities")
        } else if root.tlogs.is_empty() {
            Some("tlogs")
        } else {
            None
        };
        if let Some(missing) = missing {
            return Err(format!("it has no {missing}"));
        }
        let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
        Ok(Self { verifier, has_certificate_logs: !root.ctlogs.is_empty() })
    }

    fn read(path: &Path) -> Result<Self, SignatureError> {
        let unusable = |source| SignatureError::Root { path: path.to_owned(), source };
        let text = read_text(path, ROOT_MAX_BYTES).map_err(unusable)?;
        Self::parse(&text).map_err(|reason| unusable(io::Error::other(printable(&reason, REASON_MAX_CHARS))))
    }

    /// What a bundle proves of a component: the signature fits, the certificate leads to the root's authority and
    /// was valid when the log (or a timestamp authority) saw the signature, the log's entry is of this signature
    /// and in the log. A certificate needs its place in a CT log where the root names one.
    ///
    /// # Errors
    /// See [`NoProof`].
    pub fn prove(&self, bundle: &str, component: &[u8]) -> Result<Proven, NoProof> {
        let shown = |error: &dyn std::fmt::Display| printable(&error.to_string(), REASON_MAX_CHARS);
        let bundle = Bundle::from_json(bundle).map_err(|error| NoProof::Malformed(shown(&error)))?;
        let policy = VerificationPolicy::any_identity();
        let policy = if self.has_certificate_logs { policy } else { policy.skip_sct() };
        let result =
            self.verifier.verify(component, &bundle, &policy).map_err(|error| NoProof::Refused(shown(&error)))?;
        let is_checked = result.certificate_verified() && result.tlog_verified();
        let identity = result.identity().filter(|_| is_checked).ok_or(NoProof::Nameless)?.as_str().to_owned();
        let issuer = result.issuer().ok_or(NoProof::Nameless)?.to_owned();
        let times = result.verified_timestamps().iter().map(|time| SystemTime::from(*time)).collect();
        Ok(Proven { identity, issuer, times })
    }
}

/// Checks a bundle against everybody who is trusted; `origin` says in messages where it came from.
pub(super) fn check(
    trusted: &[TrustedIdentity],
    bundle: &str,
    component: &[u8],
    origin: &str,
) -> Result<Signer, SignatureError> {
    let mut roots: Vec<&PathBuf> = trusted.iter().map(|trusted| &trusted.root).collect();
    roots.sort_unstable();
    roots.dedup();
    let (mut stranger, mut failure) = (None, None);
    for root in roots {
        let proven = Root::read(root).and_then(|read| {
            let wrong = |source| SignatureError::Bundle { origin: origin.to_owned(), source };
            read.prove(bundle, component).map_err(wrong)
        });
        let proven = match proven {
            Ok(proven) => proven,
            Err(error) => {
                failure.get_or_insert(error);
                continue;
            }
        };
        let under_it = || trusted.iter().filter(|trusted| trusted.root == *root);
        let mut out_of_time = None;
        for its in under_it().filter(|its| its.is(&proven)) {
            match proven.times.iter().try_for_each(|time| its.days.check(&its.name, *time)) {
                Ok(()) => return Ok(its.signer(&proven)),
                Err(error) => out_of_time = Some(error),
            }
        }
        let unknown = || SignatureError::UnknownIdentity {
            identity: printable(&proven.identity, REASON_MAX_CHARS),
            issuer: printable(&proven.issuer, REASON_MAX_CHARS),
            known: under_it().map(|trusted| trusted.name.clone()).collect(),
        };
        stranger = Some(out_of_time.unwrap_or_else(unknown));
    }
    // What a root says of a bundle that it knows is worth more than that another root does not know it.
    let nobody = || SignatureError::UnknownKey { known: Vec::new() };
    Err(stranger.or(failure).unwrap_or_else(nobody))
}

impl TrustedIdentity {
    fn is(&self, proven: &Proven) -> bool {
        proven.issuer == self.issuer && self.identity.matches(proven.identity.as_bytes(), &[])
    }

    fn signer(&self, proven: &Proven) -> Signer {
        let comment = printable(&format!("{} ({})", proven.identity, proven.issuer), super::COMMENT_MAX_CHARS);
        Signer { key: self.name.clone(), comment }
    }
}

#[cfg(test)]
mod tests;
