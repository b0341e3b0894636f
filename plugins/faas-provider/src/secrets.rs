//! `secrets`: `/system/secrets`. No value is logged, and none comes back.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{Result, Secret, SecretPage, Secrets};

use crate::{ANSWER_BYTES, FaasProvider, create, page, url, wire};

impl Secrets for FaasProvider {
    fn list_secrets(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<SecretPage> {
        let all: Option<Vec<wire::SecretName>> = Request::get(url("system/secrets"))
            .query("namespace", namespace)
            .send()?
            .success(&format!("secrets of {namespace}"))?
            .json(ANSWER_BYTES)?;
        let (part, next) = page::cut(all.unwrap_or_default(), |secret| &secret.name, cursor, limit);
        Ok(SecretPage { names: part.into_iter().map(|secret| secret.name).collect(), next })
    }

    fn create_secret(&self, secret: Secret) -> Result<()> {
        let what = format!("create secret {}.{}", secret.name, secret.namespace);
        create(with_value(Request::post(url("system/secrets")), &secret)?, &what)
    }

    fn update_secret(&self, secret: Secret) -> Result<()> {
        let what = format!("update secret {}.{}", secret.name, secret.namespace);
        with_value(Request::put(url("system/secrets")), &secret)?.send()?.success(&what)?;
        Ok(())
    }

    fn delete_secret(&self, name: &str, namespace: &str) -> Result<()> {
        Request::delete(url("system/secrets"))
            .query("namespace", namespace)
            .json(&wire::Secret { name, namespace, value: None, raw_value: None })?
            .send()?
            .success(&format!("delete secret {name}.{namespace}"))?;
        Ok(())
    }
}

/// Puts a secret into a request: a text as `value`, which every provider knows, anything else as
/// `rawValue`, which newer ones do.
fn with_value(request: Request, secret: &Secret) -> Result<Request> {
    let text = std::str::from_utf8(&secret.value).ok();
    let raw_value = if text.is_none() { Some(base64(&secret.value)) } else { None };
    request.query("namespace", &secret.namespace).json(&wire::Secret {
        name: &secret.name,
        namespace: &secret.namespace,
        value: text,
        raw_value,
    })
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    let digit = |bits: u32| match u8::try_from(bits & 63).unwrap_or(0) {
        n @ 0..26 => char::from(b'A' + n),
        n @ 26..52 => char::from(b'a' + n - 26),
        n @ 52..62 => char::from(b'0' + n - 52),
        62 => '+',
        _ => '/',
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            text.push(if i <= group.len() { digit(bits >> (18 - 6 * i)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_rfc_4648s() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
