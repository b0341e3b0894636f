//! kubeconfig files: where a cluster is and how to be known to it.
//!
//! The file is read by the host, whole and again whenever it changes; a plugin sees nothing of it.
//! What would run a program, ask somebody else or be somebody else is refused with the reason.
//! Form: the Kubernetes API's `clientcmd/v1` `Config`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

/// A field that stands in the file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `certificate-authority-data`.
    Authority,
    /// `client-certificate-data`.
    ClientCertificate,
    /// `client-key-data`.
    ClientKey,
    /// `token`.
    Token,
}

/// Where one part of a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nowhere.
    Absent,
    /// In the kubeconfig file.
    Inline,
    /// In a file of its own.
    File(PathBuf),
}

/// What a context means. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The URL of the API server.
    pub server: String,
    /// The name that its certificate has, where that is not the URL's host.
    pub server_name: Option<String>,
    /// The namespace that is meant where none is named.
    pub namespace: Option<String>,
    /// The authority of the server's certificate.
    pub authority: Part,
    /// The client's certificate.
    pub client_certificate: Part,
    /// Its key.
    pub client_key: Part,
    /// A bearer token.
    pub token: Part,
}

/// Why a kubeconfig file cannot be used. Never shows a value of it but names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKubeconfig {
    /// It is no YAML, or none of this form.
    #[error("it is no kubeconfig: {0}")]
    Form(String),
    /// It has no such entry.
    #[error("it has no {kind} {name:?}; there is {known}")]
    Absent {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// Neither the file nor the configuration says which context.
    #[error("it has no current-context; write connect = \"kubeconfig:PATH#CONTEXT\"")]
    NoContext,
    /// An entry uses what the gateway does not do.
    #[error("{kind} {name:?} has `{key}`: {reason}")]
    Refused {
        /// `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A `*-data` key is no base64.
    #[error("`{0}` is not base64")]
    NotBase64(&'static str),
    /// A field that was there when the gateway started is gone.
    #[error("`{0}` is not there any more")]
    Gone(&'static str),
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "current-context", default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: RawContext,
}

#[derive(Deserialize)]
struct RawContext {
    cluster: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(default)]
    tls_server_name: Option<String>,
    #[serde(default)]
    certificate_authority: Option<PathBuf>,
    #[serde(default)]
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: Option<bool>,
    #[serde(default)]
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    #[serde(default)]
    client_certificate: Option<PathBuf>,
    #[serde(default)]
    client_certificate_data: Option<String>,
    #[serde(default)]
    client_key: Option<PathBuf>,
    #[serde(default)]
    client_key_data: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(rename = "tokenFile", default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    username: Option<String>,
    #[serde(rename = "as", default)]
    impersonate: Option<String>,
    #[serde(default)]
    exec: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    auth_provider: Option<serde::de::IgnoredAny>,
}

impl Context {
    /// Reads a context of a file; `None` is the file's own. Relative paths in it are relative to
    /// `folder`.
    ///
    /// # Errors
    /// See [`InvalidKubeconfig`].
    pub fn read(text: &[u8], context: Option<&str>, folder: &Path) -> Result<Self, InvalidKubeconfig> {
        let config = Config::read(text)?;
        let (context, cluster, user) = config.select(context)?;
        // What stands in the file wins over a file's path, and a token's file over the token.
        let part = |data: &Option<String>, path: &Option<PathBuf>| match (filled(data), path) {
            (Some(_), _) => Part::Inline,
            (None, Some(path)) if !path.as_os_str().is_empty() => Part::File(folder.join(path)),
            (None, _) => Part::Absent,
        };
        let token = match part(&None, &user.token_file) {
            Part::Absent if filled(&user.token).is_some() => Part::Inline,
            from_file @ (Part::File(_) | Part::Inline | Part::Absent) => from_file,
        };
        Ok(Self {
            server: cluster.server.clone(),
            server_name: filled(&cluster.tls_server_name).map(str::to_owned),
            namespace: filled(&context.namespace).map(str::to_owned),
            authority: part(&cluster.certificate_authority_data, &cluster.certificate_authority),
            client_certificate: part(&user.client_certificate_data, &user.client_certificate),
            client_key: part(&user.client_key_data, &user.client_key),
            token,
        })
    }
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

impl Field {
    /// The key in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Authority => "certificate-authority-data",
            Self::ClientCertificate => "client-certificate-data",
            Self::ClientKey => "client-key-data",
            Self::Token => "token",
        }
    }

    /// What the field holds, decoded.
    ///
    /// # Errors
    /// See [`InvalidKubeconfig`].
    pub fn read(self, text: &[u8], context: Option<&str>) -> Result<Vec<u8>, InvalidKubeconfig> {
        let config = Config::read(text)?;
        let (_context, cluster, user) = config.select(context)?;
        let value = match self {
            Self::Authority => &cluster.certificate_authority_data,
            Self::ClientCertificate => &user.client_certificate_data,
            Self::ClientKey => &user.client_key_data,
            Self::Token => &user.token,
        };
        let value = filled(value).ok_or(InvalidKubeconfig::Gone(self.key()))?;
        if self == Self::Token {
            return Ok(value.as_bytes().to_vec());
        }
        let letters: String = value.split_ascii_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(letters);
        decoded.map_err(|_malformed| InvalidKubeconfig::NotBase64(self.key()))
    }
}

impl Config {
    fn read(text: &[u8]) -> Result<Self, InvalidKubeconfig> {
        // The library's own message shows lines of the file, so only the place is told.
        serde_saphyr::from_slice(text).map_err(|error| {
            let place = error.location().map(|place| format!("line {}, column {}", place.line(), place.column()));
            InvalidKubeconfig::Form(place.unwrap_or_else(|| "it has not the form of one".to_owned()))
        })
    }

    fn select(&self, context: Option<&str>) -> Result<(&RawContext, &Cluster, &User), InvalidKubeconfig> {
        static NOBODY: User = User {
            client_certificate: None,
            client_certificate_data: None,
            client_key: None,
            client_key_data: None,
            token: None,
            token_file: None,
            username: None,
            impersonate: None,
            exec: None,
            auth_provider: None,
        };
        let name = context.or(filled(&self.current_context)).ok_or(InvalidKubeconfig::NoContext)?;
        let known = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let context = self.contexts.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let known = known(self.contexts.iter().map(|entry| entry.name.as_str()).collect());
            InvalidKubeconfig::Absent { kind: "context", name: name.to_owned(), known }
        })?;
        let name = &context.context.cluster;
        let cluster = self.clusters.iter().find(|entry| entry.name == *name).ok_or_else(|| {
            let known = known(self.clusters.iter().map(|entry| entry.name.as_str()).collect());
            InvalidKubeconfig::Absent { kind: "cluster", name: name.clone(), known }
        })?;
        cluster.check()?;
        let user = match filled(&context.context.user) {
            None => &NOBODY,
            Some(name) => {
                let user = self.users.iter().find(|entry| entry.name == name).ok_or_else(|| {
                    let known = known(self.users.iter().map(|entry| entry.name.as_str()).collect());
                    InvalidKubeconfig::Absent { kind: "user", name: name.to_owned(), known }
                })?;
                user.check()?;
                &user.user
            }
        };
        Ok((&context.context, &cluster.cluster, user))
    }
}

impl NamedCluster {
    fn check(&self) -> Result<(), InvalidKubeconfig> {
        let refuse =
            |key, reason| Err(InvalidKubeconfig::Refused { kind: "cluster", name: self.name.clone(), key, reason });
        if self.cluster.insecure_skip_tls_verify == Some(true) {
            return refuse("insecure-skip-tls-verify", "the server is always verified; give its certificate-authority");
        }
        if filled(&self.cluster.proxy_url).is_some() {
            return refuse("proxy-url", "requests go to the server itself; connect to where the proxy leads");
        }
        Ok(())
    }
}

impl NamedUser {
    fn check(&self) -> Result<(), InvalidKubeconfig> {
        let refuse =
            |key, reason| Err(InvalidKubeconfig::Refused { kind: "user", name: self.name.clone(), key, reason });
        let user = &self.user;
        if user.exec.is_some() {
            return refuse(
                "exec",
                "it would run a program with the gateway's rights; give the gateway a service account's token \
                 (tokenFile) or a client certificate",
            );
        }
        if user.auth_provider.is_some() {
            return refuse(
                "auth-provider",
                "Kubernetes itself removed it; use a service account's token or a client certificate",
            );
        }
        if filled(&user.username).is_some() {
            return refuse("username", "Kubernetes takes no passwords any more; use a token or a client certificate");
        }
        if filled(&user.impersonate).is_some() {
            return refuse("as", "the gateway is nobody else; use an account with the rights that it needs");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
