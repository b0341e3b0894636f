use super::*;

const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: edge
preferences: {}
clusters:
- name: edge
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: Q0E=
    tls-server-name: kubernetes
- name: files
  cluster: {server: "https://api.test", certificate-authority: pki/ca.crt}
- name: insecure
  cluster: {server: "https://api.test", insecure-skip-tls-verify: true}
- name: proxied
  cluster: {server: "https://api.test", proxy-url: "http://proxy"}
contexts:
- name: edge
  context: {cluster: edge, user: cert, namespace: fns}
- name: files
  context: {cluster: files, user: files}
- {name: token, context: {cluster: files, user: token}}
- {name: exec, context: {cluster: edge, user: exec}}
- {name: provider, context: {cluster: edge, user: provider}}
- {name: password, context: {cluster: edge, user: password}}
- {name: other, context: {cluster: edge, user: other}}
- {name: insecure, context: {cluster: insecure, user: cert}}
- {name: proxied, context: {cluster: proxied, user: cert}}
- {name: lost-user, context: {cluster: edge, user: nobody}}
- {name: lost-cluster, context: {cluster: nowhere, user: cert}}
- {name: anonymous, context: {cluster: edge}}
users:
- name: cert
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: |
      S0V
      Z
- name: files
  user: {client-certificate: c.crt, client-key: /abs/c.key, tokenFile: /run/token, token: older}
- name: token
  user: {token: s3cret-token}
- name: exec
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token]}}
- name: provider
  user: {auth-provider: {name: oidc, config: {id-token: s3cret-token}}}
- name: password
  user: {username: admin, password: s3cret-token}
- name: other
  user: {token: s3cret-token, as: system:admin}
"#;

fn read(context: Option<&str>) -> Result<Context, InvalidKubeconfig> {
    Context::read(FILE.as_bytes(), context, Path::new("/etc/kube"))
}

#[test]
fn a_context_is_its_cluster_and_its_user() {
    let edge = read(None).unwrap();
    assert_eq!(edge, read(Some("edge")).unwrap());
    assert_eq!((edge.server.as_str(), edge.server_name.as_deref()), ("https://10.0.0.1:6443", Some("kubernetes")));
    assert_eq!(edge.namespace.as_deref(), Some("fns"));
    assert_eq!((&edge.authority, &edge.client_certificate), (&Part::Inline, &Part::Inline));
    assert_eq!((&edge.client_key, &edge.token), (&Part::Inline, &Part::Absent));
    for (field, content) in [(Field::Authority, "CA"), (Field::ClientCertificate, "CERT"), (Field::ClientKey, "KEY")] {
        assert_eq!(field.read(FILE.as_bytes(), None).unwrap(), content.as_bytes());
    }

    let files = read(Some("files")).unwrap();
    assert_eq!(files.authority, Part::File("/etc/kube/pki/ca.crt".into()));
    assert_eq!(files.client_certificate, Part::File("/etc/kube/c.crt".into()));
    assert_eq!(files.client_key, Part::File("/abs/c.key".into()));
    assert_eq!(files.token, Part::File("/run/token".into()));

    assert_eq!(read(Some("token")).unwrap().token, Part::Inline);
    assert_eq!(Field::Token.read(FILE.as_bytes(), Some("token")).unwrap(), b"s3cret-token");
    assert_eq!(read(Some("anonymous")).unwrap().token, Part::Absent);
}

#[test]
fn what_the_gateway_does_not_do_is_refused_with_the_reason() {
    for (context, part) in [
        ("exec", "user \"exec\" has `exec`: it would run a program"),
        ("provider", "has `auth-provider`"),
        ("password", "has `username`"),
        ("other", "has `as`"),
        ("insecure", "cluster \"insecure\" has `insecure-skip-tls-verify`: the server is always verified"),
        ("proxied", "has `proxy-url`"),
        ("lost-user", "it has no user \"nobody\"; there is cert, files"),
        ("lost-cluster", "it has no cluster \"nowhere\"; there is edge"),
        ("nothing", "it has no context \"nothing\"; there is edge"),
    ] {
        let said = read(Some(context)).unwrap_err().to_string();
        assert!(said.contains(part), "{context}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    let without = FILE.replace("current-context: edge", "");
    assert_eq!(Context::read(without.as_bytes(), None, Path::new("/")), Err(InvalidKubeconfig::NoContext));
    assert_eq!(Field::Token.read(FILE.as_bytes(), None), Err(InvalidKubeconfig::Gone("token")));
}

#[test]
fn what_is_no_kubeconfig_says_where_and_never_what() {
    for text in
        ["", "s3cret: [", "clusters: s3cret", "- s3cret", "contexts: [{name: s3cret}]", "\u{0}s3cret", "&a [*a, s3cret"]
    {
        let said = Context::read(text.as_bytes(), None, Path::new("/")).unwrap_err().to_string();
        assert!(!said.contains("s3cret"), "{said}");
    }
    // JSON is YAML too.
    let json = br#"{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],
        "clusters":[{"name":"a","cluster":{"server":"https://a","certificate-authority-data":"%%%"}}],"users":[{"name":"a","user":{}}]}"#;
    assert_eq!(Context::read(json, None, Path::new("/")).unwrap().server, "https://a");
    assert_eq!(Field::Authority.read(json, None), Err(InvalidKubeconfig::NotBase64("certificate-authority-data")));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in "[-a-z:{}\\[\\]&*!|>'\", \n#]{0,80}") {
        drop(Context::read(text.as_bytes(), Some("a"), Path::new("/")));
    }
}
