//! Each direction lists every variant; each limit has its last good and its first bad value.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::bindings::{guest, host as wit, types};
use super::endpoints::endpoints;
use super::functions::{deployment_to_guest, function_asked, function_page, function_status};
use super::host as to_guest;
use super::lists;
use super::*;
use crate::host::processes::{GroupSpec, GroupStatus, ProcessError, ProcessLimits, Replica, ReplicaState};
use crate::host::state::{Expectation, StateError};
use crate::query::functions::{
    FunctionDeployment, FunctionResources, FunctionStatus, FunctionUsage, LogRequest, NamespaceEntry, Secret,
};
use crate::query::{Cause, Target};

fn dev() -> Namespace {
    "dev".parse().unwrap()
}

fn status() -> types::ServiceStatus {
    types::ServiceStatus {
        replicas: 1,
        available_replicas: u64::MAX,
        min_replicas: Some(0),
        max_replicas: None,
        scaling_factor: Some(100),
        labels: Vec::new(),
        annotations: vec![("k".into(), "v".into())],
        version: Some("7".into()),
        extra: Vec::new(),
    }
}

fn error(kind: types::ErrorKind) -> types::ProviderError {
    let message = "no".into();
    types::ProviderError { kind, message, retry_after_ms: None, platform_status: None, extra: Vec::new() }
}

/// The last part of what `Debug` shows: the variant's name without its type and payload.
fn variant(value: &impl std::fmt::Debug) -> String {
    let shown = format!("{value:?}");
    let name = shown.split(['(', ' ', '{']).next().unwrap();
    name.rsplit("::").next().unwrap().to_owned()
}

#[test]
fn every_kind_of_error_keeps_its_name() {
    use types::ErrorKind as Kind;
    let kinds = [
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Denied,
        Kind::Conflict,
        Kind::RateLimited,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::CursorExpired,
        Kind::Quota,
        Kind::Unsupported,
        Kind::Internal,
    ];
    for kind in kinds {
        assert_eq!(variant(&kind), variant(&error_kind(kind)));
        assert_eq!(provider_error(error(kind)).unwrap().cause, Cause::Platform(error_kind(kind)));
    }
}

#[test]
fn an_errors_message_is_cut_between_characters_and_its_numbers_are_checked() {
    let long = types::ProviderError { message: "é".repeat(3000), ..error(types::ErrorKind::Internal) };
    let message = provider_error(long).unwrap().message;
    assert_eq!(message.len(), MESSAGE_MAX_BYTES);
    let cut = types::ProviderError { message: format!("a{}", "é".repeat(3000)), ..error(types::ErrorKind::Internal) };
    assert_eq!(provider_error(cut).unwrap().message.len(), MESSAGE_MAX_BYTES - 1);
    let late = types::ProviderError { retry_after_ms: Some(u64::MAX), ..error(types::ErrorKind::RateLimited) };
    assert_eq!(provider_error(late).unwrap().retry_after, Some(RETRY_AFTER_MAX));
    for (code, is_good) in [(99, false), (100, true), (599, true), (600, false)] {
        let error = types::ProviderError { platform_status: Some(code), ..error(types::ErrorKind::Internal) };
        assert_eq!(provider_error(error).is_ok(), is_good, "{code}");
    }
}

#[test]
fn a_status_is_taken_over_field_by_field() {
    let converted = service_status(status()).unwrap();
    assert_eq!(
        converted,
        ServiceStatus {
            replicas: 1,
            available_replicas: u64::MAX,
            min_replicas: Some(0),
            max_replicas: None,
            scaling_factor: Some(100),
            labels: Pairs::new(),
            annotations: [("k".to_owned(), "v".to_owned())].into(),
            version: Some("7".into()),
            generation: crate::name::Generation(0),
        }
    );
}

#[test]
fn each_limit_of_a_status_names_its_field() {
    let pair = |key: usize, value: usize| vec![("k".repeat(key), "v".repeat(value))];
    let many = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect::<Vec<_>>();
    let with = |change: &dyn Fn(&mut types::ServiceStatus)| {
        let mut status = status();
        change(&mut status);
        service_status(status).map(drop)
    };
    assert_eq!(with(&|s| s.labels = pair(253, 8192)), Ok(()));
    assert_eq!(with(&|s| s.labels = pair(254, 0)), Err(BadOutput("labels")));
    assert_eq!(with(&|s| s.labels = pair(1, 8193)), Err(BadOutput("labels")));
    assert_eq!(with(&|s| s.annotations = many(256)), Ok(()));
    assert_eq!(with(&|s| s.annotations = many(257)), Err(BadOutput("annotations")));
    assert_eq!(with(&|s| s.extra = many(257)), Err(BadOutput("extra")));
    assert_eq!(with(&|s| s.version = Some("v".repeat(512))), Ok(()));
    assert_eq!(with(&|s| s.version = Some("v".repeat(513))), Err(BadOutput("version")));
    assert_eq!(with(&|s| s.scaling_factor = Some(101)), Err(BadOutput("scaling-factor")));
}

#[test]
fn a_watch_speaks_of_the_namespaces_that_it_was_asked_about() {
    let function = |name: &str, namespace: &str| types::FunctionRef { name: name.into(), namespace: namespace.into() };
    let set = |function: types::FunctionRef| guest::watch::ChangeSet {
        changed: vec![guest::watch::FunctionState { function: function.clone(), status: status() }],
        removed: vec![function],
        cursor: "c".into(),
        complete: true,
    };
    let good = change_set(set(function("a", "dev")), &[dev()], &mut Foreign::default()).unwrap();
    assert_eq!((good.changed.len(), good.removed.len(), good.complete), (1, 1, true));
    let mut foreign = Foreign::default();
    let lies = change_set(set(function("a", "other")), &[dev()], &mut foreign).unwrap();
    assert_eq!((lies.changed.len(), lies.removed.len(), foreign.0), (0, 0, 2), "another's functions are left out");
    assert_eq!(change_set(set(function("a/b", "dev")), &[dev()], &mut foreign), Err(BadOutput("name")));
    let long = guest::watch::ChangeSet { cursor: "c".repeat(4097), ..set(function("a", "dev")) };
    assert_eq!(change_set(long, &[dev()], &mut foreign), Err(BadOutput("cursor")));
}

fn endpoint(target: guest::endpoints::Target) -> guest::endpoints::Endpoint {
    guest::endpoints::Endpoint {
        target,
        path_prefix: "/function/echo.dev".into(),
        host_header: Some("echo.example".into()),
        tls: true,
        ttl_ms: 1000,
        instance: "id".into(),
    }
}

#[test]
fn endpoints_are_authorities_with_a_port_or_known_grants() {
    use guest::endpoints::Target as Wit;
    let convert = |target| endpoints(vec![endpoint(target)], |grant| grant == "provider");
    let good = convert(Wit::Grant("provider".into())).unwrap();
    assert_eq!(good.first().unwrap().target, Target::Grant(Arc::from("provider")));
    assert_eq!(convert(Wit::Grant("other".into())), Err(BadOutput("target")));
    for text in ["10.0.0.1:8080", "[::1]:80", "echo.dev.svc:65535"] {
        let good = convert(Wit::Authority(text.into())).unwrap();
        assert_eq!(good.first().unwrap().target, Target::Authority(Arc::from(text)));
    }
    for text in ["", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:99999", "u:p@host:80", "host:80/path", "a b:80", ":80", "h:"] {
        assert_eq!(convert(Wit::Authority(text.into())), Err(BadOutput("target")), "{text:?}");
    }
}

#[test]
fn the_rest_of_an_endpoint_has_its_bounds() {
    let with = |change: &dyn Fn(&mut guest::endpoints::Endpoint)| {
        let mut one = endpoint(guest::endpoints::Target::Authority("h:1".into()));
        change(&mut one);
        endpoints(vec![one], |_| true).map(drop)
    };
    for prefix in ["", "/a", "/a/b.c"] {
        assert_eq!(with(&|e| e.path_prefix = prefix.into()), Ok(()), "{prefix:?}");
    }
    for prefix in ["a", "/", "/a/", "//a", "/a/../b", "/./a", "/a?b", "/a#b", "/a\\b", "/a b", "/ä", "/a\r\nHost: x"] {
        assert_eq!(with(&|e| e.path_prefix = prefix.into()), Err(BadOutput("path-prefix")), "{prefix:?}");
    }
    assert_eq!(with(&|e| e.path_prefix = format!("/{}", "a".repeat(1024))), Err(BadOutput("path-prefix")));
    for host in ["a b", "h\r\nX: y", "u@h", ""] {
        assert_eq!(with(&|e| e.host_header = Some(host.into())), Err(BadOutput("host-header")), "{host:?}");
    }
    assert_eq!(with(&|e| e.host_header = None), Ok(()));
    for (ttl, is_good) in [(0, false), (1, true), (3_600_000, true), (3_600_001, false)] {
        assert_eq!(with(&|e| e.ttl_ms = ttl).is_ok(), is_good, "{ttl}");
    }
    assert_eq!(with(&|e| e.instance = "i".repeat(254)), Err(BadOutput("instance")));
    let many = vec![endpoint(guest::endpoints::Target::Authority("h:1".into())); 1001];
    assert_eq!(endpoints(many, |_| true), Err(BadOutput("endpoints")));
}

fn deployment() -> FunctionDeployment {
    let pairs = |key: &str| Some(Pairs::from([(key.to_owned(), "v".to_owned())]));
    FunctionDeployment {
        service: "echo".into(),
        image: "ghcr.io/acme/echo:1".into(),
        namespace: "dev".into(),
        env_process: Some("cat".into()),
        env_vars: pairs("A"),
        constraints: Some(vec!["zone == a".into()]),
        secrets: Some(vec!["token".into()]),
        labels: pairs("l"),
        annotations: pairs("a"),
        limits: Some(FunctionResources {
            memory: Some("128Mi".into()),
            cpu: None,
            extra: Pairs::from([("nvidia.com/gpu".to_owned(), "1".to_owned())]),
        }),
        requests: Some(FunctionResources { memory: None, cpu: Some("100m".into()), extra: Pairs::new() }),
        read_only_root_filesystem: true,
    }
}

fn held(deployment: &FunctionDeployment) -> guest::functions::FunctionStatus {
    guest::functions::FunctionStatus {
        deployment: deployment_to_guest(deployment),
        replicas: 2,
        available_replicas: 1,
        created_at_ms: Some(5),
        usage: Some(guest::functions::FunctionUsage { cpu_millicores: 1.5, total_memory_bytes: 0.0 }),
        invocation_count: Some(3.0),
    }
}

#[test]
fn a_deployment_survives_the_way_there_and_back() {
    let deployment = deployment();
    let back = function_status(held(&deployment), &dev()).unwrap();
    let usage = Some(FunctionUsage { cpu: 1.5, total_memory_bytes: 0.0 });
    let (created_at_ms, invocation_count) = (Some(5), Some(3.0));
    let (replicas, available_replicas) = (2, 1);
    assert_eq!(
        back,
        FunctionStatus { deployment, replicas, available_replicas, created_at_ms, usage, invocation_count }
    );
    let bare = FunctionDeployment { service: "echo".into(), namespace: "dev".into(), ..Default::default() };
    assert_eq!(function_status(held(&bare), &dev()).unwrap().deployment, bare);
}

#[test]
fn functions_are_those_that_were_asked_for() {
    let other = FunctionDeployment { namespace: "other".into(), ..deployment() };
    assert_eq!(function_status(held(&other), &dev()), Err(BadOutput("namespace")));
    let bad = FunctionDeployment { service: "../etc".into(), ..deployment() };
    assert_eq!(function_status(held(&bad), &dev()), Err(BadOutput("service")));
    let mut infinite = held(&deployment());
    infinite.invocation_count = Some(f64::INFINITY);
    assert_eq!(function_status(infinite, &dev()), Err(BadOutput("invocation-count")));
    let page = |count| guest::functions::FunctionPage { functions: vec![held(&deployment()); count], next: None };
    assert_eq!(function_page(page(3), &dev(), 3, &mut Foreign::default()).unwrap().functions.len(), 3);
    assert_eq!(function_page(page(4), &dev(), 3, &mut Foreign::default()), Err(BadOutput("functions")));
    let (mut mixed, mut foreign) = (page(2), Foreign::default());
    mixed.functions.push(held(&other));
    assert_eq!(function_page(mixed, &dev(), 3, &mut foreign).unwrap().functions.len(), 2);
    assert_eq!(foreign.0, 1, "another namespace's function is left out");
    let asked = |name: &str| FunctionRef { name: name.parse().unwrap(), namespace: dev() };
    assert!(function_asked(held(&deployment()), &asked(&deployment().service)).is_ok());
    assert_eq!(function_asked(held(&deployment()), &asked("else")), Err(BadOutput("service")));
}

#[test]
fn lists_are_no_longer_than_asked_and_hold_names() {
    let page = |names: &[&str]| guest::namespaces::NamespacePage {
        names: names.iter().map(|&name| name.into()).collect(),
        next: Some("2".into()),
    };
    assert_eq!(lists::namespace_page(page(&["a", "b"]), 2).unwrap().next.as_deref(), Some("2"));
    assert_eq!(lists::namespace_page(page(&["a", "b"]), 1), Err(BadOutput("names")));
    assert_eq!(lists::namespace_page(page(&["a b"]), 9), Err(BadOutput("names")));
    let secrets = |name: &str| guest::secrets::SecretPage { names: vec![name.into()], next: None };
    assert_eq!(lists::secret_page(secrets("token"), 1).unwrap().names, ["token"]);
    assert_eq!(lists::secret_page(secrets(""), 1), Err(BadOutput("names")));
    let entry =
        NamespaceEntry { name: "dev".into(), labels: Some(Pairs::from([("a".into(), "b".into())])), annotations: None };
    assert_eq!(lists::namespace_entry(lists::namespace_entry_to_guest(&entry), &dev()).unwrap(), entry);
    let other = lists::namespace_entry(lists::namespace_entry_to_guest(&entry), &"other".parse().unwrap());
    assert_eq!(other, Err(BadOutput("name")));
}

#[test]
fn secrets_and_log_requests_go_to_the_guest_whole() {
    let secret = Secret { name: "token".into(), namespace: "dev".into(), value: vec![0; 1 << 20] };
    let sent = lists::secret_to_guest(&secret).unwrap();
    assert_eq!((sent.name, sent.namespace, sent.value.len()), ("token".into(), "dev".into(), 1 << 20));
    let large = Secret { value: vec![0; (1 << 20) + 1], ..secret };
    assert_eq!(lists::secret_to_guest(&large).unwrap_err().cause, Cause::Platform(ErrorKind::Invalid));
    let request = LogRequest {
        name: "echo".into(),
        namespace: "dev".into(),
        instance: Some("i".into()),
        since_ms: Some(1),
        tail: Some(2),
        follow: true,
    };
    let sent = lists::log_request_to_guest(&request);
    assert_eq!((sent.name, sent.namespace, sent.instance), ("echo".into(), "dev".into(), Some("i".into())));
    assert_eq!((sent.since_ms, sent.tail, sent.follow), (Some(1), Some(2), true));
}

#[test]
fn lines_and_platforms_have_bounds() {
    let batch = |text: usize| guest::logs::LogBatch {
        messages: vec![guest::logs::LogMessage {
            name: "echo".into(),
            namespace: "dev".into(),
            instance: "i".into(),
            timestamp_ms: 1,
            text: "x".repeat(text),
        }],
        next: None,
    };
    assert_eq!(lists::log_batch(batch(64 << 10), "dev", 1, &mut Foreign::default()).unwrap().messages.len(), 1);
    assert_eq!(lists::log_batch(batch((64 << 10) + 1), "dev", 1, &mut Foreign::default()), Err(BadOutput("text")));
    assert_eq!(lists::log_batch(batch(1), "dev", 0, &mut Foreign::default()), Err(BadOutput("messages")));
    let platform = |release: &str| guest::about::Platform {
        name: "acme".into(),
        orchestration: "o".into(),
        release: release.into(),
        sha: String::new(),
    };
    assert_eq!(lists::platform(platform("1.0")).unwrap().release, "1.0");
    assert_eq!(lists::platform(platform("1\n0")), Err(BadOutput("release")));
}

#[test]
fn every_expectation_and_error_of_the_state_has_its_twin() {
    use wit::state::Expectation as Wit;
    for (from, to) in [
        (Wit::Anything, Expectation::Anything),
        (Wit::Absent, Expectation::Absent),
        (Wit::Version(3), Expectation::Version(3)),
    ] {
        assert_eq!(to_guest::expectation(from), to);
    }
    for error in [
        StateError::Conflict,
        StateError::Quota { needed: 2, quota: 1 },
        StateError::Invalid("key".into()),
        StateError::Unavailable("disk".into()),
    ] {
        assert_eq!(variant(&to_guest::state_error(error.clone())), variant(&error));
    }
}

#[test]
fn every_state_and_error_of_processes_has_its_twin() {
    let states = [ReplicaState::Starting, ReplicaState::Ready, ReplicaState::Waiting, ReplicaState::Stopping];
    let replica = |state| Replica { instance: "i".into(), address: None, state, restarts: 1, started_at_ms: 2 };
    let group = GroupStatus {
        group: "echo".into(),
        spec: GroupSpec {
            command: "cat".into(),
            env: [("A".to_owned(), "1".to_owned())].into(),
            limits: ProcessLimits { memory: Some(1), cpu_seconds: Some(2), open_files: Some(3), processes: Some(4) },
        },
        count: 4,
        replicas: states.into_iter().map(replica).collect(),
        version: 9,
    };
    let shown = to_guest::group_status(group.clone());
    assert_eq!((shown.group.as_str(), shown.count, shown.version), ("echo", 4, 9));
    assert_eq!(to_guest::group_spec(shown.spec), group.spec);
    for (replica, state) in shown.replicas.iter().zip(states) {
        assert_eq!(variant(&replica.state), variant(&state));
    }
    for error in [
        ProcessError::UnknownCommand("x".into()),
        ProcessError::Invalid("x".into()),
        ProcessError::NotFound,
        ProcessError::CursorExpired,
        ProcessError::ReadOnly,
    ] {
        assert_eq!(variant(&to_guest::process_error(error.clone())), variant(&error));
    }
}

proptest! {
    #[test]
    fn whatever_a_guest_says_an_accepted_endpoint_is_safe_to_use(
        authority in ".{0,40}", prefix in ".{0,20}", host in proptest::option::of(".{0,20}"),
    ) {
        let mut one = endpoint(guest::endpoints::Target::Authority(authority));
        one.path_prefix = prefix;
        one.host_header = host;
        if let Ok(list) = endpoints(vec![one], |_| true) {
            let good = list.first().unwrap();
            let Target::Authority(authority) = &good.target else { panic!("it was an authority") };
            let path = format!("{}/", good.path_prefix);
            let uri = http::Uri::builder().scheme("http").authority(&**authority).path_and_query(path).build();
            prop_assert!(uri.is_ok());
            prop_assert!(good.host_header.as_ref().is_none_or(|host| http::HeaderValue::from_str(host).is_ok()));
        }
    }
}
