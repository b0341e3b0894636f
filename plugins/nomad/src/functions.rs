//! `functions`: jobs, made from the operator's template.

use serde_json::{Value, json};
use wicketgate_sdk::{
    ErrorKind, FunctionDeployment, FunctionPage, FunctionResources, FunctionStatus, Functions, Pairs, ProviderError,
    Result,
};

use crate::jobs::{Jobs, PAGE};
use crate::json::{entries, number, text, texts};
use crate::{Job, Nomad, api};

const NANOS_PER_MILLI: u64 = 1_000_000;

impl Functions for Nomad {
    /// A page is at most [`PAGE`] functions, since each costs two requests.
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        let limit = usize::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE);
        let Jobs { ids, next, .. } = self.jobs(namespace, cursor.unwrap_or_default(), limit)?;
        let mut functions = Vec::new();
        for id in &ids {
            let Some(name) = id.strip_prefix(&self.settings.job_prefix) else { continue };
            match self.get_function(name, namespace, false) {
                Ok(function) => functions.push(function),
                // No function, or gone by now.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(FunctionPage { functions, next })
    }

    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        let job = self.job(service, namespace)?;
        let counts = self.status(&job, service, namespace)?;
        let task = first_task(&job);
        let mut env: Pairs = texts(task, "Env").map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let process = env.iter().position(|(key, _)| key == "fprocess").map(|place| env.remove(place).1);
        let config = task.get("Config").unwrap_or(&Value::Null);
        let image =
            Some(text(config, "image")).filter(|image| !image.is_empty()).unwrap_or_else(|| text(config, "command"));
        let memory = task.pointer("/Resources/MemoryMB").and_then(Value::as_u64);
        let limits = FunctionResources { memory: memory.map(|mb| format!("{mb}Mi")), ..FunctionResources::default() };
        Ok(FunctionStatus {
            deployment: FunctionDeployment {
                service: service.to_owned(),
                namespace: namespace.to_owned(),
                image,
                env_process: process,
                env_vars: env,
                labels: counts.labels,
                annotations: counts.annotations,
                limits: memory.map(|_| limits),
                ..FunctionDeployment::default()
            },
            replicas: counts.replicas,
            available_replicas: counts.available_replicas,
            created_at_ms: Some(number(&job.value, "SubmitTime") / NANOS_PER_MILLI).filter(|millis| *millis > 0),
            usage: None,
            invocation_count: None,
        })
    }

    /// A stopped job of the function is started again, as what was asked for.
    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let what = format!("deploy function {}.{}", deployment.service, deployment.namespace);
        let job = self.filled(&deployment)?;
        let id = self.job_id(&deployment.service);
        let index = match api::fetch(api::get(&["v1", "job", &id], &deployment.namespace), &what) {
            Ok(there) if there.get("Stop") == Some(&Value::Bool(true)) && self.is_function(&there) => {
                number(&there, "JobModifyIndex")
            }
            Ok(_) => return Err(ProviderError::already_exists(format!("{what}: there is a job of this name"))),
            Err(error) if error.kind == ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let body = json!({ "Job": job, "EnforceIndex": true, "JobModifyIndex": index });
        match api::send(api::post(&["v1", "jobs"], &deployment.namespace, &body), &what) {
            Err(error) if error.kind == ErrorKind::Conflict => {
                Err(ProviderError { kind: ErrorKind::AlreadyExists, ..error })
            }
            outcome => outcome.map(drop),
        }
    }

    /// The count stays what it was scaled to.
    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let what = format!("update function {}.{}", deployment.service, deployment.namespace);
        let there = self.job(&deployment.service, &deployment.namespace)?;
        let index = number(&there.value, "JobModifyIndex");
        let job = self.filled(&deployment)?;
        let body = json!({ "Job": job, "EnforceIndex": true, "JobModifyIndex": index, "PreserveCounts": true });
        api::send(api::post(&["v1", "jobs"], &deployment.namespace, &body), &what).map(drop)
    }

    /// The job is purged: one that is only stopped would keep its name and its counts.
    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        let what = format!("delete function {service}.{namespace}");
        self.job(service, namespace)?;
        let request = api::request("DELETE", &["v1", "job", &self.job_id(service)], namespace);
        api::send(request.query("purge", "true"), &what).map(drop)
    }
}

/// The task that is the function.
pub(crate) fn first_task(job: &Job) -> &Value {
    entries(&job.group, "Tasks").first().unwrap_or(&Value::Null)
}
