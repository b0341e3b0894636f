//! The arithmetic of sigstore bundles, by the provider of cryptography that the rest of the gateway uses.

use std::sync::Once;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use sigstore_verify::crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_verify::types::HashAlgorithm;

/// Makes [`Ring`] what bundles are verified with. Cheap when it is already.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nobody else installs one, and then theirs would do as well.
        let _already_there = install_default_provider(&Ring);
    });
}

/// `ring`, and `p256` for the one thing that `ring` does not offer: a signature over a digest.
#[derive(Debug)]
struct Ring;

struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        let algorithm = if algorithm == HashAlgorithm::Sha2256 {
            &digest::SHA256
        } else if algorithm == HashAlgorithm::Sha2384 {
            &digest::SHA384
        } else if algorithm == HashAlgorithm::Sha2512 {
            &digest::SHA512
        } else {
            return Err(Error::UnsupportedAlgorithm(format!("digests with {algorithm} are not made here")));
        };
        Ok(Box::new(Hash(digest::Context::new(algorithm))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let algorithm = algorithm(scheme).ok_or_else(|| unsupported(scheme))?;
        UnparsedPublicKey::new(algorithm, key).verify(data, signature).map_err(|_unspecified| does_not_fit(scheme))
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
        // What `cosign` makes its keys for, and the only kind of key that Sigstore's own clients must know.
        if !matches!(scheme, SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384) {
            return Err(unsupported(scheme));
        }
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|error| Error::InvalidKey(error.to_string()))?;
        let signature = Signature::from_der(signature).map_err(|_malformed| does_not_fit(scheme))?;
        key.verify_prehash(digest, &signature).map_err(|_unspecified| does_not_fit(scheme))
    }
}

fn algorithm(scheme: SigningScheme) -> Option<&'static dyn VerificationAlgorithm> {
    let known: [(SigningScheme, &'static dyn VerificationAlgorithm); 11] = [
        (SigningScheme::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1),
        (SigningScheme::EcdsaP256Sha384, &ECDSA_P256_SHA384_ASN1),
        (SigningScheme::EcdsaP384Sha256, &ECDSA_P384_SHA256_ASN1),
        (SigningScheme::EcdsaP384Sha384, &ECDSA_P384_SHA384_ASN1),
        (SigningScheme::Ed25519, &ED25519),
        (SigningScheme::RsaPssSha256, &RSA_PSS_2048_8192_SHA256),
        (SigningScheme::RsaPssSha384, &RSA_PSS_2048_8192_SHA384),
        (SigningScheme::RsaPssSha512, &RSA_PSS_2048_8192_SHA512),
        (SigningScheme::RsaPkcs1Sha256, &RSA_PKCS1_2048_8192_SHA256),
        (SigningScheme::RsaPkcs1Sha384, &RSA_PKCS1_2048_8192_SHA384),
        (SigningScheme::RsaPkcs1Sha512, &RSA_PKCS1_2048_8192_SHA512),
    ];
    known.iter().find(|(name, _)| *name == scheme).map(|(_, algorithm)| *algorithm)
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(format!("{} is not read here; sign with an ECDSA key on P-256", scheme.name()))
}

fn does_not_fit(scheme: SigningScheme) -> Error {
    Error::Verification(format!("the {} signature does not fit", scheme.name()))
}
