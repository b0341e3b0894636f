//! The address of a function where the plugin cannot tell: a URL with `{name}` and `{namespace}`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::policy::Authority;
use crate::name::FunctionRef;
use crate::query::{Endpoint, Target};

/// The time to live of an address from a template: the longest, since the operator vouches for it.
const TEMPLATE_TTL: Duration = Duration::from_secs(3600);

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address template: {reason}; expected a form like http://{{name}}.{{namespace}}.svc:8080")]
pub struct BadTemplate {
    text: String,
    reason: &'static str,
}

/// `endpoints.template`: `http` or `https`, a host, a port unless it is the scheme's own, a path.
/// `{name}` and `{namespace}` stand for the function's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    tls: bool,
    authority: String,
    path: String,
}

impl Template {
    /// The endpoint of a function.
    #[must_use]
    pub fn endpoint(&self, function: &FunctionRef) -> Endpoint {
        Endpoint {
            target: Target::Authority(fill(&self.authority, function).into()),
            path_prefix: fill(&self.path, function).into(),
            host_header: None,
            tls: self.tls,
            ttl: TEMPLATE_TTL,
            instance: Arc::default(),
            via: None,
        }
    }
}

/// Names have no braces, so that one cannot bring another placeholder in.
fn fill(text: &str, function: &FunctionRef) -> String {
    text.replace("{name}", function.name.as_str()).replace("{namespace}", function.namespace.as_str())
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let bad = |reason| BadTemplate { text: text.to_owned(), reason };
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(bad("it must begin with http:// or https://")),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let authority =
            if has_port { authority.to_owned() } else { format!("{authority}:{}", if tls { 443 } else { 80 }) };
        let unnamed = authority.replace("{name}", "n").replace("{namespace}", "n");
        Authority::parse(&unnamed).map_err(|_refused| bad("its host or port cannot be one"))?;
        let path = path.trim_end_matches('/').to_owned();
        let plain = path.replace("{name}", "n").replace("{namespace}", "n");
        if !plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b)) || plain.contains("..") {
            return Err(bad("its path may have letters, digits, '-', '_', '.', '~' and '/'"));
        }
        Ok(Self { tls, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(template: &str) -> Endpoint {
        let function = FunctionRef { name: "figlet".parse().unwrap(), namespace: "dev".parse().unwrap() };
        template.parse::<Template>().unwrap().endpoint(&function)
    }

    #[test]
    fn the_function_s_names_are_filled_in() {
        let found = endpoint("http://{name}.{namespace}.svc:8080/run/{name}/");
        assert_eq!(found.target, Target::Authority("figlet.dev.svc:8080".into()));
        assert_eq!(&*found.path_prefix, "/run/figlet");
        assert!(!found.tls);
    }

    #[test]
    fn the_port_is_the_scheme_s_unless_written() {
        assert_eq!(endpoint("http://{name}").target, Target::Authority("figlet:80".into()));
        assert_eq!(endpoint("https://[::1]").target, Target::Authority("[::1]:443".into()));
        assert!(endpoint("https://[::1]:8443").tls);
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_right_form() {
        for bad in [
            "",
            "figlet:80",
            "ftp://a",
            "http://",
            "http://{nam}",
            "http://u@h",
            "http://a:x",
            "http://a/../b",
            "http://a/?q",
        ] {
            let error = bad.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains("http://{name}.{namespace}.svc:8080"), "{bad}: {error}");
        }
    }
}
