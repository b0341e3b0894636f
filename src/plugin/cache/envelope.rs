//! The form of a file of machine code: a MAC, and behind it the code. Pure, so that it can be fuzzed.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::name::Digest;

/// Bytes of a host's key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the MAC before the code.
pub const MAC_BYTES: usize = 32;
/// Separates this use of the key from any other, and this form of the files from later ones.
const PURPOSE: &[u8] = b"wicketgate machine code 1";

/// What a file's code is bound to: who wrote it, for which component, for which engine.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The host's key.
    pub key: &'a [u8; KEY_BYTES],
    /// The component.
    pub digest: &'a Digest,
    /// Version, target and settings of the engine.
    pub compatibility: [u8; 8],
}

/// Why a file's code is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It ends before its MAC does.
    #[error("machine code is cut off")]
    Short,
    /// The MAC is not this host's for this component and this engine.
    #[error("machine code was not written by this host for this engine")]
    Mac,
}

impl Seal<'_> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).expect("HMAC takes keys of any length");
        for part in [PURPOSE, &self.digest.0, &self.compatibility, code] {
            mac.update(part);
        }
        mac
    }

    /// The MAC that stands before `code`.
    #[must_use]
    pub fn of(&self, code: &[u8]) -> [u8; MAC_BYTES] {
        self.mac(code).finalize().into_bytes().into()
    }

    /// The code in a file, if it was sealed like this. Takes the same time for every wrong MAC.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn open<'b>(&self, file: &'b [u8]) -> Result<&'b [u8], Broken> {
        let (mac, code) = file.split_at_checked(MAC_BYTES).ok_or(Broken::Short)?;
        self.mac(code).verify_slice(mac).map_err(|_other| Broken::Mac)?;
        Ok(code)
    }
}
