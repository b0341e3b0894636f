//! A sigstore of the tests' own: an authority for certificates, a log of signatures and a log of certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SigningKey as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Whom certificates name if a test says nothing else.
pub(crate) const IDENTITY: &str = "https://code.test/acme/plugin/.github/workflows/release.yml@refs/tags/v1.0.0";

/// Who says so.
pub(crate) const ISSUER: &str = "https://token.code.test";

/// The first second of 2026.
pub(crate) const SIGNED_AT: i64 = 1_767_225_600;

/// What a test wants of a bundle.
pub(crate) struct Wish {
    /// Whom the certificate names.
    pub(crate) identity: &'static str,
    /// When the log saw the signature, in seconds; the certificate is of [`SIGNED_AT`] and the ten minutes after.
    pub(crate) logged_at: i64,
    /// Whether the certificate is for signing code.
    pub(crate) is_for_code: bool,
    /// Whether the log of certificates knows the certificate.
    pub(crate) has_sct: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { identity: IDENTITY, logged_at: SIGNED_AT + 5, is_for_code: true, has_sct: true }
    }
}

/// All that a trusted root names.
pub(crate) struct Sigstore {
    authority: CertificateParams,
    authority_key: KeyPair,
    log: KeyPair,
    certificate_log: KeyPair,
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_id(key: &KeyPair) -> Vec<u8> {
    sha256(&[&key.subject_public_key_info()])
}

/// A length in as many bytes as TLS gives it.
fn length(bytes: usize, width: usize) -> Vec<u8> {
    u64::try_from(bytes).unwrap().to_be_bytes()[8 - width..].to_vec()
}

/// The contents of a DER value, and what follows it.
fn contents(der: &[u8]) -> (&[u8], &[u8]) {
    let first = usize::from(der[1]);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let digits = &der[2..2 + (first - 0x80)];
        (2 + digits.len(), digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
    };
    (&der[header..header + length], &der[header + length..])
}

/// The bytes of a certificate that its authority signs.
fn to_be_signed(certificate: &[u8]) -> &[u8] {
    let (inside, _) = contents(certificate);
    let (_, rest) = contents(inside);
    &inside[..inside.len() - rest.len()]
}

/// A short DER value.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = if length < 0x80 {
        vec![tag, u8::try_from(length).unwrap()]
    } else {
        vec![tag, 0x81, u8::try_from(length).unwrap()]
    };
    [header, content.to_vec()].concat()
}

impl Sigstore {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "the tests' authority");
        let key = || KeyPair::generate().unwrap();
        Self { authority, authority_key: key(), log: key(), certificate_log: key() }
    }

    /// The text of `trusted_root.json`.
    pub(crate) fn root(&self) -> String {
        let authority = self.authority.self_signed(&self.authority_key).unwrap();
        let window = json!({ "start": "2025-01-01T00:00:00Z" });
        let log = |key: &KeyPair| {
            json!({
                "baseUrl": "https://log.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64(key.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": window,
                },
                "logId": { "keyId": base64(key_id(key)) },
            })
        };
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)],
            "certificateAuthorities": [{
                "subject": { "organization": "tests", "commonName": "authority" },
                "uri": "https://authority.test",
                "certChain": { "certificates": [{ "rawBytes": base64(authority.der()) }] },
                "validFor": window,
            }],
            "ctlogs": [log(&self.certificate_log)],
            "timestampAuthorities": [],
        });
        root.to_string()
    }

    /// The certificate of a key that signs once, without the word of the log of certificates or with it.
    fn certificate(&self, wish: &Wish, key: &KeyPair) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.serial_number = Some(7_u64.into());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = std::time::SystemTime::UNIX_EPOCH.checked_add(seconds(SIGNED_AT)).unwrap().into();
        params.not_after = std::time::SystemTime::UNIX_EPOCH.checked_add(seconds(SIGNED_AT + 600)).unwrap().into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if wish.is_for_code {
            ExtendedKeyUsagePurpose::CodeSigning
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        params.subject_alt_names = vec![SanType::URI(wish.identity.try_into().unwrap())];
        // The name of the token's issuer, as a UTF8String.
        let issuer = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], der(0x0c, ISSUER.as_bytes()));
        params.custom_extensions = vec![issuer];
        let authority = Issuer::from_params(&self.authority, &self.authority_key);
        let without = params.signed_by(key, &authority).unwrap();
        if !wish.has_sct {
            return without;
        }
        let timestamp = (u64::try_from(SIGNED_AT).unwrap() * 1000).to_be_bytes();
        let signed_part = to_be_signed(without.der());
        // RFC 6962, section 3.2: version, kind, time, kind of entry, the issuer's key, the certificate, no extensions.
        let signed = [
            &[0, 0][..],
            &timestamp,
            &[0, 1],
            &sha256(&[&self.authority_key.subject_public_key_info()]),
            &length(signed_part.len(), 3),
            signed_part,
            &[0, 0],
        ];
        let signature = self.certificate_log.sign(&signed.concat()).unwrap();
        let word = [
            &[0][..],
            &key_id(&self.certificate_log),
            &timestamp,
            &[0, 0],
            // SHA-256 and ECDSA.
            &[4, 3],
            &length(signature.len(), 2),
            &signature,
        ]
        .concat();
        let list = [length(word.len() + 2, 2), length(word.len(), 2), word].concat();
        let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        params.custom_extensions.push(CustomExtension::from_oid_content(&oid, der(0x04, &list)));
        params.signed_by(key, &authority).unwrap()
    }

    /// A bundle of version 0.3 for these bytes.
    pub(crate) fn bundle(&self, bytes: &[u8], wish: &Wish) -> Value {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certificate(wish, &key);
        let (digest, signature) = (sha256(&[bytes]), key.sign(bytes).unwrap());
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": hex(&digest) } },
                "signature": {
                    "content": base64(&signature),
                    "publicKey": { "content": base64(certificate.pem()) },
                },
            },
        })
        .to_string();
        let log_id = key_id(&self.log);
        let promise = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{},\"logID\":\"{}\",\"logIndex\":1}}",
            base64(&body),
            wish.logged_at,
            hex(&log_id)
        );
        // The log holds another entry, and then this one.
        let other = sha256(&[&[0], b"another entry"]);
        let root = sha256(&[&[1], &other, &sha256(&[&[0], body.as_bytes()])]);
        let head = format!("log.test - 1\n2\n{}\n", base64(&root));
        let signed_head = [log_id[..4].to_vec(), self.log.sign(head.as_bytes()).unwrap()].concat();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": base64(certificate.der()) },
                "tlogEntries": [{
                    "logIndex": "1",
                    "logId": { "keyId": base64(&log_id) },
                    "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" },
                    "integratedTime": wish.logged_at.to_string(),
                    "inclusionPromise": { "signedEntryTimestamp": base64(self.log.sign(promise.as_bytes()).unwrap()) },
                    "inclusionProof": {
                        "logIndex": "1",
                        "rootHash": base64(&root),
                        "treeSize": "2",
                        "hashes": [base64(&other)],
                        "checkpoint": { "envelope": format!("{head}\n\u{2014} log.test {}\n", base64(signed_head)) },
                    },
                    "canonicalizedBody": base64(&body),
                }],
                "timestampVerificationData": { "rfc3161Timestamps": [] },
            },
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": base64(&digest) },
                "signature": base64(&signature),
            },
        })
    }
}

fn seconds(seconds: i64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds.try_into().unwrap())
}
