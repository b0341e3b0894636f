//! AWS credentials of a grant: which keys sign its requests, and for what.

use std::path::PathBuf;

use super::Connect;

/// Requests are signed with AWS Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAuth {
    /// `region`, e.g. `eu-west-1`.
    pub region: String,
    /// `service`: the name that signatures are for, e.g. `ecs`.
    pub service: String,
    /// Where the keys come from.
    pub keys: AwsKeys,
}

/// Where AWS keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsKeys {
    /// `access-key-file`, `secret-key-file`, `session-token-file`: a file for each.
    Files {
        /// The file of the key's name.
        access_key: PathBuf,
        /// The file of the key.
        secret_key: PathBuf,
        /// The file of the session's token, for keys that are temporary.
        session_token: Option<PathBuf>,
    },
    /// `credentials-file`, `profile`: a section of AWS's shared credentials file.
    Profile {
        /// The file.
        path: PathBuf,
        /// The section.
        name: String,
    },
    /// `container`: the endpoint that ECS or EKS gives to a container.
    Container {
        /// Where it is: on this machine, or over TLS.
        connect: Connect,
        /// Its path.
        path: String,
        /// `container-token-file`: the file of the token that it wants.
        token_file: Option<PathBuf>,
    },
}
