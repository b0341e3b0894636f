//! What task definitions and services are made of: the operator's template, and of a deployment what it leaves open.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wicketgate_sdk::{FunctionDeployment, FunctionResources, ProviderError, Result};

use crate::service::{self, Service, TAG_ANNOTATION, TAG_FUNCTION, TAG_IMAGE, TAG_PORT, Tag};

/// The variable that OpenFaaS's watchdogs take the process from.
pub(crate) const PROCESS: &str = "fprocess";

/// The most tags of a resource.
const TAGS_MAX: usize = 50;

/// The longest key and value of a tag, in characters.
const TAG_CHARS: (usize, usize) = (128, 256);

/// The operator's `config.deploy`: what a deployment cannot choose.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Template {
    /// `FARGATE` or `EC2`.
    #[serde(default = "fargate")]
    launch_type: String,
    /// The subnets of the tasks' network interfaces.
    subnets: Vec<String>,
    /// Their security groups.
    #[serde(default)]
    security_groups: Vec<String>,
    /// Whether they get public addresses.
    #[serde(default)]
    assign_public_ip: bool,
    /// The role that pulls images and writes logs.
    #[serde(default)]
    execution_role: Option<String>,
    /// The role that the functions have.
    #[serde(default)]
    task_role: Option<String>,
    /// Processor units of a task where the deployment says nothing; 1024 are one processor.
    #[serde(default = "quarter")]
    cpu: u64,
    /// MiB of a task where the deployment says nothing.
    #[serde(default = "half_gib")]
    memory: u64,
    /// The most processor units that a deployment may ask for.
    #[serde(default = "quarter")]
    cpu_max: u64,
    /// The most MiB that a deployment may ask for.
    #[serde(default = "half_gib")]
    memory_max: u64,
    /// The log configuration of every container, as ECS has it.
    #[serde(default)]
    log: Option<Log>,
}

/// `logConfiguration`.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Log {
    log_driver: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

fn fargate() -> String {
    "FARGATE".to_owned()
}

fn quarter() -> u64 {
    256
}

fn half_gib() -> u64 {
    512
}

impl Template {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(ProviderError::invalid(text));
        if !["FARGATE", "EC2"].contains(&self.launch_type.as_str()) {
            return refuse("config.deploy.launch-type is neither \"FARGATE\" nor \"EC2\"");
        }
        if self.subnets.is_empty() {
            return refuse("config.deploy.subnets is empty; name the subnets of the tasks");
        }
        if self.cpu > self.cpu_max || self.memory > self.memory_max {
            return refuse("config.deploy has a default above its maximum; raise cpu-max or memory-max");
        }
        Ok(())
    }

    /// The body of `RegisterTaskDefinition`.
    pub(crate) fn task_definition(&self, deployment: &FunctionDeployment, port: u16, tags: &[Tag]) -> Result<Value> {
        let name = &deployment.service;
        let refuse = |reason: String| Err(ProviderError::invalid(format!("function {name}: {reason}")));
        if !service::is_name(name) {
            return refuse("a service's name has at most 255 letters, digits, '-' or '_'".to_owned());
        }
        if let Some(secret) = deployment.secrets.first() {
            return refuse(format!("secret {secret:?}: this provider has no secrets; leave it out"));
        }
        if let Some(constraint) = deployment.constraints.first() {
            return refuse(format!("constraint {constraint:?}: placement is the operator's; leave it out"));
        }
        if deployment.image.trim().is_empty() {
            return refuse("has no image".to_owned());
        }
        let port = match deployment.labels.iter().find(|(key, _)| key == TAG_PORT) {
            Some((_, text)) => match text.parse::<u16>() {
                Ok(own) if own != 0 => own,
                _no_port => return refuse(format!("label {TAG_PORT} = {text:?} is no port; write 1 to 65535")),
            },
            None => port,
        };
        let (cpu, memory) = self.size(name, deployment.limits.as_ref())?;
        let process = deployment.env_process.iter().map(|process| (PROCESS, process));
        let variables = deployment.env_vars.iter().map(|(key, value)| (key.as_str(), value)).chain(process);
        let environment: Vec<Value> = variables.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut container = object(json!({
            "name": name,
            "image": deployment.image,
            "essential": true,
            "portMappings": [{ "containerPort": port, "protocol": "tcp" }],
            "environment": environment,
        }));
        if deployment.read_only_root_filesystem {
            container.insert("readonlyRootFilesystem".to_owned(), true.into());
        }
        if let Some(log) = &self.log {
            container.insert("logConfiguration".to_owned(), json!(log));
        }
        let mut definition = object(json!({
            "family": name,
            "containerDefinitions": [container],
            // Each task has an address of its own, which is never another task's at the same time.
            "networkMode": "awsvpc",
            "requiresCompatibilities": [self.launch_type],
            "cpu": cpu.to_string(),
            "memory": memory.to_string(),
            "tags": tags,
        }));
        for (key, role) in [("executionRoleArn", &self.execution_role), ("taskRoleArn", &self.task_role)] {
            if let Some(role) = role {
                definition.insert(key.to_owned(), role.as_str().into());
            }
        }
        Ok(definition.into())
    }

    /// Processor units and MiB of a task.
    fn size(&self, name: &str, limits: Option<&FunctionResources>) -> Result<(u64, u64)> {
        let cpu = limits.and_then(|limits| limits.cpu.as_deref()).map_or(Some(self.cpu), cpu_units);
        let memory = limits.and_then(|limits| limits.memory.as_deref()).map_or(Some(self.memory), mebibytes);
        let bounded = |key: &str, asked: Option<u64>, most: u64, example: &str| match asked {
            None => Err(format!("limits.{key} cannot be read; write e.g. {example}")),
            Some(asked) if asked == 0 || asked > most => {
                Err(format!("limits.{key} is not within 1 and the operator's {key}-max, {most}"))
            }
            Some(asked) => Ok(asked),
        };
        let refuse = |reason: String| ProviderError::invalid(format!("function {name}: {reason}"));
        let cpu = bounded("cpu", cpu, self.cpu_max, "250m").map_err(refuse)?;
        let memory = bounded("memory", memory, self.memory_max, "512Mi").map_err(refuse)?;
        Ok((cpu, memory))
    }

    /// The body of `CreateService`.
    pub(crate) fn service(&self, cluster: &str, name: &str, definition: &str, tags: &[Tag]) -> Value {
        let public = if self.assign_public_ip { "ENABLED" } else { "DISABLED" };
        json!({
            "cluster": cluster,
            "serviceName": name,
            "taskDefinition": definition,
            // As in OpenFaaS. Whatever label says otherwise is read by the gateway.
            "desiredCount": 1,
            "launchType": self.launch_type,
            "networkConfiguration": { "awsvpcConfiguration": {
                "subnets": self.subnets, "securityGroups": self.security_groups, "assignPublicIp": public,
            } },
            "tags": tags,
        })
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

/// `500m`, `1` or `0.5` processors as units of 1/1024.
fn cpu_units(text: &str) -> Option<u64> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u64>().ok()?,
        None => {
            let (whole, part) = text.split_once('.').unwrap_or((text, ""));
            if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let part: u64 = format!("{part:0<3}").parse().ok()?;
            whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)?
        }
    };
    // Fargate knows 256, 512, 1024, ...: rounded up, 250m is 256.
    millis.checked_mul(1024).map(|product| product.div_ceil(1000))
}

/// `512Mi`, `1Gi`, `512M` or bytes, as MiB, rounded up.
fn mebibytes(text: &str) -> Option<u64> {
    let units =
        [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let (digits, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1_u64));
    Some(digits.parse::<u64>().ok()?.checked_mul(factor)?.div_ceil(1 << 20))
}

/// The tags of a function's service: its labels and annotations, and what this plugin reads itself.
pub(crate) fn tags(deployment: &FunctionDeployment) -> Result<Vec<Tag>> {
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    let mut tags = vec![tag(TAG_FUNCTION, &deployment.service), tag(TAG_IMAGE, &deployment.image)];
    let labels = deployment.labels.iter().filter(|(key, _)| key != TAG_FUNCTION && key != TAG_IMAGE);
    tags.extend(labels.map(|(key, value)| tag(key, value)));
    tags.extend(deployment.annotations.iter().map(|(key, value)| tag(&format!("{TAG_ANNOTATION}{key}"), value)));
    let refuse = |reason: String| Err(ProviderError::invalid(format!("function {}: {reason}", deployment.service)));
    if tags.len() > TAGS_MAX {
        return refuse(format!("labels and annotations are tags, and {} are more than ECS's {TAGS_MAX}", tags.len()));
    }
    let is_text = |text: &str, most: usize| {
        // Letters of all scripts are allowed; which characters beyond ASCII are letters ECS knows best.
        let is_allowed = |char: char| !char.is_ascii() || char.is_ascii_alphanumeric() || " +-=._:/@".contains(char);
        text.chars().count() <= most && text.chars().all(is_allowed)
    };
    let bad = tags.iter().find(|tag| {
        tag.key.is_empty()
            || tag.key.to_ascii_lowercase().starts_with("aws:")
            || !is_text(&tag.key, TAG_CHARS.0)
            || !is_text(&tag.value, TAG_CHARS.1)
    });
    match bad {
        Some(Tag { key, value }) => refuse(format!(
            "{key:?} = {value:?} cannot be a tag: at most 128 and 256 letters, digits, spaces or + - = . _ : / @"
        )),
        None => Ok(tags),
    }
}

/// The keys of the tags that a service has now.
pub(crate) fn keys_of(service: &Service) -> impl Iterator<Item = String> {
    let labels = service.labels.iter().map(|(key, _)| key.clone());
    let annotations = service.annotations.iter().map(|(key, _)| format!("{TAG_ANNOTATION}{key}"));
    // A port that the deployment no longer names must not stay.
    labels.chain(annotations).chain(service.port.map(|_port| TAG_PORT.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_become_the_units_of_ecs() {
        for (text, units) in [("250m", 256), ("500m", 512), ("1", 1024), ("0.25", 256), ("2", 2048)] {
            assert_eq!(cpu_units(text), Some(units), "{text}");
        }
        for (text, mib) in [("512Mi", 512), ("1Gi", 1024), ("1048577", 2), ("128M", 123)] {
            assert_eq!(mebibytes(text), Some(mib), "{text}");
        }
        for bad in ["", "x", "-1", "1.2345", "99999999999999999999"] {
            assert_eq!((cpu_units(bad), mebibytes(bad)), (None, None), "{bad}");
        }
    }
}
