//! What the operator says of a provider, after it was checked: plain data that the control plane
//! loads from and the data plane reads.

mod directory;
mod swap;
#[cfg(test)]
pub(crate) mod switches;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::grant::Grant;
use crate::host::processes::CommandSpec;
use crate::name::{Digest, Namespace, ProviderName};
use crate::trust::signature::SignaturePolicy;
pub use directory::{Directory, Entry, Listing};
pub use swap::{CanaryConfig, PlatformWord, Retire, SwapConfig};

/// Where a component's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentSource {
    /// `builtin:NAME`: a plugin that is part of the binary.
    Builtin(String),
    /// A path, relative to the configuration file.
    File(PathBuf),
}

impl fmt::Display for ComponentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// One provider of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderConfig {
    /// The name that the operator chose.
    pub name: ProviderName,
    /// What to load.
    pub component: ComponentSource,
    /// Load only exactly these bytes.
    pub digest: Option<Digest>,
    /// Whose signature the component has to have. Default: nobody's.
    pub signature: SignaturePolicy,
    /// The namespaces that it serves; no two providers may claim one.
    pub namespaces: Vec<Namespace>,
    /// Whether it also serves every namespace that nobody claims. At most one provider does.
    pub is_default: bool,
    /// What the plugin reads through `wicketgate:host/config`: a JSON object.
    pub config: serde_json::Value,
    /// What it may reach, by the name that its requests carry as authority. Default: nothing.
    pub grants: BTreeMap<String, Grant>,
    /// Commands that it may run as processes, by name. Default: none, and then
    /// `wicketgate:host/processes` is not linked.
    pub commands: BTreeMap<String, CommandSpec>,
    /// Where its functions' instances may be.
    pub endpoints: EndpointPolicy,
    /// What one call and one instance may use.
    pub limits: Limits,
    /// How its plugin is replaced.
    pub swap: SwapConfig,
}

/// Which addresses the gateway may send requests to for a provider's functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// Networks and names that may be dialled. Default: those of the provider's grants
    /// ([`Grant::endpoints`]). Metadata services, link-local addresses and the gateway's own listeners are
    /// refused even if they are named here.
    pub allow: Vec<AllowedHost>,
    /// For plugins without `endpoints`: the address of a function, with `{name}` and `{namespace}`
    /// in it, e.g. `http://{name}.{namespace}.svc:8080`.
    pub template: Option<String>,
}

/// An entry of `endpoints.allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// A network in CIDR notation, or a single address.
    Network(ipnet::IpNet),
    /// A DNS name, exactly.
    Name(String),
    /// `*.suffix`: names below it.
    Suffix(String),
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Name(text) | Self::Suffix(text) => f.write_str(text),
        }
    }
}

/// The bounds of one provider's calls and instances. Each is a key of the `limits` table, in
/// kebab-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `memory`: bytes over all linear memories of an instance. Default 64 MiB, at most 1 GiB.
    pub memory: usize,
    /// `call-timeout`: wall time of a call, waiting for the platform included. Default 3 s, at most 5 min.
    pub call_timeout: Duration,
    /// `deploy-timeout`: the same for deploy, update and delete. Default 30 s, at most 10 min.
    pub deploy_timeout: Duration,
    /// `watch-timeout`: how long a watch call may wait for changes. Default 30 s, at most 10 min.
    pub watch_timeout: Duration,
    /// `cpu-time`: processor time of a call, counted in epoch ticks. Default 500 ms, at most 60 s.
    pub cpu_time: Duration,
    /// `host-call-bytes`: bytes handed from guest to host at once, by one call of an import or as one answer.
    /// Default 4 MiB, at most 256 MiB.
    pub host_call_bytes: usize,
    /// `handles`: resources that an instance may hold at once. Default 256, at most 65536.
    pub handles: u32,
    /// `requests`: requests to the platform in a call. Default 32, at most 10000.
    pub requests: u32,
    /// `request-bytes`: bytes of request bodies in a call. Default 4 MiB, at most 256 MiB.
    pub request_bytes: u64,
    /// `response-bytes`: bytes of response bodies in a call. Default 16 MiB, at most 1 GiB.
    pub response_bytes: u64,
    /// `header-bytes`: bytes of the header section of a request or response. Default 32 KiB, at most 1 MiB.
    pub header_bytes: usize,
    /// `log-lines`: lines logged in a call; more are counted and dropped. Default 64, at most 10000.
    pub log_lines: u32,
    /// `log-line-bytes`: length of a logged line; longer ones are cut. Default 4 KiB, at most 64 KiB.
    pub log_line_bytes: usize,
    /// `log-rate`: lines logged in a second, over all calls; more are counted and dropped. Default 200, at most
    /// 100000.
    pub log_rate: u32,
    /// `host-log-lines`: lines of the gateway's own about the failed and denied requests of a call, beside the
    /// plugin's lines; `log-rate` bounds them a second in the same way. Default 8, at least 1, at most 10000.
    pub host_log_lines: u32,
    /// `concurrency`: calls of the provider at once. Default 16, at most 1024.
    pub concurrency: NonZeroU32,
    /// `lease-timeout`: how long a call waits for its turn. Default 1 s, at most 60 s.
    pub lease_timeout: Duration,
    /// `instances`: how instances are reused.
    pub instances: Reuse,
    /// `state-quota`: bytes of keys and values in `wicketgate:host/state`. Default 1 MiB, at most 1 GiB.
    pub state_quota: u64,
    /// `component-bytes`: size of the component. Default 64 MiB, at most 256 MiB.
    pub component_bytes: u64,
    /// `drain-timeout`: how long calls of a generation may go on after another took over. Questions are
    /// cut then; writes end within their own timeouts. Default 10 s, at most 10 min.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            call_timeout: Duration::from_secs(3),
            deploy_timeout: Duration::from_secs(30),
            watch_timeout: Duration::from_secs(30),
            cpu_time: Duration::from_millis(500),
            host_call_bytes: 4 << 20,
            handles: 256,
            requests: 32,
            request_bytes: 4 << 20,
            response_bytes: 16 << 20,
            header_bytes: 32 << 10,
            log_lines: 64,
            log_line_bytes: 4 << 10,
            log_rate: 200,
            host_log_lines: 8,
            concurrency: const { NonZeroU32::new(16).unwrap() },
            lease_timeout: Duration::from_secs(1),
            instances: Reuse::default(),
            state_quota: 1 << 20,
            component_bytes: 64 << 20,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// How a generation's instances are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// `instances = "per-call"`: a fresh one for each call.
    PerCall,
    /// Reused until one of the bounds is met.
    Pooled {
        /// `instances.calls`: calls that one serves. Default 1000.
        calls: NonZeroU32,
        /// `instances.age`: how long one lives. Default 60 s.
        age: Duration,
        /// `instances.recycle-above`: bytes of memory after a call above which it is not kept. Default 16 MiB.
        recycle_above: usize,
    },
}

impl Default for Reuse {
    fn default() -> Self {
        Self::Pooled {
            calls: const { NonZeroU32::new(1000).unwrap() },
            age: Duration::from_secs(60),
            recycle_above: 16 << 20,
        }
    }
}
