//! A guest of the tests and the bench: one GET for each question, to the grant `platform`.
//!
//! It also watches, by a GET that the platform answers when something changed.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    ChangeSet, Endpoint, Endpoints, FunctionRef, FunctionState, Provider, Result, ServiceStatus, Target, Watch,
    export_provider,
};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 << 10;

struct Fetch;

impl Provider for Fetch {
    fn open() -> Result<Self> {
        Ok(Self)
    }

    fn get_replicas(&self, service: &str, _namespace: &str) -> Result<ServiceStatus> {
        let (replicas, available_replicas) = Request::get("http://platform/replicas/")
            .segment(service)
            .send()?
            .success("replicas")?
            .json::<(u64, u64)>(ANSWER_BYTES)?;
        Ok(ServiceStatus { replicas, available_replicas, ..ServiceStatus::default() })
    }

    fn set_replicas(&self, service: &str, _namespace: &str, count: u64) -> Result<()> {
        let request = Request::post("http://platform/replicas/").segment(service).query("count", &count.to_string());
        request.send()?.success("scaling")?;
        Ok(())
    }
}

impl Watch for Fetch {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        let (cursor, changed) = Request::get("http://platform/changes")
            .query("cursor", cursor.unwrap_or("0"))
            .query("timeout", &timeout.as_millis().to_string())
            .timeout(timeout)
            .send()?
            .success("changes")?
            .json::<(u64, Vec<(String, u64, u64)>)>(ANSWER_BYTES)?;
        let namespace = namespaces.first().cloned().unwrap_or_default();
        let changed = changed.into_iter().map(|(name, replicas, available_replicas)| FunctionState {
            function: FunctionRef { name, namespace: namespace.clone() },
            status: ServiceStatus { replicas, available_replicas, ..ServiceStatus::default() },
        });
        Ok(ChangeSet { changed: changed.collect(), removed: Vec::new(), cursor: cursor.to_string(), complete: true })
    }
}

impl Endpoints for Fetch {
    fn resolve(&self, service: &str, _namespace: &str) -> Result<Vec<Endpoint>> {
        Ok(vec![Endpoint {
            target: Target::Grant("platform".to_owned()),
            path_prefix: format!("/function/{service}"),
            host_header: None,
            tls: false,
            ttl_ms: 60_000,
            instance: String::new(),
        }])
    }
}

export_provider! {
    Fetch,
    exports: [Watch, Endpoints],
    name: "fetch",
    description: "One GET for each question",
    grants: { "platform": "GET and POST /replicas/*, GET /changes" },
    config: {},
}
