//! The provider plugin for any service that speaks the faas-provider HTTP API: faasd, faas-netes,
//! and third parties.
//!
//! Each operation is one request to the grant `provider`, [`ensure`](Scaling::ensure) up to three;
//! the README lists them. The namespace goes into the query *and* the body of every request that
//! has one, because providers differ in where they look for it. Nothing is kept between calls.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    About, Endpoint, Endpoints, ErrorKind, Health, Platform, Provider, ProviderError, Result, Scaling, ServiceStatus,
    Target, config, export_provider,
};

mod functions;
mod logs;
mod namespaces;
mod page;
mod secrets;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod wire;

/// The grant under which the operator says where the provider is.
const GRANT: &str = "provider";

/// The same as a URL, in one piece, so that whoever inspects the plugin's bytes finds it.
const ROOT: &str = "http://provider/";

/// The most that an answer may hold, in bytes. A list of a thousand functions has about 1 MB.
const ANSWER_BYTES: usize = 8 << 20;

/// How long an endpoint may be used. It is the provider itself, which finds the instances, so it
/// does not change while the plugin runs; asking again costs no request.
const ENDPOINT_TTL: Duration = Duration::from_secs(600);

/// The provider at the other end of the grant.
pub struct FaasProvider;

export_provider! {
    FaasProvider,
    exports: [Scaling, Endpoints, Functions, Namespaces, Secrets, Logs, About, Health],
    name: "faas-provider",
    description: "Functions of any service that speaks the faas-provider HTTP API",
    grants: { "provider": "the root of the faas-provider API, e.g. http://faasd:8081, with its basic auth" },
    config: {},
}

/// The operator's `config` table: this plugin reads no key, so any key is a mistake.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Provider for FaasProvider {
    fn open() -> Result<Self> {
        Ok(Self)
    }

    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        Ok(functions::fetch(service, namespace, false)?.into_service_status())
    }

    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let body = wire::ScaleRequest { service_name: service, replicas: count, namespace };
        let answer = Request::post(url("system/scale-function/"))
            .segment(service)
            .query("namespace", namespace)
            .json(&body)?
            .send()?;
        let is_500 = answer.status() == 500;
        let scaled = answer.success(&format!("scale function {service}.{namespace} to {count}")).map(drop);
        match scaled {
            // faas-netes says 500 of a function that is not there; only its status tells that from a fault.
            Err(fault) if is_500 => match functions::fetch(service, namespace, false) {
                Err(absent) if absent.kind == ErrorKind::NotFound => Err(absent),
                _there_or_unknown => Err(fault),
            },
            outcome => outcome,
        }
    }
}

impl Scaling for FaasProvider {
    /// The API has no versions and no compare-and-swap, so `expected_version` says nothing: what
    /// is read here decides. The count is read again afterwards, since providers cap it or round it.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        _expected_version: Option<&str>,
    ) -> Result<ServiceStatus> {
        let status = self.get_replicas(service, namespace)?;
        if status.replicas >= at_least {
            return Ok(status);
        }
        self.set_replicas(service, namespace, at_least)?;
        self.get_replicas(service, namespace)
    }
}

impl Endpoints for FaasProvider {
    /// The provider forwards to the instances itself. The namespace is always part of the name:
    /// whatever default the provider has, it is the same function that was asked about.
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        Ok(vec![Endpoint {
            target: Target::Grant(GRANT.to_owned()),
            path_prefix: format!("/function/{service}.{namespace}"),
            host_header: None,
            tls: false,
            ttl_ms: u32::try_from(ENDPOINT_TTL.as_millis()).unwrap_or(u32::MAX),
            instance: String::new(),
        }])
    }
}

impl About for FaasProvider {
    fn describe(&self) -> Result<Platform> {
        let answer = Request::get(url("system/info")).send()?.success("provider info")?;
        Ok(answer.json::<wire::ProviderInfo>(ANSWER_BYTES)?.into_platform())
    }
}

impl Health for FaasProvider {
    /// Asks for `/system/info`, not `/healthz`: it is there in every provider and checks the
    /// credentials.
    fn check(&self) -> Result<()> {
        config::typed::<Settings>()?;
        Request::get(url("system/info")).send()?.success("provider info")?;
        Ok(())
    }
}

/// The URL of a path below the grant.
fn url(path: &str) -> String {
    format!("{ROOT}{path}")
}

/// Sends a request that makes something new: here 409 means that it is there already.
fn create(request: Request, what: &str) -> Result<()> {
    let answer = request.send()?;
    let taken = answer.status() == 409;
    match answer.success(what) {
        Err(error) if taken => Err(ProviderError { kind: ErrorKind::AlreadyExists, ..error }),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
