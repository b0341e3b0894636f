//! `functions`: what is deployed, and what the operator declared as deployed.

use wicketgate_sdk::processes::{self, GroupStatus, ReplicaCount};
use wicketgate_sdk::state::{self, Expectation, StateError};
use wicketgate_sdk::{
    ErrorKind, FunctionDeployment, FunctionPage, FunctionStatus, Functions, ProviderError, Result, clock,
};

use crate::admit::admit;
use crate::function::{self, Function, deployment, no_function};
use crate::{Local, absent_is_fine, available, group, limits};

/// How many processes a function gets when it is deployed, as in OpenFaaS. Whatever label says
/// otherwise is read by the gateway.
const REPLICAS_AT_FIRST: ReplicaCount = ReplicaCount::Exactly(1);

impl Functions for Local {
    /// The cursor is the last name of a page, so that pages stay in step when functions come and go.
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        self.check_namespace(namespace)?;
        let mut functions = self.functions(&[namespace])?;
        functions.sort_unstable_by(|a, b| a.service.cmp(&b.service));
        functions.retain(|function| cursor.is_none_or(|cursor| function.service.as_str() > cursor));
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let more = functions.len() > limit;
        functions.truncate(limit);
        let next = functions.last().filter(|_| more).map(|function| function.service.clone());
        let statuses = functions.into_iter().map(|f| Ok(status(&f, group(&f.group)?.as_ref())));
        Ok(FunctionPage { functions: statuses.collect::<Result<_>>()?, next })
    }

    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        let function = self.function(service, namespace)?;
        Ok(status(&function, group(&function.group)?.as_ref()))
    }

    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        self.check_namespace(&deployment.namespace)?;
        let (service, namespace) = (deployment.service.clone(), deployment.namespace.clone());
        let group = function::group_name(&service, &namespace);
        let deployed = admit(deployment, clock::now_ms())?;
        if self.declared_function(&service, &namespace).is_some() {
            return Err(ProviderError::already_exists(the_operators(&service)));
        }
        // First what shall be, then the processes: cut in between, a function without processes is
        // left, which the next request starts.
        let key = function::key(&group);
        let version = state::put_json(&key, &deployed, Expectation::Absent).map_err(|error| {
            if error.kind == ErrorKind::Conflict {
                return ProviderError::already_exists(format!("there is a function {group}; update it"));
            }
            error
        })?;
        let function = self.function(&service, &namespace)?;
        if let Err(refused) = self.apply(&function, REPLICAS_AT_FIRST) {
            state::delete(&key, Expectation::Version(version)).or_else(changed_is_fine)?;
            return Err(refused);
        }
        Ok(())
    }

    fn update_function(&self, update: FunctionDeployment) -> Result<()> {
        self.check_namespace(&update.namespace)?;
        let (service, namespace) = (update.service.clone(), update.namespace.clone());
        let name = function::group_name(&service, &namespace);
        let Some((before, version)) = deployment(&name)? else {
            return Err(match self.declared_function(&service, &namespace) {
                Some(_) => ProviderError::invalid(the_operators(&service)),
                None => no_function(&service, &namespace),
            });
        };
        let deployed = admit(update, before.created_at_ms)?;
        state::put_json(&function::key(&name), &deployed, Expectation::Version(version))?;
        let function = self.function(&service, &namespace)?;
        // Even without processes: whoever watches learns of new labels through the group. The count is left to
        // the host, which may be asked for more replicas at the same time.
        self.apply(&function, ReplicaCount::AtLeast(0)).map(drop)
    }

    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        self.check_namespace(namespace)?;
        let name = function::group_name(service, namespace);
        if deployment(&name)?.is_none() {
            return Err(match self.declared_function(service, namespace) {
                Some(_) => ProviderError::invalid(the_operators(service)),
                None => no_function(service, namespace),
            });
        }
        state::delete(&function::key(&name), Expectation::Anything)?;
        processes::remove(&name).or_else(absent_is_fine)
    }
}

fn the_operators(service: &str) -> String {
    format!(
        "{service} is a command that the operator declared as deployed; change it in the configuration \
         (deployed = false makes it a command only), or deploy a function of another name with image {service:?}"
    )
}

fn changed_is_fine(error: StateError) -> Result<()> {
    if matches!(error, StateError::Conflict) { Ok(()) } else { Err(error.into()) }
}

/// A function as the faas-provider API shows it. The image is the command's name, since that is
/// what a deployment gives.
fn status(function: &Function, group: Option<&GroupStatus>) -> FunctionStatus {
    let spec = function.spec();
    FunctionStatus {
        deployment: FunctionDeployment {
            service: function.service.clone(),
            namespace: function.namespace.clone(),
            image: spec.command,
            env_process: function.command.as_ref().map(|command| command.argv.join(" ")),
            env_vars: spec.env,
            limits: function.deployed.as_ref().and_then(|deployed| limits::resources(&deployed.limits)),
            labels: function.labels.clone(),
            annotations: function.annotations(),
            ..FunctionDeployment::default()
        },
        replicas: group.map_or(0, |group| group.count.into()),
        available_replicas: available(group),
        created_at_ms: function.deployed.as_ref().map(|deployed| deployed.created_at_ms),
        usage: None,
        invocation_count: None,
    }
}
