//! What a question to a platform can fail with, and the two questions every such error answers:
//! whose fault is it, and may it be tried again.

use std::fmt;
use std::time::Duration;

use super::Interface;
use crate::name::{FunctionRef, Generation, ProviderName};

/// What a plugin says went wrong: the contract's `error-kind`, case for case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The platform says that the object does not exist.
    NotFound,
    /// The platform says that it exists already.
    AlreadyExists,
    /// The caller's input can never be accepted.
    Invalid,
    /// The platform does not know the credentials.
    Unauthenticated,
    /// The platform, or a grant, refuses the operation.
    Denied,
    /// Another writer was faster.
    Conflict,
    /// The platform asks for fewer requests.
    RateLimited,
    /// The platform cannot be reached or cannot serve now.
    Unavailable,
    /// The platform did not answer in time.
    Timeout,
    /// Begin again without a cursor.
    CursorExpired,
    /// A quota of the platform is used up.
    Quota,
    /// The platform has no such operation.
    Unsupported,
    /// A fault of the plugin, or an answer that it could not read.
    Internal,
}

/// A bound of one call that a plugin ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Processor time (`cpu-time`).
    Cpu,
    /// Wall time (`call-timeout`).
    Wall,
    /// Bytes over all memories (`memory`).
    Memory,
    /// Bytes handed to the host at once (`host-call-bytes`).
    HostCallBytes,
    /// Resources held at once (`handles`).
    Handles,
    /// Requests to the platform (`requests`).
    Requests,
    /// Bytes of request bodies sent (`request-bytes`).
    RequestBytes,
    /// Bytes of responses read (`response-bytes`).
    ResponseBytes,
}

impl Budget {
    /// The key in a provider's `limits` table that raises it.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-time",
            Self::Wall => "call-timeout",
            Self::Memory => "memory",
            Self::HostCallBytes => "host-call-bytes",
            Self::Handles => "handles",
            Self::Requests => "requests",
            Self::RequestBytes => "request-bytes",
            Self::ResponseBytes => "response-bytes",
        }
    }
}

/// What a plugin did wrong, as the host saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginFault {
    /// It trapped.
    Trap,
    /// It broke a budget.
    Budget(Budget),
    /// It returned something outside the contract; the field's name.
    BadOutput(&'static str),
    /// It is stopped for a while because it kept failing.
    Quarantined,
    /// No instance was free within the time that a call may wait for one.
    Busy,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Whoever sent the request.
    Caller,
    /// The platform, or what the operator configured for it.
    Platform,
    /// The plugin's author.
    Plugin,
    /// The gateway.
    Gateway,
}

/// Where an error comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The plugin said so.
    Platform(ErrorKind),
    /// The plugin failed.
    Plugin(PluginFault),
    /// The plugin does not have this interface.
    NotExported(Interface),
    /// No provider serves the function's namespace.
    NoProvider,
    /// The provider has no plugin that serves: it was refused or retired; the message says why.
    NoPlugin,
    /// The gateway's own limit or state; the message says which.
    Gateway,
}

/// Why a question to a platform was not answered.
///
/// Shown as a path from the outside in: `provider edge (generation 7): figlet.dev: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Where it comes from.
    pub cause: Cause,
    /// One sentence for the operator: what was asked, what came back, what to change.
    pub message: String,
    /// How long to wait before the next attempt, where somebody said so.
    pub retry_after: Option<Duration>,
    /// The status of the platform's answer, where there was one.
    pub platform_status: Option<u16>,
    /// Which plugin was asked.
    pub provider: Option<(ProviderName, Generation)>,
    /// For which function.
    pub function: Option<FunctionRef>,
}

impl QueryError {
    /// An error with a cause and a sentence, to be completed by [`of`](Self::of).
    #[must_use]
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            retry_after: None,
            platform_status: None,
            provider: None,
            function: None,
        }
    }

    /// What a plugin or a test double says of its platform.
    #[must_use]
    pub fn platform(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(Cause::Platform(kind), message)
    }

    /// The provider lacks an optional interface.
    #[must_use]
    pub fn not_exported(interface: Interface) -> Self {
        let name = interface.as_str();
        Self::new(Cause::NotExported(interface), format!("the provider's plugin does not export `{name}`"))
    }

    /// Adds which plugin was asked, unless that is known already.
    #[must_use]
    pub fn of(mut self, provider: &ProviderName, generation: Generation) -> Self {
        self.provider.get_or_insert_with(|| (provider.clone(), generation));
        self
    }

    /// Adds for which function, unless that is known already.
    #[must_use]
    pub fn about(mut self, function: &FunctionRef) -> Self {
        self.function.get_or_insert_with(|| function.clone());
        self
    }

    /// Whether the platform itself said that the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.cause == Cause::Platform(ErrorKind::NotFound)
    }

    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match &self.cause {
            Cause::Platform(kind) => match kind {
                ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Invalid => Fault::Caller,
                ErrorKind::Unauthenticated
                | ErrorKind::Denied
                | ErrorKind::Conflict
                | ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::CursorExpired
                | ErrorKind::Quota
                | ErrorKind::Unsupported => Fault::Platform,
                ErrorKind::Internal => Fault::Plugin,
            },
            Cause::Plugin(_) | Cause::NoPlugin => Fault::Plugin,
            Cause::NotExported(_) | Cause::NoProvider => Fault::Caller,
            Cause::Gateway => Fault::Gateway,
        }
    }

    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.cause {
            Cause::Platform(kind) => matches!(
                kind,
                ErrorKind::Conflict | ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout
            ),
            Cause::Plugin(fault) => {
                matches!(fault, PluginFault::Trap | PluginFault::Budget(_) | PluginFault::Busy)
            }
            Cause::NotExported(_) | Cause::NoProvider | Cause::NoPlugin | Cause::Gateway => false,
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((provider, generation)) = &self.provider {
            write!(f, "provider {provider} (generation {generation}): ")?;
        }
        if let Some(function) = &self.function {
            write!(f, "{function}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}
