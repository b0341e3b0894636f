//! Clusters that describe themselves: kubeconfig files and the account of a pod, over TLS.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Gateway, GatewayBuilder, Played};

const TOKEN: &str = "the-token-of-the-account";

/// An authority, and what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of this name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        // Not the authority's own, or it would look like a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A file that nobody else can read, since it may be a secret.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A cluster that speaks TLS, with the function `echo`.
fn cluster(folder: &TempDir, authority: &Authority, arguments: &[&str]) -> Played {
    let (certificate, key) = authority.sign("127.0.0.1");
    let files = [write(folder.path(), "server.pem", &certificate), write(folder.path(), "server.key", &key)];
    let own = ["--certificate", &files[0], "--key", &files[1]];
    Played::kubernetes(&[&own, arguments].concat())
}

/// A kubeconfig file with one user, whose lines these are.
fn kubeconfig(cluster: &Played, authority: &Authority, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: edge\n\
         contexts:\n- name: edge\n  context: {{ cluster: edge, user: gateway, namespace: fns }}\n\
         clusters:\n- name: edge\n  cluster:\n    server: https://{}\n    certificate-authority-data: {}\n\
         users:\n- name: gateway\n  user:\n{user}",
        cluster.address(),
        STANDARD.encode(authority.pem())
    )
}

fn provider(cluster: &Played, connect: &str) -> String {
    format!(
        "[provider.kubernetes]\ncomponent = \"builtin:kubernetes\"\nnamespaces = [\"fns\"]\ndefault = true\n\
         config = {{ port = {} }}\n\
         [provider.kubernetes.grant.kubernetes]\nconnect = \"{connect}\"\nprofile = \"kubernetes\"\n\
         [provider.kubernetes.endpoints]\nallow = [\"127.0.3.0/24\"]\n",
        cluster.facts()["port"]
    )
}

fn with_kubeconfig(cluster: &Played, text: &str) -> GatewayBuilder {
    GatewayBuilder::new(&provider(cluster, "kubeconfig:{folder}/kubeconfig")).file("kubeconfig", text)
}

/// Makes a function through the gateway and calls it, from nothing.
fn is_served(gateway: &Gateway) {
    let wish = json!({ "service": "echo", "image": "example/echo:1", "namespace": "fns" }).to_string();
    let reply = gateway.post("/system/functions", wish);
    assert_eq!(reply.status, 202, "{}", reply.text());
    let reply = gateway.post("/function/echo.fns", "one two three");
    assert_eq!((reply.status, reply.text().ends_with(" 3")), (200, true), "{}", reply.text());
}

#[test]
fn a_kubeconfig_with_a_client_certificate_is_all_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (servers, clients) = (Authority::new(), Authority::new());
    let file = write(folder.path(), "clients.pem", &clients.pem());
    let cluster = cluster(&folder, &servers, &["--authority", &file]);
    let user = |authority: &Authority| {
        let (certificate, key) = authority.sign("gateway");
        let mut user = String::new();
        for (name, pem) in [("client-certificate-data", certificate), ("client-key-data", key)] {
            writeln!(user, "    {name}: {}", STANDARD.encode(pem)).unwrap();
        }
        user
    };
    is_served(&with_kubeconfig(&cluster, &kubeconfig(&cluster, &servers, &user(&clients))).start());
    // Of another authority: the server lets nobody in.
    let stranger = with_kubeconfig(&cluster, &kubeconfig(&cluster, &servers, &user(&servers))).start();
    assert_eq!(stranger.get("/system/function/echo?namespace=fns").status, 503);
    // A server of another authority is not spoken to.
    let mistaken = with_kubeconfig(&cluster, &kubeconfig(&cluster, &clients, &user(&clients))).start();
    assert_eq!(mistaken.get("/system/function/echo?namespace=fns").status, 503);
}

#[test]
fn a_kubeconfig_with_a_token_is_all_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let cluster = cluster(&folder, &authority, &["--token", TOKEN]);
    let text = |token: &str| kubeconfig(&cluster, &authority, &format!("    token: {token}\n"));
    is_served(&with_kubeconfig(&cluster, &text(TOKEN)).start());
    let stranger = with_kubeconfig(&cluster, &text("another")).start();
    assert_eq!(stranger.get("/system/function/echo?namespace=fns").code(502), "platform_unauthenticated");
}

#[test]
fn a_kubeconfig_that_runs_a_program_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let cluster = cluster(&folder, &authority, &[]);
    let user = "    exec: { apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token] }\n";
    let (status, said) = with_kubeconfig(&cluster, &kubeconfig(&cluster, &authority, user)).run("check");
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("would run a program"), "{said}");
}

#[test]
fn a_pod_needs_its_account_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let cluster = cluster(&folder, &authority, &["--token", TOKEN]);
    let (host, port) = cluster.address().split_once(':').unwrap();
    let builder = GatewayBuilder::new(&provider(&cluster, "kubernetes:in-cluster#{folder}"))
        .file("token", TOKEN)
        .file("ca.crt", authority.pem())
        .file("namespace", "fns")
        .variable("KUBERNETES_SERVICE_HOST", host)
        .variable("KUBERNETES_SERVICE_PORT", port);
    is_served(&builder.start());
    // Outside of a pod the check says what to write instead.
    let (status, said) = GatewayBuilder::new(&provider(&cluster, "kubernetes:in-cluster#{folder}")).run("check");
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("KUBERNETES_SERVICE_HOST") && said.contains("kubeconfig:PATH"), "{said}");
}

/// The configuration that `docs/providers` offers for a pod, in one.
#[test]
fn the_ready_configuration_for_a_pod_has_no_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let cluster = cluster(&folder, &authority, &[]);
    let (host, port) = cluster.address().split_once(':').unwrap();
    for (name, text) in [("token", TOKEN), ("ca.crt", &authority.pem()), ("namespace", "openfaas-fn")] {
        write(folder.path(), name, text);
    }
    let account = format!("kubernetes:in-cluster#{}", folder.path().display());
    let text = include_str!("../../../docs/providers/kubernetes-in-cluster.toml");
    let path = write(folder.path(), "wicketgate.toml", &text.replace("kubernetes:in-cluster", &account));
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_wicketgate"));
    check.args(["check", "--config", &path]);
    check.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
