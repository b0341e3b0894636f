//! Why a grant cannot be used at all.

use std::path::{Path, PathBuf};

use crate::host::files::FileFault;
use crate::name::ProviderName;

/// Why a provider's grants cannot be used: what the configuration names is not there or not usable.
#[derive(Debug, thiserror::Error)]
#[error("provider {provider}: grant {grant}")]
pub struct GrantError {
    /// Whose grant.
    pub provider: ProviderName,
    /// Its name.
    pub grant: String,
    /// What is wrong.
    #[source]
    pub reason: GrantFault,
}

/// What is wrong with a grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantFault {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileFault),
    /// A profile of AWS's shared credentials file lacks a key.
    #[error("{} has no {key} in [{profile}]; roles and programs that would make one are not run", path.display())]
    Profile {
        /// Which file.
        path: PathBuf,
        /// The section.
        profile: String,
        /// What is missing.
        key: &'static str,
    },
    /// A file holds no certificate, or none that is usable.
    #[error("{} holds no usable certificate in PEM: {detail}", path.display())]
    NotACertificate {
        /// Which file.
        path: PathBuf,
        /// What TLS said; never the content.
        detail: String,
    },
    /// A file holds no private key, or none that goes with the certificate.
    #[error("{} holds no usable private key in PEM: {detail}", path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What TLS said; never the content.
        detail: String,
    },
    /// The name is no DNS name and no address.
    #[error("{0:?} is not a server name; write a DNS name or an IP address")]
    ServerName(String),
    /// TLS was configured for a grant that does not speak it.
    #[error("`ca`, `client-cert` and `server-name` need connect = \"https://...\"")]
    TlsUnused,
    /// The header field is the gateway's own business.
    #[error("the field {0:?} cannot carry a credential; it belongs to the connection or names the host")]
    Header(String),
    /// The address is one that is never dialled.
    #[error("connect: {address} is {kind}, which is never dialled")]
    Address {
        /// The address.
        address: std::net::IpAddr,
        /// What it is.
        kind: &'static str,
    },
}

impl GrantFault {
    /// The file that is to blame, if one is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(fault) => Some(fault.path()),
            Self::Profile { path, .. } | Self::NotACertificate { path, .. } | Self::NotAKey { path, .. } => Some(path),
            Self::ServerName(_) | Self::TlsUnused | Self::Header(_) | Self::Address { .. } => None,
        }
    }
}
