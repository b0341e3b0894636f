//! Services: reading them, and what they say of a function.

use serde::Deserialize;
use serde_json::json;
use wicketgate_sdk::{Pairs, ProviderError, Result, ServiceStatus, warn};

use crate::api;

/// The tag of services that are functions; its value says nothing.
pub(crate) const TAG_FUNCTION: &str = "wicketgate.function";

/// The tag with the port that the function's tasks answer on.
pub(crate) const TAG_PORT: &str = "wicketgate.port";

/// The tag with the image that was deployed, so that a list needs no task definitions.
pub(crate) const TAG_IMAGE: &str = "wicketgate.image";

/// What the tags of annotations begin with.
pub(crate) const TAG_ANNOTATION: &str = "wicketgate.annotation/";

/// The most services of one `DescribeServices`.
pub(crate) const DESCRIBE_MAX: usize = 10;

/// A service as the API gives it. Unknown keys are common.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    service_arn: String,
    service_name: String,
    status: String,
    desired_count: u64,
    running_count: u64,
    task_definition: String,
    created_at: Option<f64>,
    tags: Option<Vec<Tag>>,
}

/// A tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Described {
    services: Vec<Wire>,
    failures: Vec<Failure>,
}

/// Why a service was not described. An absent one is no error of the request.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failure {
    pub(crate) arn: String,
    pub(crate) reason: String,
}

/// A service that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) desired_count: u64,
    pub(crate) running_count: u64,
    pub(crate) task_definition: String,
    pub(crate) created_at_ms: Option<u64>,
    pub(crate) is_tagged: bool,
    pub(crate) port: Option<u16>,
    pub(crate) image: Option<String>,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
}

impl Service {
    /// `None` for one that is being deleted or was.
    fn read(wire: Wire) -> Option<Self> {
        if wire.status != "ACTIVE" {
            return None;
        }
        let mut service = Self {
            arn: wire.service_arn,
            name: wire.service_name,
            desired_count: wire.desired_count,
            running_count: wire.running_count,
            task_definition: wire.task_definition,
            created_at_ms: wire.created_at.and_then(millis),
            is_tagged: false,
            port: None,
            image: None,
            labels: Pairs::new(),
            annotations: Pairs::new(),
        };
        for Tag { key, value } in wire.tags.unwrap_or_default() {
            match key.as_str() {
                TAG_FUNCTION => service.is_tagged = true,
                TAG_PORT => {
                    service.port = value.parse().ok().filter(|port| *port != 0);
                    if service.port.is_none() {
                        warn!("service {} has the tag {TAG_PORT} = {value:?}, which is no port", service.name);
                    }
                }
                TAG_IMAGE => service.image = Some(value),
                _other => match key.strip_prefix(TAG_ANNOTATION) {
                    Some(name) => service.annotations.push((name.to_owned(), value)),
                    None => service.labels.push((key, value)),
                },
            }
        }
        Some(service)
    }

    pub(crate) fn into_status(self) -> ServiceStatus {
        ServiceStatus {
            replicas: self.desired_count,
            available_replicas: self.running_count,
            labels: self.labels,
            annotations: self.annotations,
            ..ServiceStatus::default()
        }
    }
}

/// Seconds since 1970 with a fraction, as milliseconds. Formatting the number instead would take 20 KB of code.
fn millis(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and 0 is no time")]
    let millis = (seconds * 1000.0) as u64;
    Some(millis).filter(|millis| *millis > 0)
}

/// The services of these names or ARNs, at most [`DESCRIBE_MAX`], that are there.
pub(crate) fn describe(cluster: &str, services: &[String]) -> Result<Vec<Service>> {
    let body = json!({ "cluster": cluster, "services": services, "include": ["TAGS"] });
    let described: Described = api::call("DescribeServices", &body, "services")?;
    if let Some(failure) = described.failures.iter().find(|failure| failure.reason != "MISSING") {
        let Failure { arn, reason } = failure;
        return Err(ProviderError::unavailable(format!("service {arn} cannot be described: {reason}")));
    }
    // What is asked for is described or missing; an answer that says neither is none of ECS.
    if described.services.is_empty() && described.failures.is_empty() && !services.is_empty() {
        return Err(ProviderError::internal("services: the answer neither describes one nor says that it is missing"));
    }
    Ok(described.services.into_iter().filter_map(Service::read).collect())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    service_arns: Vec<String>,
    next_token: Option<String>,
}

/// The ARNs of some services, and the token of the next page.
pub(crate) fn page(cluster: &str, token: Option<&str>, limit: usize) -> Result<(Vec<String>, Option<String>)> {
    let mut body = json!({ "cluster": cluster, "maxResults": limit });
    if let (Some(token), Some(fields)) = (token, body.as_object_mut()) {
        fields.insert("nextToken".to_owned(), token.into());
    }
    let listed: Listed = api::call("ListServices", &body, &format!("services of cluster {cluster}"))?;
    Ok((listed.service_arns, listed.next_token.filter(|token| !token.is_empty())))
}

/// Whether ECS can have a service of this name.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A count that ECS takes: its numbers have 32 bits with a sign.
pub(crate) fn count(count: u64) -> Result<i32> {
    i32::try_from(count).map_err(|_too_many| ProviderError::invalid(format!("{count} tasks are more than ECS counts")))
}
