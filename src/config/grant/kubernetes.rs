//! `connect = "kubernetes:in-cluster#DIRECTORY"` and `connect = "kubeconfig:PATH#CONTEXT"`: where the API
//! server is and how to be known to it, translated into what a grant says otherwise key by key.

use std::path::{Path, PathBuf};

use super::super::problem::chain;
use super::super::section::Section;
use crate::host::grant::kubeconfig::{Context, Field, Part};
use crate::host::grant::{Auth, BasePath, ClientCertificate, Connect, Source, Tls};
use crate::name::Namespace;

/// Where Kubernetes mounts the account of a pod: `token`, which it renews, `ca.crt`, `namespace`.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Keys that say what the account or the kubeconfig file says already.
const KEYS: [&str; 5] = ["auth", "ca", "client-cert", "client-key", "server-name"];

/// What a cluster's own description of itself means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) connect: Connect,
    pub(super) base: BasePath,
    pub(super) tls: Tls,
    pub(super) auth: Auth,
    /// The namespace that is meant where none is named.
    pub(super) namespace: Option<Namespace>,
}

/// Reads `connect` where it names a cluster: `None` if it does not, `Some(None)` if that is a mistake,
/// which is noted.
pub(super) fn read(section: &Section<'_>) -> Option<Option<Cluster>> {
    // Not `text`, which would note a value that is none; `connect` is read as a place then.
    let text = section.value("connect")?.get_ref().as_str()?;
    let read = if let Some(account) = account(text) {
        in_cluster(&section.resolve(account), |name| std::env::var(name).ok())
    } else if let Some(rest) = text.strip_prefix("kubeconfig:") {
        let (path, context) = match rest.split_once('#') {
            Some((path, context)) => (path, Some(context)),
            None => (rest, None),
        };
        if path.is_empty() {
            Err("names no file; write connect = \"kubeconfig:PATH\" or \"kubeconfig:PATH#CONTEXT\"".to_owned())
        } else {
            kubeconfig(&section.resolve(path), context)
        }
    } else if text.starts_with("kubernetes:") {
        Err("must be \"kubernetes:in-cluster\", or \"kubernetes:in-cluster#DIRECTORY\" where the account is mounted \
             elsewhere; outside of a cluster write \"kubeconfig:PATH\""
            .to_owned())
    } else {
        return None;
    };
    for key in KEYS.into_iter().filter(|key| section.has(key)) {
        section.problem_at(key, "comes from `connect` already; take it out, or write connect = \"https://HOST:PORT\"");
    }
    let cluster = read.map_err(|message| section.problem_at("connect", message));
    if let Ok(cluster) = &cluster {
        let token = if let Auth::Bearer { token } = &cluster.auth { Some(token) } else { None };
        let key = cluster.tls.client.as_ref().map(|client| &client.key);
        token.into_iter().chain(key).for_each(|source| section.note_secret(source.path()));
    }
    Some(cluster.ok())
}

/// The directory of the pod's account that `connect` means, if it means one.
fn account(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("kubernetes:in-cluster")?;
    if rest.is_empty() { Some(ACCOUNT) } else { rest.strip_prefix('#').filter(|directory| !directory.is_empty()) }
}

/// The account of the pod that the gateway runs in. Kubernetes' own clients find it the same way.
fn in_cluster(account: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Cluster, String> {
    let variable = |name: &str| {
        environment(name).filter(|text| !text.is_empty()).ok_or_else(|| {
            format!("{name} is not set, so this is no pod; outside of a cluster write connect = \"kubeconfig:PATH\"")
        })
    };
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let connect = format!("https://{host}:{port}").parse::<Connect>().map_err(|error| chain(&error))?;
    let file = |name: &str| {
        let path = account.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let path = path.display();
        Err(format!(
            "there is no {path}; give the pod a service account, and do not set automountServiceAccountToken = false"
        ))
    };
    let namespace = std::fs::read_to_string(account.join("namespace")).ok();
    Ok(Cluster {
        connect,
        base: BasePath::default(),
        tls: Tls { ca: Some(file("ca.crt")?.into()), ..Tls::default() },
        auth: Auth::Bearer { token: file("token")?.into() },
        namespace: namespace.and_then(|text| text.trim().parse().ok()),
    })
}

fn kubeconfig(path: &Path, context: Option<&str>) -> Result<Cluster, String> {
    let shown = path.display();
    let text = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > crate::host::files::FILE_MAX_BYTES {
            return Err(std::io::Error::other("it is too long for a kubeconfig file"));
        }
        std::fs::read(path)
    });
    let text = text.map_err(|error| format!("{shown} was not read: {error}"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let read = Context::read(&text, context, folder).map_err(|error| format!("{shown}: {}", chain(&error)))?;
    let (connect, base) =
        Connect::parse_with_base(&read.server).map_err(|error| format!("{shown}: server: {}", chain(&error)))?;
    let source = |part: Part, field: Field| match part {
        Part::Absent => None,
        Part::File(path) => Some(Source::File(path)),
        Part::Inline => {
            Some(Source::Kubeconfig { path: PathBuf::from(path), context: context.map(str::to_owned), field })
        }
    };
    let certificate = source(read.client_certificate, Field::ClientCertificate);
    let key = source(read.client_key, Field::ClientKey);
    if certificate.is_some() != key.is_some() {
        return Err(format!("{shown}: a client certificate and its key are needed, and there is only one of the two"));
    }
    let token = source(read.token, Field::Token);
    let namespace = match read.namespace.map(|text| text.parse::<Namespace>()).transpose() {
        Ok(namespace) => namespace,
        Err(error) => return Err(format!("{shown}: namespace: {}", chain(&error))),
    };
    let tls = Tls {
        ca: source(read.authority, Field::Authority),
        client: certificate.zip(key).map(|(certificate, key)| ClientCertificate { certificate, key }),
        server_name: read.server_name,
    };
    if !connect.is_tls() && !tls.is_default() {
        return Err(format!("{shown}: it has certificates, but its server is not https://"));
    }
    let auth = token.map_or(Auth::None, |token| Auth::Bearer { token });
    Ok(Cluster { connect, base, tls, auth, namespace })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("token", "t"), ("ca.crt", "c"), ("namespace", "fns\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_account_of_a_pod_is_a_grant() {
        let folder = account();
        let environment = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        };
        let cluster = in_cluster(folder.path(), environment).unwrap();
        assert_eq!(cluster.connect.to_string(), "https://[fd00::1]");
        assert_eq!(cluster.tls.ca, Some(folder.path().join("ca.crt").into()));
        assert_eq!(cluster.auth, Auth::Bearer { token: folder.path().join("token").into() });
        assert_eq!(cluster.namespace, Some("fns".parse().unwrap()));

        let outside = in_cluster(folder.path(), |_| None).unwrap_err();
        assert!(outside.starts_with("KUBERNETES_SERVICE_HOST is not set, so this is no pod"), "{outside}");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        let without = in_cluster(folder.path(), environment).unwrap_err();
        assert!(without.contains("give the pod a service account"), "{without}");
    }

    #[test]
    fn a_kubeconfig_file_is_a_grant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let write = |user: &str| {
            let text = format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a, namespace: fns}}}}]\n\
                 clusters: [{{name: a, cluster: {{server: 'https://h:6443/k', certificate-authority: ca.crt, tls-server-name: k8s}}}}]\n\
                 users: [{{name: a, user: {{{user}}}}}]\n"
            );
            std::fs::write(&path, text).unwrap();
            kubeconfig(&path, None)
        };
        let cluster = write("token: abc").unwrap();
        assert_eq!((cluster.connect.to_string(), cluster.base.as_str()), ("https://h:6443".to_owned(), "/k"));
        assert_eq!(cluster.tls.ca, Some(folder.path().join("ca.crt").into()));
        assert_eq!(cluster.tls.server_name.as_deref(), Some("k8s"));
        assert_eq!(cluster.namespace, Some("fns".parse().unwrap()));
        let inline = |field| Source::Kubeconfig { path: path.clone(), context: None, field };
        assert_eq!(cluster.auth, Auth::Bearer { token: inline(Field::Token) });

        let cluster = write("client-certificate-data: YQ==, client-key-data: YQ==").unwrap();
        let client = cluster.tls.client.unwrap();
        assert_eq!((client.certificate, client.key), (inline(Field::ClientCertificate), inline(Field::ClientKey)));
        assert_eq!(cluster.auth, Auth::None);

        for (user, part) in [
            ("client-key-data: YQ==", "only one of the two"),
            ("exec: {command: aws}", "it would run a program"),
            ("token: [", "it is no kubeconfig"),
        ] {
            let said = write(user).unwrap_err();
            assert!(said.contains(part) && said.contains("config"), "{said}");
        }
        assert!(kubeconfig(&folder.path().join("absent"), None).unwrap_err().contains("was not read"));
    }
}
