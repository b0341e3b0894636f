//! Tasks: where the instances of a service are.

use serde::Deserialize;
use serde_json::json;
use wicketgate_sdk::{ProviderError, Result};

use crate::api;
use crate::service::Failure;

/// The most tasks of one page, and of one `DescribeTasks`.
const PAGE: usize = 100;

/// The most pages: a function has at most a thousand endpoints.
const PAGES: usize = 10;

/// A task.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Task {
    pub(crate) task_arn: String,
    last_status: String,
    desired_status: String,
    health_status: String,
    group: String,
    attachments: Vec<Attachment>,
    containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attachment {
    r#type: String,
    status: String,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    network_interfaces: Vec<Interface>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Interface {
    private_ipv4_address: Option<String>,
    ipv6_address: Option<String>,
}

impl Task {
    /// The address of its own network interface. A task without one (network mode `bridge` or `host`) has the
    /// address of its machine, which this API does not tell.
    pub(crate) fn address(&self) -> Option<String> {
        let details = |name: &str| {
            let own = self.attachments.iter().filter(|one| one.r#type == "ElasticNetworkInterface");
            let mut details = own.filter(|one| one.status == "ATTACHED").flat_map(|one| &one.details);
            details.find(|detail| detail.name == name).map(|detail| detail.value.clone())
        };
        let interfaces = || self.containers.iter().flat_map(|container| &container.network_interfaces);
        details("privateIPv4Address")
            .or_else(|| interfaces().find_map(|interface| interface.private_ipv4_address.clone()))
            .or_else(|| details("privateIPv6Address"))
            .or_else(|| interfaces().find_map(|interface| interface.ipv6_address.clone()))
            .filter(|address| address.parse::<std::net::IpAddr>().is_ok())
    }

    /// Whether it serves: it runs, shall go on running, is of this service, and its health check does not say no.
    fn serves(&self, service: &str) -> bool {
        self.last_status == "RUNNING"
            && self.desired_status == "RUNNING"
            && self.health_status != "UNHEALTHY"
            && self.group.strip_prefix("service:") == Some(service)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    task_arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Described {
    tasks: Vec<Task>,
    failures: Vec<Failure>,
}

/// The tasks of a service that serve.
pub(crate) fn running(cluster: &str, service: &str) -> Result<Vec<Task>> {
    let what = format!("tasks of {service}");
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..PAGES {
        let mut body =
            json!({ "cluster": cluster, "serviceName": service, "desiredStatus": "RUNNING", "maxResults": PAGE });
        if let (Some(token), Some(fields)) = (token.take(), body.as_object_mut()) {
            fields.insert("nextToken".to_owned(), token.into());
        }
        let listed: Listed = api::call("ListTasks", &body, &what)?;
        if !listed.task_arns.is_empty() {
            let body = json!({ "cluster": cluster, "tasks": listed.task_arns });
            let described: Described = api::call("DescribeTasks", &body, &what)?;
            // A task that ended since it was listed is missing, and is not wanted.
            if let Some(failure) = described.failures.iter().find(|failure| failure.reason != "MISSING") {
                let Failure { arn, reason } = failure;
                return Err(ProviderError::unavailable(format!("task {arn} cannot be described: {reason}")));
            }
            found.extend(described.tasks.into_iter().filter(|task| task.serves(service)));
        }
        token = listed.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Ok(found)
}
