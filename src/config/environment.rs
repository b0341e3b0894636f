//! OpenFaaS's environment variables, so that Wicketgate can take the place of its gateway in an
//! existing deployment. They are translated into the TOML that says the same, which then is read as
//! any file is; `wicketgate check --print` shows it.
//!
//! As in OpenFaaS a variable with a bad value has its default; here a warning says so.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::{Table, Value};

use super::gateway::NAMESPACE;
use crate::parse;

/// The variable that makes the rest count.
pub const PROVIDER_URL: &str = "functions_provider_url";

/// Where OpenFaaS mounts its secrets when `secret_mount_path` does not say.
pub const SECRETS: &str = "/run/secrets/";

/// What a timeout may be: the narrowest of the keys that it becomes.
const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Variables that OpenFaaS or its charts know and that mean nothing here, with the reason.
const IGNORED: [(&str, &str); 17] = [
    ("logs_provider_url", "logs come from the provider's plugin"),
    ("faas_nats_address", "asynchronous calls are not supported yet"),
    ("faas_nats_port", "asynchronous calls are not supported yet"),
    ("faas_nats_cluster_name", "asynchronous calls are not supported yet"),
    ("faas_nats_channel", "asynchronous calls are not supported yet"),
    ("faas_prometheus_host", "invocations are counted by the gateway itself"),
    ("faas_prometheus_port", "invocations are counted by the gateway itself"),
    ("auth_proxy_url", "OpenFaaS ignores it too"),
    ("auth_proxy_pass_body", "OpenFaaS ignores it too"),
    ("direct_functions", "the provider's plugin says where functions are"),
    ("direct_functions_suffix", "the provider's plugin says where functions are"),
    ("probe_functions", "an instance is tried before it is used anyway"),
    ("write_request_uri", "set log.level to debug instead"),
    ("default_target", "OpenFaaS ignores it too"),
    ("metering", "OpenFaaS ignores it too"),
    ("async", "asynchronous calls are not supported yet"),
    ("pprof", "this is not a Go program"),
];

/// The TOML that says what the environment says.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The TOML.
    pub toml: String,
    /// What was ignored or had a bad value.
    pub warnings: Vec<String>,
}

/// Translates the environment; `None` if it does not name a provider, and so is not OpenFaaS's.
pub fn translate(environment: impl Fn(&str) -> Option<String>) -> Option<Translation> {
    let url = environment(PROVIDER_URL).filter(|url| !url.trim().is_empty())?;
    let mut reader = Reader { environment, warnings: Vec::new() };
    let mut root = Table::new();

    let mut listen = table([("http", text("0.0.0.0:8080")), ("metrics", text("0.0.0.0:8082"))]);
    let mut forward = Table::new();
    // OpenFaaS's `read_timeout` bounds the client's side: head and body. Its `write_timeout` cuts
    // answers that still flow; here it bounds a client that takes nothing.
    if let Some(span) = reader.duration("read_timeout") {
        listen.insert("header-timeout".into(), span.clone());
        forward.insert("body-timeout".into(), span);
    }
    let write = reader.duration("write_timeout");
    listen.extend(write.clone().map(|span| ("write-timeout".to_owned(), span)));
    if let Some(span) = reader.duration("upstream_timeout").or(write) {
        forward.insert("upstream-timeout".into(), span);
    }
    let mut pool = Table::new();
    for (variable, key) in [("max_idle_conns", "idle"), ("max_idle_conns_per_host", "idle-per-target")] {
        if let Some(number) = reader.number(variable) {
            pool.insert(key.into(), number);
        }
    }
    if !pool.is_empty() {
        forward.insert("pool".into(), Value::Table(pool));
    }

    let namespace = reader.text("function_namespace").unwrap_or_else(|| NAMESPACE.into());
    let mut grant = table([("connect", text(url.trim())), ("profile", text("faas-provider"))]);
    let secrets = reader.text("secret_mount_path").unwrap_or_else(|| SECRETS.into());
    match reader.switch("basic_auth") {
        Some(true) => {
            let file = |name: &str| text(&format!("{}/{name}", secrets.trim_end_matches('/')));
            let files = [("user-file", file("basic-auth-user")), ("password-file", file("basic-auth-password"))];
            let auth = Value::Table(table([("basic", Value::Table(table(files)))]));
            // Some set-ups of OpenFaaS leave these files readable for everybody on the machine. The gateway
            // takes the place of theirs all the same, and a warning names each file.
            root.insert("exposed-secrets".into(), text("warn"));
            root.insert("auth".into(), auth.clone());
            grant.insert("auth".into(), auth);
        }
        Some(false) => drop(root.insert("auth".into(), text("none"))),
        // Nobody said that everybody may deploy: only callers on this machine may.
        None => {}
    }
    if reader.switch("scale_from_zero") == Some(false) {
        root.insert("scaling".into(), Value::Table(table([("scale-from-zero", Value::Boolean(false))])));
    }
    reader.ignored();

    let provider = table([
        ("component", text("builtin:faas-provider")),
        ("namespaces", Value::Array(vec![text(&namespace)])),
        ("default", Value::Boolean(true)),
        ("grant", Value::Table(table([("provider", Value::Table(grant))]))),
    ]);
    root.insert("admin".into(), Value::Table(table([("default-namespace", text(&namespace))])));
    root.insert("listen".into(), Value::Table(listen));
    root.insert("forward".into(), Value::Table(forward));
    root.insert("provider".into(), Value::Table(table([("faas", Value::Table(provider))])));
    Some(Translation { toml: root.to_string(), warnings: reader.warnings })
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

struct Reader<E> {
    environment: E,
    warnings: Vec<String>,
}

impl<E: Fn(&str) -> Option<String>> Reader<E> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.environment)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn duration(&mut self, variable: &str) -> Option<Value> {
        match parse::openfaas_duration(&self.text(variable)?) {
            Ok(span) if span.is_zero() => {
                self.warnings.push(format!("{variable}: no timeout at all is not supported; the default holds"));
                None
            }
            Ok(span) if !BOUNDS.contains(&span) => {
                self.warnings.push(format!("{variable}: must be from 1s to 1d; the default holds"));
                None
            }
            Ok(span) => Some(text(&parse::show_duration(span))),
            Err(error) => {
                self.warnings.push(format!("{variable}: {error}; the default holds"));
                None
            }
        }
    }

    fn number(&mut self, variable: &str) -> Option<Value> {
        let given = self.text(variable)?;
        match given.parse::<u32>() {
            Ok(number) => Some(Value::Integer(number.into())),
            Err(_not_a_number) => {
                self.warnings.push(format!("{variable}: {given:?} is not a whole number; the default holds"));
                None
            }
        }
    }

    /// As in OpenFaaS only `true` is true; what is neither that nor `false` gets a warning.
    fn switch(&mut self, variable: &str) -> Option<bool> {
        let given = self.text(variable)?;
        Some(parse::switch(&given).unwrap_or_else(|error| {
            self.warnings.push(format!("{variable}: {error}; taken for false, as OpenFaaS does"));
            false
        }))
    }

    fn ignored(&mut self) {
        for (variable, reason) in IGNORED {
            if self.text(variable).is_some() {
                self.warnings.push(format!("{variable} is ignored: {reason}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::super::Config;
    use super::*;
    use crate::admin::Auth;

    fn translated(variables: &[(&str, &str)]) -> Translation {
        translate(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn config(toml: &str) -> Config {
        Config::from_toml(toml, "environment", Path::new("/"), &["faas-provider"])
            .unwrap_or_else(|e| panic!("{e}\n{toml}"))
    }

    #[test]
    fn without_a_provider_it_is_not_openfaas_environment() {
        assert_eq!(translate(|_name| None), None);
        assert_eq!(translate(|name| (name == PROVIDER_URL).then(|| " ".to_owned())), None);
    }

    #[test]
    fn the_provider_url_suffices_with_and_without_the_final_slash() {
        for url in ["http://127.0.0.1:8081/", "http://127.0.0.1:8081"] {
            let config = config(&translated(&[(PROVIDER_URL, url)]).toml);
            let provider = &config.providers[0];
            assert_eq!(provider.name.as_str(), "faas");
            assert!(provider.is_default);
            let grant = &provider.grants["provider"];
            assert_eq!(grant.connect.to_string(), "http://127.0.0.1:8081");
            assert_eq!(grant.base.as_str(), "");
            assert!(!grant.rules.is_empty());
            assert_eq!(config.admin.auth, Auth::Loopback);
            assert!(config.scaling.scale_from_zero);
        }
    }

    #[test]
    fn what_the_variables_say_is_taken() {
        let translation = translated(&[
            (PROVIDER_URL, "http://provider:8081/"),
            ("read_timeout", "65"),
            ("upstream_timeout", "1m30s"),
            ("write_timeout", "2m"),
            ("scale_from_zero", "false"),
            ("function_namespace", "fn"),
            ("max_idle_conns", "10"),
            ("basic_auth", "false"),
        ]);
        assert_eq!(translation.warnings, Vec::<String>::new());
        let config = config(&translation.toml);
        assert_eq!(config.listener.header_timeout.as_secs(), 65);
        assert_eq!(config.forward.body_timeout.as_secs(), 65);
        assert_eq!(config.forward.upstream_timeout.as_secs(), 90);
        assert_eq!(config.listener.write_timeout.as_secs(), 120);
        assert_eq!(config.forward.pool.idle, 10);
        assert!(!config.scaling.scale_from_zero);
        assert_eq!(config.admin.default_namespace.as_str(), "fn");
        assert_eq!(config.admin.auth, Auth::Open);
        assert_eq!(config.warnings.len(), 1, "everybody may deploy");
    }

    #[test]
    fn basic_auth_names_the_secret_files() {
        let secrets = tempfile::tempdir().unwrap();
        for name in ["basic-auth-user", "basic-auth-password"] {
            let path = secrets.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let path = format!("{}/", secrets.path().display());
        let toml =
            translated(&[(PROVIDER_URL, "http://p:1/"), ("basic_auth", "true"), ("secret_mount_path", &path)]).toml;
        let config = config(&toml);
        assert_eq!(config.warnings.len(), 2, "one for each file, however often it is named: {:?}", config.warnings);
        assert!(config.warnings[0].contains("chmod o-rwx"), "{:?}", config.warnings);
        let user = secrets.path().join("basic-auth-user");
        assert!(matches!(&config.admin.auth, Auth::Basic { user_file, .. } if *user_file == user));
        let grant = &config.providers[0].grants["provider"];
        assert!(matches!(&grant.auth, crate::host::grant::Auth::Basic { user_file, .. } if *user_file == user));
    }

    #[test]
    fn bad_and_unknown_values_are_told_and_change_nothing() {
        let translation = translated(&[
            (PROVIDER_URL, "http://p:1"),
            ("read_timeout", "soon"),
            ("write_timeout", "10ms"),
            ("scale_from_zero", "yes"),
            ("max_idle_conns", "-1"),
            ("direct_functions", "true"),
        ]);
        assert_eq!(translation.warnings.len(), 5, "{:#?}", translation.warnings);
        let config = config(&translation.toml);
        assert_eq!(config.forward.body_timeout, crate::forward::BODY_TIMEOUT);
        assert!(!config.scaling.scale_from_zero);
    }
}
