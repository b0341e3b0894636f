//! `functions`: services as functions, and the making of them.

use serde::Deserialize;
use serde_json::json;
use wicketgate_sdk::{
    ErrorKind, FunctionDeployment, FunctionPage, FunctionStatus, Functions, Pairs, ProviderError, Result, warn,
};

use crate::service::{self, DESCRIBE_MAX, Service};
use crate::{Ecs, api, deploy, no_function};

/// The most services of a page: with one request for each ten this is six requests.
const PAGE_MAX: usize = 50;

impl Functions for Ecs {
    /// The cursor is the platform's token. A page may have fewer functions than were asked for, or none: services
    /// that are no functions are left out.
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        let cluster = self.cluster(namespace)?;
        let limit = usize::try_from(limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let (arns, next) = service::page(cluster, cursor, limit)?;
        let mut functions = Vec::new();
        for some in arns.chunks(DESCRIBE_MAX) {
            let services = service::describe(cluster, some)?.into_iter().filter(|service| self.is_function(service));
            functions.extend(services.map(|service| status(service, namespace, Pairs::new())));
        }
        Ok(FunctionPage { functions, next })
    }

    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        let found = self.service(service, namespace)?;
        let variables = match variables(&found) {
            Ok(variables) => variables,
            // Whoever may only scale may not read task definitions, whose variables may be secret.
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid) => Pairs::new(),
            Err(error) => return Err(error),
        };
        Ok(status(found, namespace, variables))
    }

    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let (service, namespace) = (deployment.service.clone(), deployment.namespace.clone());
        let cluster = self.cluster(&namespace)?;
        let template = self.template()?;
        let tags = deploy::tags(&deployment)?;
        let definition = template.task_definition(&deployment, self.settings.port, &tags)?;
        // Any service of this name, a function or not.
        if !service::describe(cluster, std::slice::from_ref(&service))?.is_empty() {
            return Err(ProviderError::already_exists(format!("cluster {cluster} has a service {service}; update it")));
        }
        let registered = register(&definition)?;
        let body = template.service(cluster, &service, &registered, &tags);
        let what = format!("deploy function {service}.{namespace}");
        let created = api::run("CreateService", &body, &what);
        created.inspect_err(|_refused| deregister(&registered))
    }

    /// The tags are written last: cut in between, the labels are the old ones until the update is repeated.
    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let (service, namespace) = (deployment.service.clone(), deployment.namespace.clone());
        let cluster = self.cluster(&namespace)?;
        let template = self.template()?;
        let tags = deploy::tags(&deployment)?;
        let definition = template.task_definition(&deployment, self.settings.port, &tags)?;
        let found = self.service(&service, &namespace)?;
        let what = format!("update function {service}.{namespace}");
        let registered = register(&definition)?;
        // The count stays what it is: who scales at the same time is not undone.
        let body = json!({ "cluster": cluster, "service": service, "taskDefinition": registered });
        let updated = api::run("UpdateService", &body, &what);
        updated.inspect_err(|_refused| deregister(&registered))?;
        let gone = deploy::keys_of(&found).filter(|key| tags.iter().all(|tag| tag.key != *key)).collect::<Vec<_>>();
        if !gone.is_empty() {
            let body = json!({ "resourceArn": found.arn, "tagKeys": gone });
            api::run("UntagResource", &body, &what)?;
        }
        api::run("TagResource", &json!({ "resourceArn": found.arn, "tags": tags }), &what)
    }

    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        let found = self.service(service, namespace)?;
        let cluster = self.cluster(namespace)?;
        if found.desired_count > 0 {
            // A service is not deleted while it shall have tasks.
            self.scale(service, namespace, 0)?;
        }
        let what = format!("delete function {service}.{namespace}");
        let body = json!({ "cluster": cluster, "service": service });
        api::run("DeleteService", &body, &what).map_err(|error| {
            // Somebody else was faster.
            if error.kind == ErrorKind::NotFound { no_function(service, namespace) } else { error }
        })
    }
}

impl Ecs {
    fn template(&self) -> Result<&deploy::Template> {
        self.settings.deploy.as_ref().ok_or_else(|| {
            ProviderError::unsupported(
                "this provider only scales services; the operator allows deployments with a table config.deploy",
            )
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Definition {
    task_definition: TaskDefinition,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TaskDefinition {
    task_definition_arn: String,
    container_definitions: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    environment: Vec<Variable>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// Registers a task definition; its ARN.
fn register(definition: &serde_json::Value) -> Result<String> {
    let registered: Definition = api::call("RegisterTaskDefinition", definition, "task definition")?;
    let arn = registered.task_definition.task_definition_arn;
    if arn.is_empty() {
        return Err(ProviderError::internal("ECS registered a task definition and did not say its ARN"));
    }
    Ok(arn)
}

/// Takes back a task definition that no service uses. Left behind it costs nothing, so it is tried once.
fn deregister(arn: &str) {
    let body = json!({ "taskDefinition": arn });
    if let Err(error) = api::run("DeregisterTaskDefinition", &body, "task definition") {
        warn!("the unused task definition {arn} is left behind: {}", error.message);
    }
}

/// The variables of a service's own container.
fn variables(service: &Service) -> Result<Pairs> {
    let body = json!({ "taskDefinition": service.task_definition });
    let described: Definition = api::call("DescribeTaskDefinition", &body, "task definition")?;
    let containers = described.task_definition.container_definitions;
    let own = containers.into_iter().find(|container| container.name == service.name);
    Ok(own.map(|own| own.environment.into_iter().map(|one| (one.name, one.value)).collect()).unwrap_or_default())
}

/// A function as the faas-provider API shows it.
fn status(service: Service, namespace: &str, mut env_vars: Pairs) -> FunctionStatus {
    let process = env_vars.iter().position(|(name, _)| name == deploy::PROCESS).map(|index| env_vars.remove(index).1);
    FunctionStatus {
        deployment: FunctionDeployment {
            service: service.name,
            namespace: namespace.to_owned(),
            image: service.image.unwrap_or(service.task_definition),
            env_process: process,
            env_vars,
            labels: service.labels,
            annotations: service.annotations,
            ..FunctionDeployment::default()
        },
        replicas: service.desired_count,
        available_replicas: service.running_count,
        created_at_ms: service.created_at_ms,
        usage: None,
        invocation_count: None,
    }
}
