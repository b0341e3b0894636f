//! Functions: what is deployed, and what the platform holds.

use super::super::bindings::guest::functions as wit;
use super::{
    BadOutput, Checked, Foreign, KEY_MAX_BYTES, PAIRS_MAX, TEXT_MAX_BYTES, at_most, check_name, cursor, is_own,
    optional_pairs, optional_text, pairs, text, to_pairs,
};
use crate::name::{FunctionName, FunctionRef, Namespace};
use crate::query::functions::{FunctionDeployment, FunctionPage, FunctionResources, FunctionStatus, FunctionUsage};

pub(crate) fn deployment_to_guest(deployment: &FunctionDeployment) -> wit::FunctionDeployment {
    let FunctionDeployment {
        service,
        image,
        namespace,
        env_process,
        env_vars,
        constraints,
        secrets,
        labels,
        annotations,
        limits,
        requests,
        read_only_root_filesystem,
    } = deployment;
    wit::FunctionDeployment {
        service: service.clone(),
        namespace: namespace.clone(),
        image: image.clone(),
        env_process: env_process.clone(),
        env_vars: to_pairs(env_vars.as_ref()),
        constraints: constraints.clone().unwrap_or_default(),
        secrets: secrets.clone().unwrap_or_default(),
        labels: to_pairs(labels.as_ref()),
        annotations: to_pairs(annotations.as_ref()),
        limits: limits.as_ref().map(resources_to_guest),
        requests: requests.as_ref().map(resources_to_guest),
        read_only_root_filesystem: *read_only_root_filesystem,
        extra: Vec::new(),
    }
}

fn resources_to_guest(resources: &FunctionResources) -> wit::FunctionResources {
    let FunctionResources { memory, cpu, extra } = resources;
    wit::FunctionResources { memory: memory.clone(), cpu: cpu.clone(), extra: to_pairs(Some(extra)) }
}

fn resources(resources: wit::FunctionResources, field: &'static str) -> Checked<FunctionResources> {
    let wit::FunctionResources { memory, cpu, extra } = resources;
    Ok(FunctionResources {
        memory: optional_text(memory, KEY_MAX_BYTES, field)?,
        cpu: optional_text(cpu, KEY_MAX_BYTES, field)?,
        extra: pairs(extra, field)?,
    })
}

fn texts(list: Vec<String>, field: &'static str) -> Checked<Option<Vec<String>>> {
    let list = at_most(list, PAIRS_MAX, field)?
        .into_iter()
        .map(|value| text(value, TEXT_MAX_BYTES, field))
        .collect::<Checked<Vec<_>>>()?;
    Ok(Some(list).filter(|list| !list.is_empty()))
}

/// `namespace` is the one that was asked about: a plugin answers for no other.
fn deployment(deployment: wit::FunctionDeployment, asked: &Namespace) -> Checked<FunctionDeployment> {
    let wit::FunctionDeployment {
        service,
        namespace,
        image,
        env_process,
        env_vars,
        constraints,
        secrets,
        labels,
        annotations,
        limits,
        requests,
        read_only_root_filesystem,
        extra,
    } = deployment;
    check_name::<FunctionName>(&service, "service")?;
    if !is_own(namespace == asked.as_str()) {
        return Err(BadOutput("namespace"));
    }
    pairs(extra, "extra")?;
    Ok(FunctionDeployment {
        service,
        image: text(image, TEXT_MAX_BYTES, "image")?,
        namespace,
        env_process: optional_text(env_process, TEXT_MAX_BYTES, "env-process")?,
        env_vars: optional_pairs(env_vars, "env-vars")?,
        constraints: texts(constraints, "constraints")?,
        secrets: texts(secrets, "secrets")?,
        labels: optional_pairs(labels, "labels")?,
        annotations: optional_pairs(annotations, "annotations")?,
        limits: limits.map(|limits| resources(limits, "limits")).transpose()?,
        requests: requests.map(|requests| resources(requests, "requests")).transpose()?,
        read_only_root_filesystem,
    })
}

/// A number that counts something, as JSON can say it.
fn amount(value: f64, field: &'static str) -> Checked<f64> {
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(BadOutput(field)) }
}

pub(crate) fn function_status(status: wit::FunctionStatus, asked: &Namespace) -> Checked<FunctionStatus> {
    let wit::FunctionStatus {
        deployment: deployed,
        replicas,
        available_replicas,
        created_at_ms,
        usage,
        invocation_count,
    } = status;
    Ok(FunctionStatus {
        deployment: deployment(deployed, asked)?,
        replicas,
        available_replicas,
        created_at_ms,
        usage: usage
            .map(|usage| {
                Ok(FunctionUsage {
                    cpu: amount(usage.cpu_millicores, "cpu-millicores")?,
                    total_memory_bytes: amount(usage.total_memory_bytes, "total-memory-bytes")?,
                })
            })
            .transpose()?,
        invocation_count: invocation_count.map(|count| amount(count, "invocation-count")).transpose()?,
    })
}

pub(crate) fn function_page(
    page: wit::FunctionPage,
    asked: &Namespace,
    limit: u32,
    foreign: &mut Foreign,
) -> Checked<FunctionPage> {
    let wit::FunctionPage { functions, next } = page;
    let mut kept = Vec::new();
    for status in at_most(functions, limit as usize, "functions")? {
        if is_own(status.deployment.namespace == asked.as_str()) {
            kept.push(function_status(status, asked)?);
        } else {
            let _none: Option<()> = foreign.left_out();
        }
    }
    Ok(FunctionPage { functions: kept, next: cursor(next)? })
}

/// The one function that was asked about.
pub(crate) fn function_asked(status: wit::FunctionStatus, asked: &FunctionRef) -> Checked<FunctionStatus> {
    if !is_own(status.deployment.service == asked.name.as_str()) {
        return Err(BadOutput("service"));
    }
    function_status(status, &asked.namespace)
}
