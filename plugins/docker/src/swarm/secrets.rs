//! Secrets of the swarm. A value goes in, is never read back, and never stands in an error.

use serde_json::json;
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{ErrorKind, ProviderError, Result, Secret, SecretPage};

use crate::Docker;
use crate::api::{each, filters, success, taken, text, url};
use crate::names::{self, OWNER, swarm_name};

/// Where functions find their secrets, as in OpenFaaS.
pub(crate) const FOLDER: &str = "/var/openfaas/secrets";

/// A secret without its value.
pub(crate) struct Known {
    pub(crate) id: String,
    /// Its name in the swarm.
    pub(crate) name: String,
    /// Its name in its namespace.
    pub(crate) short: String,
}

/// The name of a secret in its namespace.
pub(crate) fn short<'a>(name: &'a str, namespace: &str) -> &'a str {
    name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name)
}

impl Docker {
    /// The secrets of a namespace that were made through OpenFaaS's API.
    pub(crate) fn secrets_of(&self, namespace: &str) -> Result<Vec<Known>> {
        self.settings.check_namespace(namespace)?;
        let own = format!("{}={}", OWNER.0, OWNER.1);
        let mut found = Vec::new();
        let request = Request::get(url("secrets")).query("filters", &filters(&[("label", &[own.as_str()])]));
        let first = self.settings.first_namespace();
        each(request, "secrets", &mut |secret| {
            let labels = names::labels(&secret, "/Spec/Labels");
            let name = text(&secret, "/Spec/Name");
            if names::label(&labels, names::NAMESPACE).unwrap_or(first) == namespace {
                let plain = if namespace == first { name } else { short(name, namespace) };
                let id = text(&secret, "/ID").to_owned();
                found.push(Known { id, short: plain.to_owned(), name: name.to_owned() });
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(crate) fn list_swarm_secrets(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<SecretPage> {
        let all = self.secrets_of(namespace)?.into_iter().map(|secret| secret.short).collect();
        let (names, next) = crate::page(all, &String::clone, cursor, limit);
        Ok(SecretPage { names, next })
    }

    pub(crate) fn create_swarm_secret(&self, secret: &Secret) -> Result<()> {
        self.settings.check_namespace(&secret.namespace)?;
        let name = swarm_name(&secret.name, &secret.namespace, &self.settings);
        let body = json!({
            "Name": name,
            "Labels": { OWNER.0: OWNER.1, names::NAMESPACE: secret.namespace },
            "Data": base64(&secret.value),
        });
        let answer = Request::post(url("secrets/create")).json(&body)?.send()?;
        success(answer, &format!("create secret {name}")).map_err(taken)?;
        Ok(())
    }

    /// The swarm cannot change a value, so the secret is deleted and made again; it refuses that while a
    /// service uses it.
    pub(crate) fn update_swarm_secret(&self, secret: &Secret) -> Result<()> {
        self.delete_swarm_secret(&secret.name, &secret.namespace).map_err(|error| {
            if error.kind == ErrorKind::Invalid {
                let advice =
                    "; a swarm cannot change a secret in use: make one of another name and update the functions";
                return ProviderError { message: error.message + advice, kind: ErrorKind::Conflict, ..error };
            }
            error
        })?;
        self.create_swarm_secret(secret)
    }

    pub(crate) fn delete_swarm_secret(&self, name: &str, namespace: &str) -> Result<()> {
        let known = self.secrets_of(namespace)?;
        let secret = known.iter().find(|secret| secret.short == name);
        let secret =
            secret.ok_or_else(|| ProviderError::not_found(format!("there is no secret {name} in {namespace}")))?;
        let answer = Request::delete(url("secrets/")).segment(&secret.id).send()?;
        success(answer, &format!("delete secret {name}"))?;
        Ok(())
    }
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| usize::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get(bits >> shift & 63).copied().filter(|_| at <= group.len());
            text.push(char::from(digit.unwrap_or(b'=')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, short};

    #[test]
    fn base64_is_rfc_4648s() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn the_namespace_before_a_name_is_cut_off() {
        assert_eq!((short("dev_key", "dev"), short("key", "dev"), short("devkey", "dev")), ("key", "key", "devkey"));
    }
}
