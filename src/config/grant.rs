//! `[provider.NAME.grant.NAME]`: one permission to send requests somewhere.

pub(super) mod auth;
mod kubernetes;
pub(super) mod rules;

use std::time::Duration;

use super::problem::chain;
use super::provider::allowed_hosts;
use super::section::Section;
use super::value::as_text;
use crate::host::grant::{BasePath, ClientCertificate, Connect, Grant, GrantLimits, HttpVersion, Mode, Source, Tls};
use crate::provider::ProviderConfig;

/// Reads one grant; `None` if it cannot say where to connect.
pub(super) fn read(name: &str, section: &Section<'_>, is_default: bool) -> Option<Grant> {
    // The name is the authority of the guest's requests, so it has to be a host name.
    if name.is_empty()
        || name.len() > 63
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        section.problem(format!(
            "{name:?} cannot be a grant's name, which the plugin writes as a host; use lower-case letters, digits and '-'"
        ));
    }
    if !section.has("connect") {
        section.problem("has no connect; write connect = \"http://HOST:PORT\", \"https://...\" or \"unix:/path\"");
    }
    let cluster = kubernetes::read(section);
    let is_cluster = cluster.is_some();
    let (place, known_tls, known_auth, namespace) = match cluster {
        Some(Some(cluster)) => {
            (Some((cluster.connect, cluster.base)), Some(cluster.tls), Some(cluster.auth), cluster.namespace)
        }
        Some(None) => (None, None, None, None),
        None => {
            let read = |value| Connect::parse_with_base(as_text(value)?).map_err(|error| chain(&error));
            (section.read("connect", read), None, None, None)
        }
    };
    let base = section.read("base", |value| as_text(value)?.parse::<BasePath>().map_err(|error| chain(&error)));
    if section.has("base") && place.as_ref().is_some_and(|(_, base)| !base.as_str().is_empty()) {
        section.problem_at("base", "connect has a path already; write the path in one of the two");
    }
    let version = section.choice("http", &[("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)]);
    let tls = tls(section);
    let auth = auth::read(section);
    let profile = rules::profile(section, is_default);
    let mut rules = profile.as_ref().map(|profile| profile.rules.clone()).unwrap_or_default();
    rules.extend(rules::listed(section, "allow"));
    let mode = section.choice("mode", &[("enforce", Mode::Enforce), ("dry-run", Mode::DryRun)]);
    let limits = limits(&section.section("limits"));

    // A profile knows where its platform has the functions, or their instances.
    let (profile_functions, profile_endpoints) =
        profile.map(|profile| (profile.functions, profile.endpoints)).unwrap_or_default();
    let functions = section
        .read("functions", |value| as_text(value)?.parse::<BasePath>().map_err(|error| chain(&error)))
        .or(profile_functions);
    let endpoints = allowed_hosts(section, "endpoints").unwrap_or(profile_endpoints);

    let (connect, path) = place?;
    let (tls, auth) = (known_tls.unwrap_or(tls), known_auth.unwrap_or(auth));
    if !is_cluster && !tls.is_default() && !connect.is_tls() {
        section.problem("has TLS keys, but connect is not https://; take them out, or connect with https://");
    }
    Some(Grant {
        base: base.unwrap_or(path),
        version: version.unwrap_or_default(),
        tls,
        functions,
        endpoints,
        auth,
        rules,
        limits,
        mode: mode.unwrap_or_default(),
        exposed_secrets: section.exposed_secrets(),
        namespace,
        ..Grant::new(connect)
    })
}

/// What of a provider's grants is worth a warning at each start.
pub(super) fn warnings(provider: &ProviderConfig) -> Vec<String> {
    let tried_out = provider.grants.iter().filter(|(_name, grant)| grant.mode == Mode::DryRun);
    tried_out
        .map(|(name, _grant)| {
            format!(
                "provider {}: grant {name} is in mode = \"dry-run\": its rules refuse nothing, and the plugin may do \
                 whatever the credential can; take the line out when the rules are found",
                provider.name
            )
        })
        .collect()
}

fn tls(section: &Section<'_>) -> Tls {
    let ca = section.existing_file("ca").map(Source::from);
    let certificate = section.existing_file("client-cert");
    let key = section.secret_file("client-key");
    for (key, other) in [("client-cert", "client-key"), ("client-key", "client-cert")] {
        if section.has(key) && !section.has(other) {
            section.problem_at(key, format!("needs {other} beside it"));
        }
    }
    let client = certificate
        .zip(key)
        .map(|(certificate, key)| ClientCertificate { certificate: certificate.into(), key: key.into() });
    Tls { ca, client, server_name: section.text("server-name").map(str::to_owned) }
}

fn limits(section: &Section<'_>) -> GrantLimits {
    let default = GrantLimits::default();
    let second = Duration::from_secs;
    let tick = Duration::from_millis(1);
    GrantLimits {
        in_flight: section.nonzero("in-flight", default.in_flight, 4096),
        max_idle: section.count("max-idle", default.max_idle, 0..=1024),
        idle_timeout: section.duration("idle-timeout", default.idle_timeout, tick..=second(600)),
        connect_timeout: section.duration("connect-timeout", default.connect_timeout, tick..=second(60)),
        first_byte_timeout: section.duration("first-byte-timeout", default.first_byte_timeout, tick..=second(600)),
        between_bytes_timeout: section.duration(
            "between-bytes-timeout",
            default.between_bytes_timeout,
            tick..=second(600),
        ),
        response_bytes: section.size_if("response-bytes", 0..=1 << 30).or(default.response_bytes),
        buffered_bytes: section.size("buffered-bytes", default.buffered_bytes, 1 << 10..=16 << 20),
    }
}
