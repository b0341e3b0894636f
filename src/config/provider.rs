//! `[provider.NAME]`: what a provider's plugin is, which namespaces it serves and what it may use.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::section::Section;
use super::value::as_text;
use super::{command, grant, signature, swap};
use crate::host::grant::Grant;
use crate::name::{Digest, Namespace, ProviderName};
use crate::provider::{AllowedHost, ComponentSource, EndpointPolicy, Limits, ProviderConfig, Reuse};
use crate::trust::signature::SignaturePolicy;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Reads one provider; `None` if what is missing leaves nothing to build.
pub(super) fn read(
    name: &str,
    section: &Section<'_>,
    builtins: &[&str],
    signed: &SignaturePolicy,
) -> Option<ProviderConfig> {
    let parsed = name.parse::<ProviderName>();
    if let Err(error) = &parsed {
        section.problem(format!("{name:?} cannot be a provider's name: {error}"));
    }
    let component = component(section, builtins);
    let digest = section.parsed::<Digest>("digest");
    let signature = signature::of_provider(&section.section("signature"), signed);
    let mut namespaces = section
        .list("namespaces", |value| as_text(value)?.parse::<Namespace>().map_err(|error| error.to_string()))
        .unwrap_or_default();
    let is_default = section.switch("default", false);
    let config = section.json("config");
    let grants = collect(&section.named("grant"), |name, section| grant::read(name, section, is_default));
    if namespaces.is_empty() && !is_default && !section.has("namespaces") {
        namespaces.extend(grants.values().find_map(|grant: &Grant| grant.namespace.clone()));
        if namespaces.is_empty() {
            section.problem("serves no namespace; write namespaces = [\"openfaas-fn\"], or default = true");
        }
    }
    let commands = collect(&section.named("command"), command::read);
    let endpoints = endpoints(&section.section("endpoints"), &grants);
    let limits = limits(&section.section("limits"));
    let swap = swap::read(&section.section("swap"));
    Some(ProviderConfig {
        name: parsed.ok()?,
        component: component?,
        digest,
        signature,
        namespaces,
        is_default,
        config,
        grants,
        commands,
        endpoints,
        limits,
        swap,
    })
}

/// Reads every table; a mistake in one does not keep those of the others from being found.
fn collect<T>(
    sections: &[(&str, Section<'_>)],
    mut read: impl FnMut(&str, &Section<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let read_one = |(name, section): &(&str, Section<'_>)| Some(((*name).to_owned(), read(name, section)?));
    sections.iter().filter_map(read_one).collect()
}

fn component(section: &Section<'_>, builtins: &[&str]) -> Option<ComponentSource> {
    if !section.has("component") {
        let example = builtins.first().map_or("local", |name| *name);
        section.problem(format!("has no component; write component = \"builtin:{example}\" or the path of a file"));
    }
    let text = section.text("component")?;
    if let Some(name) = text.strip_prefix("builtin:") {
        if builtins.contains(&name) {
            return Some(ComponentSource::Builtin(name.into()));
        }
        let known = builtins.iter().map(|name| format!("builtin:{name}")).collect::<Vec<_>>().join(", ");
        let known =
            if known.is_empty() { "this binary was built without any".into() } else { format!("there is {known}") };
        section.problem_at("component", format!("no such bundled plugin; {known}"));
        return None;
    }
    if let Some((scheme, _)) = text.split_once("://") {
        section.problem_at("component", format!("{scheme}:// is not supported yet; write the path of a file"));
        return None;
    }
    let path = section.resolve(text);
    if !path.is_file() {
        section.problem_at("component", format!("there is no file {}", path.display()));
        return None;
    }
    Some(ComponentSource::File(path))
}

fn endpoints(section: &Section<'_>, grants: &BTreeMap<String, Grant>) -> EndpointPolicy {
    let of_grants = || grants.values().flat_map(|grant| grant.endpoints.iter().cloned()).collect();
    let allow = allowed_hosts(section, "allow").unwrap_or_else(of_grants);
    let template = section.read("template", |value: &DeValue<'_>| {
        let text = as_text(value)?;
        match text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
            Some(rest) if rest.contains("{name}") => Ok(text.to_owned()),
            _ => Err("must be an http URL with {name} in it, e.g. \"http://{name}.{namespace}.svc:8080\"".to_owned()),
        }
    });
    EndpointPolicy { allow, template }
}

/// A list of places where instances may be; `None` if there is none.
pub(super) fn allowed_hosts(section: &Section<'_>, key: &'static str) -> Option<Vec<AllowedHost>> {
    section.list(key, |value| allowed(as_text(value)?))
}

/// A network, an address, a name or `*.suffix`.
fn allowed(text: &str) -> Result<AllowedHost, String> {
    if let Ok(network) = text.parse::<ipnet::IpNet>() {
        return Ok(AllowedHost::Network(network));
    }
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(AllowedHost::Network(address.into()));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    // A name whose last label is a number would be taken for an address by some resolvers.
    let ends_in_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || ends_in_number || !name.split('.').all(is_label) {
        return Err(
            "must be a network (\"10.0.0.0/8\"), an address, a host name or \"*.suffix\", without a port".into()
        );
    }
    Ok(if text.len() == name.len() { AllowedHost::Name(text.into()) } else { AllowedHost::Suffix(text.into()) })
}

fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let second = Duration::from_secs;
    let tick = Duration::from_millis(1);
    let limits = Limits {
        memory: section.size("memory", default.memory, 64 << 10..=GIB),
        call_timeout: section.duration("call-timeout", default.call_timeout, tick..=second(300)),
        deploy_timeout: section.duration("deploy-timeout", default.deploy_timeout, tick..=second(600)),
        watch_timeout: section.duration("watch-timeout", default.watch_timeout, tick..=second(600)),
        cpu_time: section.duration("cpu-time", default.cpu_time, tick..=second(60)),
        host_call_bytes: section.size("host-call-bytes", default.host_call_bytes, 1 << 10..=256 * MIB),
        handles: section.count("handles", default.handles, 1..=65536),
        requests: section.count("requests", default.requests, 0..=10_000),
        request_bytes: section.size("request-bytes", default.request_bytes, 0..=256 * MIB),
        response_bytes: section.size("response-bytes", default.response_bytes, 0..=GIB),
        header_bytes: section.size("header-bytes", default.header_bytes, 256..=MIB),
        log_lines: section.count("log-lines", default.log_lines, 0..=10_000),
        log_line_bytes: section.size("log-line-bytes", default.log_line_bytes, 64..=64 << 10),
        log_rate: section.count("log-rate", default.log_rate, 0..=100_000),
        host_log_lines: section.count("host-log-lines", default.host_log_lines, 1..=10_000),
        concurrency: section.nonzero("concurrency", default.concurrency, 1024),
        lease_timeout: section.duration("lease-timeout", default.lease_timeout, Duration::ZERO..=second(60)),
        instances: reuse(section),
        state_quota: section.size("state-quota", default.state_quota, 0..=GIB),
        component_bytes: section.size("component-bytes", default.component_bytes, 1 << 10..=256 * MIB),
        drain_timeout: section.duration("drain-timeout", default.drain_timeout, Duration::ZERO..=second(600)),
    };
    if limits.cpu_time > limits.call_timeout.max(limits.deploy_timeout).max(limits.watch_timeout) {
        section.problem_at("cpu-time", "is longer than every call may last; raise call-timeout or lower it");
    }
    limits
}

/// `instances = "per-call"`, or a table of the bounds within which they are reused.
fn reuse(section: &Section<'_>) -> Reuse {
    if section.is_text("instances") {
        return section
            .choice("instances", &[("per-call", Reuse::PerCall), ("pooled", Reuse::default())])
            .unwrap_or_default();
    }
    let section = section.section("instances");
    let Reuse::Pooled { calls, age, recycle_above } = Reuse::default() else { return Reuse::PerCall };
    Reuse::Pooled {
        calls: section.nonzero("calls", calls, 1_000_000_000),
        age: section.duration("age", age, Duration::from_millis(1)..=Duration::from_secs(86_400)),
        recycle_above: section.size("recycle-above", recycle_above, 0..=GIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_host_is_a_network_an_address_a_name_or_a_suffix() {
        assert_eq!(allowed("10.0.0.0/8"), Ok(AllowedHost::Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!(allowed("::1"), Ok(AllowedHost::Network("::1/128".parse().unwrap())));
        assert_eq!(allowed("figlet.internal"), Ok(AllowedHost::Name("figlet.internal".into())));
        assert_eq!(allowed("*.svc"), Ok(AllowedHost::Suffix("*.svc".into())));
        for bad in ["", "*", "a:80", "10.0.0.0/33", "a..b", "*.*.b", "10.0.1", "http://a"] {
            assert!(allowed(bad).is_err(), "{bad}");
        }
    }
}
