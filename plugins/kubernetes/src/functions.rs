//! `functions`: Deployments with their Services, written by server-side apply.

use serde_json::Value;
use wicketgate_sdk::time::parse_rfc3339;
use wicketgate_sdk::{
    ErrorKind, FunctionDeployment, FunctionPage, FunctionResources, FunctionStatus, Functions, Pairs, ProviderError,
    Result,
};

use crate::api::{self, DEPLOYMENTS, PAGE, SERVICES};
use crate::manifest::{self, FPROCESS};
use crate::object::{Deployment, List, Metadata, amounts, entries, text};
use crate::{Kubernetes, status};

impl Functions for Kubernetes {
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        let request = self.list_request(namespace).query("limit", &limit.clamp(1, PAGE).to_string());
        let page: List<Deployment> = api::page(&request, cursor, true, &format!("functions of {namespace}"))?;
        let mut found = page.items;
        found.retain(|deployment| !deployment.metadata.is_going());
        let functions = found.into_iter().map(|deployment| function(&deployment, namespace)).collect();
        Ok(FunctionPage { functions, next: page.next })
    }

    /// `usage` is not known: it is the metrics server's, an API that a cluster may not have.
    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        Ok(function(&self.deployment(service, namespace)?, namespace))
    }

    /// Without force: what another writer owns under this name is a conflict, not taken over.
    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let (service, namespace) = (&deployment.service, &deployment.namespace);
        let what = format!("deploy function {service}.{namespace}");
        let url = DEPLOYMENTS.one(namespace, service);
        match api::fetch::<Metadata>(api::get(url.clone()), &what) {
            Ok(there) if there.is_going() => {
                return Err(ProviderError::already_exists(format!("{what}: its Deployment is still being deleted")));
            }
            Ok(_) => {
                return Err(ProviderError::already_exists(format!("{what}: there is a Deployment of this name")));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let body = manifest::deployment(&self.settings, &deployment, None)?;
        let request = api::apply(url.clone(), &self.settings.field_manager, false, &body);
        let made: Metadata = api::fetch(request, &what)?;
        self.apply_service(&deployment, None, &what).map_err(|error| {
            // Half a function would be in the way of the next attempt: what was made just now goes again.
            match api::send(api::delete(url, &made.uid), &what) {
                Ok(_) => error,
                Err(left) => {
                    let message = format!("{}; its Deployment is left behind: {}", error.message, left.message);
                    ProviderError { message, ..error }
                }
            }
        })
    }

    /// With force: the function's fields become this gateway's, whoever deployed it. The count is left
    /// out, so whoever scaled it goes on owning that.
    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let (service, namespace) = (&deployment.service, &deployment.namespace);
        let what = format!("update function {service}.{namespace}");
        let there = self.deployment(service, namespace)?;
        let body = manifest::deployment(&self.settings, &deployment, Some(&there))?;
        let url = DEPLOYMENTS.one(namespace, service);
        api::send(api::apply(url, &self.settings.field_manager, true, &body), &what)?;
        self.apply_service(&deployment, Some(&there), &what)
    }

    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        let what = format!("delete function {service}.{namespace}");
        let there = self.deployment(service, namespace)?;
        let url = DEPLOYMENTS.one(namespace, service);
        api::send(api::delete(url, &there.metadata.uid), &what)?;
        let url = SERVICES.one(namespace, service);
        let answer = api::fetch::<Metadata>(api::get(url.clone()), &what).and_then(|found| {
            // A Service of this name may be somebody else's.
            if self.is_function(&found) {
                api::send(api::delete(url, &found.uid), &what)?;
            }
            Ok(())
        });
        match answer {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

impl Kubernetes {
    /// Applies the Service of a function. Fields that somebody else owns are taken over only if the
    /// Service says that it is a function's.
    fn apply_service(&self, deployment: &FunctionDeployment, there: Option<&Deployment>, what: &str) -> Result<()> {
        let url = SERVICES.one(&deployment.namespace, &deployment.service);
        let body = manifest::service(&self.settings, deployment, there);
        let manager = &self.settings.field_manager;
        match api::send(api::apply(url.clone(), manager, false, &body), what) {
            Err(error) if error.kind == ErrorKind::Conflict => {
                let found: Metadata = api::fetch(api::get(url.clone()), what)?;
                if !self.is_function(&found) {
                    return Err(ProviderError::already_exists(format!(
                        "{what}: there is a Service of this name that is no function's"
                    )));
                }
                api::send(api::apply(url, manager, true, &body), what).map(drop)
            }
            outcome => outcome.map(drop),
        }
    }
}

/// What a Deployment says of the function that it runs.
fn function(deployment: &Deployment, namespace: &str) -> FunctionStatus {
    let counts = status(deployment);
    let nothing = Value::Null;
    let container = deployment.container().unwrap_or(&nothing);
    let mut env: Pairs = Vec::new();
    let mut env_process = None;
    for variable in entries(container, "env") {
        // Without a value of its own it comes from a secret, a map or a field.
        let Some(value) = variable.get("value").and_then(Value::as_str) else { continue };
        match text(variable, "name") {
            name if name == FPROCESS => env_process = Some(value.to_owned()).filter(|value| !value.is_empty()),
            name => env.push((name, value.to_owned())),
        }
    }
    let constraints = deployment.node_selector();
    FunctionStatus {
        deployment: FunctionDeployment {
            service: deployment.metadata.name.clone(),
            namespace: namespace.to_owned(),
            image: text(container, "image"),
            env_process,
            env_vars: env,
            constraints: constraints.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            secrets: deployment.secrets(),
            labels: counts.labels,
            annotations: counts.annotations,
            limits: amounts(container, "limits").map(resources),
            requests: amounts(container, "requests").map(resources),
            read_only_root_filesystem: container.pointer("/securityContext/readOnlyRootFilesystem")
                == Some(&Value::Bool(true)),
            extra: Pairs::new(),
        },
        replicas: counts.replicas,
        available_replicas: counts.available_replicas,
        created_at_ms: deployment.metadata.creation_timestamp.as_deref().and_then(parse_rfc3339),
        usage: None,
        invocation_count: None,
    }
}

fn resources(amounts: Pairs) -> FunctionResources {
    let mut resources = FunctionResources::default();
    for (key, amount) in amounts {
        match key.as_str() {
            "memory" => resources.memory = Some(amount),
            "cpu" => resources.cpu = Some(amount),
            _ => resources.extra.push((key, amount)),
        }
    }
    resources
}
