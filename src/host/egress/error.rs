//! Why a guest's request was not sent, or not answered.

use std::io;
use std::time::Duration;

use crate::host::grant::body::BodyRefusal;
use crate::host::grant::path::InvalidPath;
use crate::name::ProviderName;
use crate::query::{Budget, Fault};
use crate::upstream;

/// Why a guest's request was not sent, not answered, or its answer broken off.
///
/// Messages are for the operator: they name the provider, the grant and the rule or limit to
/// write. They hold no credential, no query value and no body.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The request's authority is not the name of a grant.
    #[error(
        "provider {provider}: no grant is named {asked:?}; granted: {granted}. If the plugin shall reach it, \
         write [provider.{provider}.grant.{asked}] with connect = \"http://host:port\" and allow = [\"{rule}\"]"
    )]
    UnknownGrant {
        /// Whose plugin asked.
        provider: ProviderName,
        /// What it asked for.
        asked: String,
        /// The names of the provider's grants, or `nothing`.
        granted: String,
        /// The rule that would allow this request.
        rule: String,
    },
    /// The request's target can be read in more than one way.
    #[error("provider {provider}: grant {grant}: {method} {path:?} is never sent")]
    UnsafeTarget {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The request's method.
        method: String,
        /// The request's path, cut to [`SHOWN_MAX_BYTES`].
        path: String,
        /// What is wrong with it.
        source: InvalidPath,
    },
    /// No rule matches.
    #[error(
        "provider {provider}: grant {grant}: no rule allows this request; if it shall pass, add \"{rule}\" to \
         `allow` under [provider.{provider}.grant.{grant}]"
    )]
    NoRule {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The rule that would allow this request, with `*` for the values of its query.
        rule: String,
    },
    /// The rule that matches the request's head refuses its body.
    #[error(
        "provider {provider}: grant {grant}: {rule:?} refuses this request; if it shall pass, write a rule with another \
         `body` in `allow` under [provider.{provider}.grant.{grant}]"
    )]
    Body {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The first rule that matched the head.
        rule: String,
        /// What is wrong with the body: places, never values.
        source: BodyRefusal,
    },
    /// A body that has to be held whole is longer than may be held.
    #[error(
        "provider {provider}: grant {grant}: a request's body that a rule looks into, or that is signed, has more than \
         {limit} bytes; raise `buffered-bytes` under [provider.{provider}.grant.{grant}.limits] if that is meant"
    )]
    BodyTooLarge {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A request could not be signed, so it was not sent.
    #[error("provider {provider}: grant {grant}: the request was not signed: {reason}")]
    Unsigned {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// Why: never a key.
        reason: String,
    },
    /// The plugin did not write its request's body to the end.
    #[error("provider {provider}: grant {grant}: the plugin did not write the request's body to its end")]
    Unfinished {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
    },
    /// The request would change something, and the plugin is not published yet.
    #[error(
        "provider {provider}: grant {grant}: {rule:?} has effect \"write\", and until a plugin is published only \
         \"read\" is open to it; if the request changes nothing, say so with effect = \"read\""
    )]
    ReadOnly {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The rule that matched, or the one that would allow the request.
        rule: String,
    },
    /// A budget of the call is used up.
    #[error(
        "provider {provider}: grant {grant}: over the limit of {limit} for one call; raise `{}` under \
         [provider.{provider}.limits] if that is meant", budget.setting()
    )]
    Budget {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// Which budget.
        budget: Budget,
        /// Its bound, in requests or bytes.
        limit: u64,
    },
    /// A response is longer than its grant allows.
    #[error(
        "provider {provider}: grant {grant}: a response has more than {limit} bytes; raise `response-bytes` under \
         [provider.{provider}.grant.{grant}.limits] if that is meant"
    )]
    ResponseTooLarge {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A header section is too long.
    #[error(
        "provider {provider}: grant {grant}: the header section of the {direction} has {bytes} bytes, the limit is \
         {limit}; raise `header-bytes` under [provider.{provider}.limits] if that is meant"
    )]
    HeaderTooLarge {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// `request` or `response`.
        direction: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// All of the grant's requests in flight are taken.
    #[error(
        "provider {provider}: grant {grant}: {limit} requests are in flight and none ended within {after:?}; raise \
         `in-flight` under [provider.{provider}.grant.{grant}.limits] if the platform bears more"
    )]
    Busy {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// How many may be in flight.
        limit: u32,
        /// How long this one waited.
        after: Duration,
    },
    /// The platform was not reached, or did not answer.
    #[error("provider {provider}: grant {grant}")]
    Upstream {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// What happened.
        source: upstream::Error,
    },
    /// The platform wants to speak another protocol. No guest could.
    #[error("provider {provider}: grant {grant}: the platform switched protocols, which no request asks for")]
    Upgraded {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
    },
    /// A response broke off.
    #[error("provider {provider}: grant {grant}: the response broke off")]
    Broken {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// What happened.
        source: hyper::Error,
    },
    /// A response fell silent.
    #[error("provider {provider}: grant {grant}: the response fell silent for {after:?}")]
    Silent {
        /// Whose plugin asked.
        provider: ProviderName,
        /// The grant.
        grant: String,
        /// For how long.
        after: Duration,
    },
}

/// How much of a guest's text an error shows, in bytes.
pub const SHOWN_MAX_BYTES: usize = 256;

/// A guest's text as an error shows it: cut, and without characters that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() || c == '"' { '?' } else { c })
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= SHOWN_MAX_BYTES).then_some(c)
        })
        .collect();
    if text.len() > SHOWN_MAX_BYTES {
        shown.push_str("...");
    }
    shown
}

/// An error and its causes, for a line of the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl EgressError {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownGrant { .. }
            | Self::UnsafeTarget { .. }
            | Self::NoRule { .. }
            | Self::ReadOnly { .. }
            | Self::Body { .. }
            | Self::BodyTooLarge { .. }
            | Self::Unfinished { .. }
            | Self::Budget { .. }
            | Self::HeaderTooLarge { direction: "request", .. } => Fault::Plugin,
            Self::HeaderTooLarge { .. }
            | Self::ResponseTooLarge { .. }
            | Self::Upstream { .. }
            | Self::Upgraded { .. }
            | Self::Broken { .. }
            | Self::Silent { .. } => Fault::Platform,
            Self::Busy { .. } | Self::Unsigned { .. } => Fault::Gateway,
        }
    }

    /// Whether the same request may be answered a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Upstream { source, .. } => match source {
                upstream::Error::AddressDenied { .. } | upstream::Error::InvalidAuthority(_) => false,
                // A certificate that is not trusted stays so; a connection that was reset may not.
                upstream::Error::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
                upstream::Error::Resolve { .. }
                | upstream::Error::NoAddress(_)
                | upstream::Error::Connect { .. }
                | upstream::Error::ConnectTimeout { .. }
                | upstream::Error::ResponseTimeout(_)
                | upstream::Error::NothingToSend
                | upstream::Error::Unsent(_) => true,
                upstream::Error::Broken(_) => source.is_without_response(),
            },
            Self::Busy { .. } | Self::Unsigned { .. } | Self::Broken { .. } | Self::Silent { .. } => true,
            Self::UnknownGrant { .. }
            | Self::UnsafeTarget { .. }
            | Self::NoRule { .. }
            | Self::ReadOnly { .. }
            | Self::Body { .. }
            | Self::BodyTooLarge { .. }
            | Self::Unfinished { .. }
            | Self::Budget { .. }
            | Self::ResponseTooLarge { .. }
            | Self::HeaderTooLarge { .. }
            | Self::Upgraded { .. } => false,
        }
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self.source_upstream() {
            Some(source) => source.is_timeout(),
            None => matches!(self, Self::Silent { .. } | Self::Busy { .. }),
        }
    }

    /// Why the request was denied, as a metric's label; `None` if it was not.
    #[must_use]
    pub fn denial(&self) -> Option<&'static str> {
        match self {
            Self::UnknownGrant { .. } => Some("unknown-grant"),
            Self::UnsafeTarget { .. } => Some("unsafe-target"),
            Self::NoRule { .. } => Some("no-rule"),
            Self::ReadOnly { .. } => Some("read-only"),
            Self::Body { .. } => Some("body"),
            Self::Upstream { source, .. } => {
                matches!(source, upstream::Error::AddressDenied { .. }).then_some("address")
            }
            Self::Budget { .. }
            | Self::BodyTooLarge { .. }
            | Self::Unfinished { .. }
            | Self::Unsigned { .. }
            | Self::ResponseTooLarge { .. }
            | Self::HeaderTooLarge { .. }
            | Self::Busy { .. }
            | Self::Upgraded { .. }
            | Self::Broken { .. }
            | Self::Silent { .. } => None,
        }
    }

    /// The budget of the call that was broken.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        if let Self::Budget { budget, .. } = self { Some(*budget) } else { None }
    }

    /// How it ended, as a metric's label.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.denial().is_some() {
            "denied"
        } else if matches!(
            self,
            Self::Budget { .. }
                | Self::BodyTooLarge { .. }
                | Self::HeaderTooLarge { .. }
                | Self::ResponseTooLarge { .. }
        ) {
            "limit"
        } else if matches!(self, Self::Busy { .. }) {
            "busy"
        } else if self.is_timeout() {
            "timeout"
        } else if self.source_upstream().is_some_and(upstream::Error::is_refused) {
            "unreachable"
        } else {
            "broken"
        }
    }

    fn source_upstream(&self) -> Option<&upstream::Error> {
        if let Self::Upstream { source, .. } = self { Some(source) } else { None }
    }
}
