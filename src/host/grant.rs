//! A grant: what a plugin may reach, as the operator wrote it. Pure data and matching, no I/O.
//!
//! A guest never chooses an address. The authority of its request (`http://docker/services`) is the
//! *name* of a grant, and the grant says where that is ([`Connect`]), how the gateway proves who it
//! is ([`Auth`], [`Tls`]), which requests may pass ([`Rule`]) and how much of everything
//! ([`GrantLimits`]). Without a rule nothing passes.
//!
//! The parsers here ([`Connect`], [`BasePath`], [`Rule`]) take plain text, as it stands in the
//! configuration, and every error says what to write instead.

mod aws;
pub mod body;
pub mod connect;
pub mod kubeconfig;
pub mod path;
pub mod pattern;
pub mod rule;
mod source;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

pub use aws::{AwsAuth, AwsKeys};
pub use body::{BodyRefusal, BodyRule, BodySpec, InvalidBody};
pub use connect::{BasePath, Connect, InvalidBasePath, InvalidConnect};
pub use rule::{Effect, InvalidRule, Rule, RuleSpec};
pub use source::Source;

use crate::host::files::ExposedSecrets;
use crate::name::Namespace;
use crate::provider::AllowedHost;

/// One named permission to send requests somewhere. The name is the key in
/// [`ProviderConfig::grants`](crate::provider::ProviderConfig::grants).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `connect`: where the requests go.
    pub connect: Connect,
    /// `base`: put before the path of every request, after the rules were applied. Default: nothing.
    pub base: BasePath,
    /// `http`: the version that is spoken. Default HTTP/1.1.
    pub version: HttpVersion,
    /// `ca`, `client-cert`, `client-key`, `server-name`: how TLS is done. Only for `https://`.
    pub tls: Tls,
    /// `functions`: the path below which functions' requests may be forwarded through this grant
    /// ([`query::Target::Grant`](crate::query::Target::Grant)), e.g. `/function`. Those are requests of
    /// clients, to which no rule applies, so a plugin cannot open them by itself. Default: none are.
    pub functions: Option<BasePath>,
    /// `endpoints`: where the platform has functions' instances. The provider may dial these unless the
    /// operator lists others for it. Default: the profile's, or none.
    pub endpoints: Vec<AllowedHost>,
    /// `auth`: what the host adds to every request after it left the sandbox. Default: nothing.
    pub auth: Auth,
    /// `allow`: which requests pass. The first rule that matches decides. Default: none.
    pub rules: Vec<Rule>,
    /// `limits`: how much at once and for how long.
    pub limits: GrantLimits,
    /// `mode`: whether a request that no rule allows is refused. Default [`Mode::Enforce`].
    pub mode: Mode,
    /// `exposed-secrets` of the gateway: whether files of secrets that everybody can read are used.
    pub exposed_secrets: ExposedSecrets,
    /// The namespace that a kubeconfig file's context or a pod's account names, where `connect` is one.
    /// The provider serves it if the configuration names none.
    pub namespace: Option<Namespace>,
}

impl Grant {
    /// A grant for `connect` that allows nothing yet: no rules, no credentials, defaults elsewhere.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self {
            connect,
            base: BasePath::default(),
            version: HttpVersion::default(),
            tls: Tls::default(),
            functions: None,
            endpoints: Vec::new(),
            auth: Auth::default(),
            rules: Vec::new(),
            limits: GrantLimits::default(),
            mode: Mode::default(),
            exposed_secrets: ExposedSecrets::default(),
            namespace: None,
        }
    }
}

/// The version of HTTP that a grant speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// `"1.1"`.
    #[default]
    Http1,
    /// `"2"`: negotiated by ALPN over TLS, with prior knowledge otherwise.
    Http2,
}

/// How TLS is done. Everything empty means: the public authorities, and no client certificate.
/// There is no switch that turns verification off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM certificates that *replace* the public authorities.
    pub ca: Option<Source>,
    /// The certificate that the gateway shows.
    pub client: Option<ClientCertificate>,
    /// The name that is asked for and verified. Default: the host of `connect`.
    pub server_name: Option<String>,
}

impl Tls {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A client certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by its chain.
    pub certificate: Source,
    /// The private key.
    pub key: Source,
}

/// How a request is authenticated. Files are read when the provider is loaded, and again when they
/// change; white space around a secret is not part of it. A file of a secret that every user of the
/// machine can read is refused ([`Grant::exposed_secrets`]). No secret is ever part of this type, so it can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// Nothing is added.
    #[default]
    None,
    /// `Authorization: Basic ...`.
    Basic {
        /// The file of the user's name.
        user_file: PathBuf,
        /// The file of the password.
        password_file: PathBuf,
    },
    /// A field of the operator's choice, e.g. `X-Nomad-Token`.
    Header {
        /// The field's name.
        name: http::HeaderName,
        /// The file of its value.
        file: PathBuf,
    },
    /// AWS Signature Version 4. The body is held whole, within `buffered-bytes`.
    Aws(Box<AwsAuth>),
    /// `Authorization: Bearer ...`.
    Bearer {
        /// Where the token is.
        token: Source,
    },
}

/// What happens to a request that no rule allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `"enforce"`: it is refused.
    #[default]
    Enforce,
    /// `"dry-run"`: it is logged, counted and sent, to find the rules that a plugin needs. A plugin
    /// that is not published yet is held to the rules all the same.
    DryRun,
}

/// How much of a grant may be used, over all calls of its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLimits {
    /// `in-flight`: requests at once; more wait within their call's time. Default 32, at most 4096.
    pub in_flight: NonZeroU32,
    /// `max-idle`: connections kept open while unused. Default 8, at most 1024; 0 keeps none.
    pub max_idle: u32,
    /// `idle-timeout`: for how long. Default 60 s, at most 10 min.
    pub idle_timeout: Duration,
    /// `connect-timeout`: resolving, connecting and the TLS handshake. Default 2 s, at most 60 s.
    pub connect_timeout: Duration,
    /// `first-byte-timeout`: from sending to the response's header section. Default 60 s (platforms
    /// that hold a request until something changes need long ones), at most 10 min.
    pub first_byte_timeout: Duration,
    /// `between-bytes-timeout`: silence within a response body. Default 60 s, at most 10 min.
    pub between_bytes_timeout: Duration,
    /// `response-bytes`: bytes of one response's body, below the provider's limit of a call.
    /// Default: only that one.
    pub response_bytes: Option<u64>,
    /// `buffered-bytes`: bytes of one request's body that are held whole, where a rule looks into
    /// it, where the request is signed, or to send it again with a credential that was renewed; the
    /// same for what the platform holds, where a rule compares. Default 1 MiB, at most 16 MiB.
    pub buffered_bytes: usize,
}

impl Default for GrantLimits {
    fn default() -> Self {
        Self {
            in_flight: const { NonZeroU32::new(32).unwrap() },
            max_idle: 8,
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(60),
            response_bytes: None,
            buffered_bytes: 1 << 20,
        }
    }
}
