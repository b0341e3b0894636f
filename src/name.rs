//! Names and identities: parse, show, order. A leaf: it knows nothing of the rest.
//!
//! Every name is checked once, where it enters, and is cheap to clone afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in bytes. OpenFaaS sets no bound; a DNS name has 253 (RFC 1035 section 2.3.4).
pub const NAME_MAX_BYTES: usize = 253;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It is empty.
    #[error("a name must not be empty")]
    Empty,
    /// It has more than [`NAME_MAX_BYTES`].
    #[error("a name has at most {NAME_MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// It has a character outside `[-a-zA-Z0-9_.]`.
    #[error("{0:?} is not allowed in a name; write letters, digits, '-', '_' or '.'")]
    Character(char),
    /// It is `.` or `..`, or begins or ends with a dot, so that it could be read as a path.
    #[error("a name must not begin or end with a dot")]
    Dot,
}

fn check(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > NAME_MAX_BYTES {
        return Err(InvalidName::TooLong(text.len()));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(InvalidName::Character(bad));
    }
    if text.starts_with('.') || text.ends_with('.') {
        return Err(InvalidName::Dot);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a function on its platform. Guaranteed to be non-empty, at most
    /// [`NAME_MAX_BYTES`] long and of `[-a-zA-Z0-9_.]` (the faas-provider API's expression), and
    /// not to begin or end with a dot.
    FunctionName
}

name! {
    /// A namespace of functions. The same guarantees as [`FunctionName`], and no dot: the last dot
    /// of `name.namespace` separates the two.
    Namespace
}

name! {
    /// The name that the operator gave a provider. The same guarantees as [`FunctionName`].
    ProviderName
}

/// Which function: the only key for caches, cold starts and metrics.
///
/// Shown as `name.namespace`, which is also how a request's path names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionRef {
    /// The function's name.
    pub name: FunctionName,
    /// The namespace that it lives in.
    pub namespace: Namespace,
}

impl FunctionRef {
    /// Reads `name` or `name.namespace`, the form in a request's path.
    ///
    /// The *last* dot separates, as in OpenFaaS: `a.b.c` is function `a.b` in namespace `c`. A
    /// dotted name can therefore be reached only with its namespace written out.
    ///
    /// # Errors
    /// The part that is not a name says why.
    pub fn parse(text: &str, default_namespace: &Namespace) -> Result<Self, InvalidName> {
        match text.rsplit_once('.') {
            Some((name, namespace)) => Ok(Self { name: name.parse()?, namespace: namespace.parse()? }),
            None => Ok(Self { name: text.parse()?, namespace: default_namespace.clone() }),
        }
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// The running number of a publish. Grows by one with each, over all providers; 0 is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SHA-256 of a component's bytes, shown as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is \"sha256:\" and 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidDigest)?.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_not_utf8| InvalidDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_not_hexadecimal| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn default_namespace() -> Namespace {
        "openfaas-fn".parse().unwrap()
    }

    #[test]
    fn the_last_dot_separates_name_and_namespace() {
        let function = FunctionRef::parse("a.b.c", &default_namespace()).unwrap();
        assert_eq!(function.name.as_str(), "a.b");
        assert_eq!(function.namespace.as_str(), "c");
        assert_eq!(function.to_string(), "a.b.c");
    }

    #[test]
    fn a_name_without_a_dot_gets_the_default_namespace() {
        let function = FunctionRef::parse("figlet", &default_namespace()).unwrap();
        assert_eq!(function.to_string(), "figlet.openfaas-fn");
    }

    #[test]
    fn what_could_be_a_path_is_no_name() {
        for bad in ["", ".", "..", "a.", ".a", "a/b", "a b", "ä", "a%2f"] {
            assert!(FunctionRef::parse(bad, &default_namespace()).is_err(), "{bad:?}");
        }
        assert!(FunctionRef::parse(&"a".repeat(NAME_MAX_BYTES + 1), &default_namespace()).is_err());
    }

    #[test]
    fn a_digest_round_trips() {
        let digest = Digest::of(b"wicketgate");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("sha256:xyz".parse::<Digest>(), Err(InvalidDigest));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_accepts_only_the_grammar(text in ".{0,300}") {
            if let Ok(name) = text.parse::<FunctionName>() {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
                prop_assert!(name.as_str().len() <= NAME_MAX_BYTES);
            }
        }

        #[test]
        fn what_is_shown_parses_to_the_same(name in "[a-zA-Z0-9_-]{1,20}(\\.[a-zA-Z0-9_-]{1,20}){0,3}", namespace in "[a-z0-9-]{1,20}") {
            let function = FunctionRef { name: name.parse().unwrap(), namespace: namespace.parse().unwrap() };
            prop_assert_eq!(FunctionRef::parse(&function.to_string(), &default_namespace()).unwrap(), function);
        }
    }
}
