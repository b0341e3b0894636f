use super::*;
use crate::admin::Auth;
use crate::host::grant::BasePath;
use crate::provider::{AllowedHost, ComponentSource, Reuse};

const BUILTINS: [&str; 2] = ["faas-provider", "local"];

fn problems(text: &str) -> Vec<String> {
    let (_, problems, _) = read(text, "test", Path::new("/nowhere"), &BUILTINS);
    problems.iter().map(ToString::to_string).collect()
}

fn config(text: &str) -> Config {
    Config::from_toml(text, "test", Path::new("/nowhere"), &BUILTINS).unwrap_or_else(|error| panic!("{error}"))
}

/// A provider without mistakes, to be followed by what a test is about.
const LOCAL: &str = "[provider.local]\ncomponent = \"builtin:local\"\ndefault = true\n";

/// The one mistake of `text` after [`LOCAL`].
fn problem(text: &str) -> String {
    let mut all = problems(&format!("{LOCAL}{text}"));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn a_profile_says_where_instances_are_unless_the_operator_does() {
    let allowed = |profile: &str, more: &str| {
        let text = format!(
            "[provider.edge]\ncomponent = \"builtin:local\"\ndefault = true\n{more}\n[provider.edge.grant.docker]\n\
             connect = \"unix:/docker.sock\"\nprofile = \"{profile}\"\n"
        );
        let config = Config::from_toml(&text, "test", Path::new("/"), &["local"]).unwrap();
        config.providers[0].endpoints.allow.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(allowed("docker", ""), ["127.64.0.0/10"]);
    assert_eq!(allowed("docker-swarm-scale-only", ""), ["127.0.0.1/32"]);
    assert_eq!(
        allowed("docker-swarm", "[provider.edge.endpoints]\nallow = [\"10.0.0.0/8\", \"*.fns\"]"),
        ["10.0.0.0/8", "*.fns"]
    );
    assert_eq!(allowed("docker", "[provider.edge.endpoints]\nallow = []"), Vec::<String>::new());
    assert_eq!(allowed("nomad", ""), Vec::<String>::new());
}

#[test]
fn the_example_has_no_mistake() {
    let config = config(EXAMPLE);
    assert_eq!(config.listen.http, gateway::HTTP);
    assert_eq!(config.providers.len(), 1);
    assert_eq!(config.providers[0].commands["wordcount"].argv, ["wc", "-w"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn what_is_not_said_has_the_default_of_its_part() {
    let config = config(LOCAL);
    assert_eq!(config.scaling, scaler::Config::default());
    assert_eq!(config.engine, plugin::EngineConfig::default());
    assert_eq!(config.log, log::Config::default());
    assert_eq!(config.providers[0].limits, crate::provider::Limits::default());
    assert_eq!(config.admin.auth, Auth::Loopback);
    assert_eq!(config.listen.admin, AdminSocket::Beside);
    assert_eq!(config.state_directory, None);
}

#[test]
fn what_is_said_is_taken() {
    let config = config(
        r#"
        auth = "none"
        [listen]
        http = "0.0.0.0:80"
        metrics = "off"
        admin = "unix:run/admin.sock"
        [state]
        directory = "state"
        [provider.edge]
        component = "builtin:faas-provider"
        namespaces = ["a", "b"]
        [provider.edge.config]
        network = "functions"
        deep = { list = [1, -2, 2.5, true] }
        [provider.edge.grant.provider]
        connect = "https://10.0.0.1:6443/base"
        auth = { basic = { user-file = "/dev/../etc/hostname", password-file = "/etc/hostname" } }
        http = "2"
        functions = "/function/"
        allow = ["GET /system/**", { method = "POST", path = "/x", effect = "read" }]
        limits = { in-flight = 4 }
        [provider.edge.endpoints]
        allow = ["127.0.0.0/8", "*.svc"]
        template = "http://{name}.{namespace}.svc:8080"
        [provider.edge.limits]
        memory = "32MiB"
        call-timeout = "1500ms"
        instances = "per-call"
        "#,
    );
    assert_eq!(config.listen.http.to_string(), "0.0.0.0:80");
    assert_eq!(config.listen.metrics, None);
    assert_eq!(config.listen.admin, AdminSocket::At("/nowhere/run/admin.sock".into()));
    assert_eq!(config.state_directory.as_deref(), Some(Path::new("/nowhere/state")));
    assert_eq!(config.warnings.len(), 1, "everybody may deploy: {:?}", config.warnings);
    let edge = &config.providers[0];
    assert_eq!(edge.component, ComponentSource::Builtin("faas-provider".into()));
    assert_eq!(edge.config, serde_json::json!({"network": "functions", "deep": {"list": [1, -2, 2.5, true]}}));
    assert_eq!(edge.limits.memory, 32 << 20);
    assert_eq!(edge.limits.call_timeout.as_millis(), 1500);
    assert_eq!(edge.limits.instances, Reuse::PerCall);
    assert_eq!(edge.endpoints.allow[1], AllowedHost::Suffix("*.svc".into()));
    let grant = &edge.grants["provider"];
    assert_eq!(grant.base.as_str(), "/base");
    assert_eq!(grant.rules.len(), 2);
    assert_eq!(grant.functions.as_ref().map(BasePath::as_str), Some("/function"));
    assert_eq!(grant.limits.in_flight.get(), 4);
}

#[test]
fn a_grant_that_is_tried_out_is_warned_about_at_each_start() {
    let text = format!("{LOCAL}[provider.local.grant.d]\nconnect = \"http://a\"\nmode = \"dry-run\"\n");
    let warnings = config(&text).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("provider local: grant d is in mode = \"dry-run\": its rules refuse nothing"));
}

#[test]
fn providers_keep_the_order_of_the_file() {
    let text = "[provider.z]\ncomponent = \"builtin:local\"\nnamespaces = [\"z\"]\n\
                [provider.a]\ncomponent = \"builtin:local\"\nnamespaces = [\"a\"]\n";
    let names: Vec<_> = config(text).providers.iter().map(|provider| provider.name.to_string()).collect();
    assert_eq!(names, ["z", "a"]);
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let all = problems(
        "[listen]\nhttp = \":8080\"\nhtpp = 1\n[scaling]\ncache-ttl = 5\n[provider.x]\ncomponent = \"builtin:nomad\"\n\
         namespaces = [\"a/b\"]\n[provider.x.grant.p]\nallow = [\"FETCH /x\"]\n",
    );
    assert_eq!(all.len(), 7, "{all:#?}");
    assert!(all[0].starts_with("line 2, column 8: listen.http = \":8080\": "), "{}", all[0]);
    assert_eq!(all[1], "line 3, column 1: listen.htpp: no such key; did you mean `http`?");
    assert!(all[2].starts_with("line 5, column 13: scaling.cache-ttl = 5: \"5\" has no unit"), "{}", all[2]);
    assert!(all[3].contains("there is builtin:faas-provider, builtin:local"), "{}", all[3]);
    assert!(all[4].starts_with("line 8, column 15: provider.x.namespaces[0] = \"a/b\": '/' is not"), "{}", all[4]);
    assert!(all[5].contains("provider.x.grant.p: has no connect"), "{}", all[5]);
    assert!(all[6].contains("provider.x.grant.p.allow[0]"), "{}", all[6]);
}

#[test]
fn mistakes_of_syntax_are_told_alone_and_all_of_them() {
    let all = problems("[listen]\nhttp = \nmetrics = \"x\n[provider.x\n");
    assert!(all.len() >= 2, "{all:#?}");
    assert!(all.iter().all(|problem| !problem.contains("provider.x:")), "{all:#?}");
    assert!(all[0].starts_with("line 2"), "{all:#?}");
}

#[test]
fn a_mistake_says_what_to_write() {
    for (text, expected) in [
        ("[limits]\n", "limits: no such table"),
        ("[provider.local.limits]\nmemory = \"64M\"\n", "\"M\" is no unit of size"),
        ("[provider.local.limits]\nmemory = \"2GiB\"\n", "must be from 64KiB to 1GiB"),
        ("[provider.local.limits]\ncall_timeout = \"1s\"\n", "did you mean `call-timeout`?"),
        ("[provider.local.limits]\ncall-timeout = \"6m\"\n", "must be from 1ms to 5m"),
        ("[provider.local.limits]\nhandles = \"many\"\n", "must be a whole number, without quotes"),
        ("[provider.local.limits]\nhandles = -1\n", "must be a whole number from 0"),
        ("[provider.local.limits]\ninstances = \"sometimes\"\n", "must be \"per-call\" or \"pooled\""),
        ("[provider.local.limits]\ncpu-time = \"40s\"\n", "is longer than every call may last"),
        ("[provider.local.endpoints]\nallow = \"10.0.0.0/8\"\n", "must be a list"),
        ("[provider.local.endpoints]\ntemplate = \"{name}:8080\"\n", "must be an http URL with {name}"),
        ("[provider.local.grant.Docker]\nconnect = \"unix:/x\"\n", "cannot be a grant's name"),
        ("[provider.local.grant.d]\nconnect = \"unix:/x\"\nca = \"/etc/hostname\"\n", "connect is not https://"),
        ("[provider.local.grant.d]\nconnect = \"http://a/b\"\nbase = \"/c\"\n", "connect has a path already"),
        (
            "[provider.local.grant.d]\nconnect = \"http://a\"\nprofile = \"x\"\n",
            "no such profile; there is docker, docker-scale-only",
        ),
        (
            "[provider.local.grant.d]\nconnect = \"http://a\"\nauth = {}\n",
            "exactly one of basic, header, bearer-file and aws",
        ),
        (
            "[provider.local.grant.d]\nconnect = \"http://a\"\nallow = [{ method = \"PUT\", path = \"/\", body = \"any\" }]\n",
            "must be \"none\"",
        ),
        (
            "[provider.local.grant.d]\nconnect = \"http://a\"\nallow = [{ method = \"PUT\", path = \"/\", body = { only = [\"x\"] } }]\n",
            "write a JSON pointer",
        ),
        ("[provider.local.grant.d]\nconnect = \"http://a\"\nallow = [1]\n", "must be \"METHOD /path\""),
        ("[provider.local.grant.d]\nconnect = \"http://a\"\nallow = [{ methd = \"GET\" }]\n", "did you mean `method`?"),
        ("[auth]\nbasic = { user-file = \"/etc/hostname\" }\n", "needs both"),
        (
            "[auth]\nbasic = { user-file = \"/no/such\", password-file = \"/etc/hostname\" }\n",
            "there is no file /no/such",
        ),
        ("[listen]\nadmin = \"127.0.0.1:1\"\n", "must be a Unix socket"),
        ("[listen]\nhttp = \"unix:/x\"\n", "must be an IP address and port"),
        ("[listen]\nmetrics = \"127.0.0.1:8080\"\n", "is the same as http"),
        ("[log]\nlevel = \"loud\"\n", "must be off, error"),
        ("[log]\nformat = \"xml\"\n", "must be \"auto\" or \"text\" or \"json\""),
        ("[scaling]\ncache-ttl = \"20s\"\n", "must not be shorter than cache-ttl"),
        ("[scaling]\nscale-from-zero = \"yes\"\n", "must be true or false"),
        ("[state]\ndirectory = \"\"\n", "must not be empty"),
        ("[provider.b]\ncomponent = \"builtin:local\"\ndefault = true\n", "provider local is the default already"),
        ("[provider.b]\ncomponent = \"x.wasm\"\nnamespaces = [\"n\"]\n", "there is no file /nowhere/x.wasm"),
        ("[provider.b]\ncomponent = \"oci://x\"\nnamespaces = [\"n\"]\n", "oci:// is not supported yet"),
        ("[provider.b]\ncomponent = \"builtin:local\"\n", "serves no namespace"),
        ("[provider.b]\nnamespaces = [\"n\"]\n", "has no component"),
        ("[signature]\nrequire = true\n", "no key is named"),
        ("[signature.key.k]\nminisign = \"RWx\"\n", "must be a minisign public key"),
        ("[signature.key.k]\nnot-after = \"soon\"\n", "must be a day"),
        ("[signature.key.k]\nnot-before = 2027-01-02\nnot-after = \"2027-01-01\"\n", "is before not-before"),
        ("[provider.local.signature]\nkeys = [\"k\"]\n", "write [signature.key.k]"),
        (
            "[signature.key.s]\nminisign = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n\
             [signature.sigstore.s]\ntrusted-root = \"/etc/hostname\"\nidentity = \"a\"\nissuer = \"b\"\n",
            "has the name of a key too",
        ),
        ("[signature.sigstore.s]\nidentity = \"a\"\nissuer = \"b\"\n", "has no trusted-root"),
        (
            "[signature.sigstore.s]\ntrusted-root = \"r\"\nidentity = \"a\"\nissuer = \"b\"\n",
            "there is no file /nowhere/r",
        ),
        (
            "[signature.sigstore.s]\ntrusted-root = \"/etc/hostname\"\nidentity = \"**\"\nissuer = \"b\"\n",
            "means everybody",
        ),
        ("[provider.local.command.c]\n", "has no command"),
        ("[provider.local.command.c]\ncommand = []\n", "needs a program"),
        ("[provider.local.command.c]\ncommand = \"a | b\"\n", "write [\"sh\", \"-c\", \"a | b\"]"),
        ("[provider.local.command.c]\ncommand = \"a\"\nmode = \"http\"\nqueue = 1\n", "only with mode = \"fork\""),
        ("[provider.local.command.c]\ncommand = \"a\"\nenv = { PORT = \"1\" }\n", "PORT is set by the gateway"),
        ("[provider.local.command.c]\ncommand = \"a\"\nenv = { A = 1 }\n", "must be a text in quotes"),
        ("[provider.local.command.c]\ncommand = \"a\"\nworking-directory = \"/no\"\n", "there is no directory /no"),
    ] {
        let found = if text.starts_with("[limits]") {
            problem(text)
        } else {
            let all = problems(&format!("{LOCAL}{text}"));
            all.join("\n")
        };
        assert!(found.contains(expected), "{text}\n{found}");
    }
}

#[test]
fn a_namespace_has_one_provider() {
    let text = "[provider.a]\ncomponent = \"builtin:local\"\nnamespaces = [\"n\"]\n\
                [provider.b]\ncomponent = \"builtin:local\"\nnamespaces = [\"n\"]\n";
    assert_eq!(
        problems(text),
        [
            "line 6, column 14: provider.b.namespaces = [\"n\"]: n is claimed by provider a already; a namespace has one provider"
        ]
    );
}

#[test]
fn a_file_without_a_provider_is_a_mistake() {
    assert_eq!(problems(""), ["there is no provider; write [provider.local] with component = \"builtin:local\""]);
}

#[test]
fn what_may_be_a_secret_is_never_shown() {
    let all = problems(&format!(
        "[auth]\npassword = \"hunter2\"\n{LOCAL}[provider.local.grant.p]\nconnect = \"http://u:hunter2@h:1\"\ntoken = \"hunter2\"\n"
    ));
    assert!(all.len() >= 3, "{all:#?}");
    assert!(!all.join("\n").contains("hunter2"), "{all:#?}");
}

/// Every key that the reader looks for, by its pattern.
fn accepted_keys() -> BTreeSet<String> {
    let text = format!(
        "{LOCAL}[provider.local.command.c]\ncommand = \"a\"\n\
         [provider.local.grant.g]\nconnect = \"http://a\"\nallow = [{{ method = \"GET\", path = \"/\" }}]\n"
    );
    let (_, problems, mut keys) = read(&text, "test", Path::new("/nowhere"), &BUILTINS);
    assert_eq!(problems, []);
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let signed = format!(
        "{LOCAL}[signature.key.k]\nminisign = \"{key}\"\n[signature.sigstore.s]\n\
         trusted-root = \"/etc/hostname\"\nidentity = \"https://a/b\"\nissuer = \"https://c\"\n"
    );
    let (_, problems, more) = read(&signed, "test", Path::new("/nowhere"), &BUILTINS);
    assert_eq!(problems, []);
    keys.extend(more);
    // A text or a table: the table's keys are looked for only where there is no text.
    let (_, _, more) = read("auth = \"none\"\n", "test", Path::new("/"), &BUILTINS);
    keys.extend(more);
    keys
}

#[test]
fn every_accepted_key_is_documented_and_every_documented_key_is_accepted() {
    let page = include_str!("../../docs/configuration.md");
    let tables = page.split("\n## OpenFaaS").next().unwrap();
    let documented: BTreeSet<String> = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect();
    let accepted = accepted_keys();
    assert_eq!(accepted.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    assert_eq!(documented.difference(&accepted).collect::<Vec<_>>(), Vec::<&String>::new(), "not accepted");
}

#[test]
fn every_bundled_plugin_is_documented_and_nothing_else() {
    let page = include_str!("../../docs/configuration.md");
    let row = page.lines().find(|line| line.starts_with("| `provider.NAME.component`")).unwrap();
    let documented: BTreeSet<&str> =
        row.split("\"builtin:").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(documented, plugin::builtin::names().collect());
}
