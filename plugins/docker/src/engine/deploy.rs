//! Deploying, changing and deleting functions that are groups of containers.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{ErrorKind, FunctionDeployment, FunctionStatus, Pairs, ProviderError, Result};

use super::{Container, Group};
use crate::Docker;
use crate::api::{Elements, missing_part, parse, success, text, url};
use crate::deployment::{Deployed, digest};
use crate::names::{DEPLOYMENT, MODEL, REVISION, ROLE, join, model_name, set_label, table};

/// How many replicas a function gets when it is deployed, as in OpenFaaS.
const REPLICAS_AT_FIRST: u64 = 1;

/// How much of the stream that tells of an image's fetching is read at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// A deployment that was checked, in the form of its model.
struct Plan {
    revision: String,
    labels: Pairs,
    deployed: Deployed,
}

impl Docker {
    /// Makes a function: the model, then a replica.
    pub(crate) fn create_group(&self, deployment: &FunctionDeployment) -> Result<()> {
        let (service, namespace) = (&deployment.service, &deployment.namespace);
        let name = model_name(service, namespace)?;
        let plan = self.plan(deployment)?;
        match self.group(service, namespace) {
            Ok(_) => {
                return Err(ProviderError::already_exists(format!(
                    "there is a function {service}.{namespace}; update it"
                )));
            }
            Err(error) if error.kind == ErrorKind::NotFound => self.settings.check_namespace(namespace)?,
            Err(error) => return Err(error),
        }
        let id = self.make_model(&name, &plan)?;
        // Listed again: another deployer may have been faster with replicas.
        let first = self.group(service, namespace).and_then(|group| match group.wanted() {
            0 => self.raise(&group, REPLICAS_AT_FIRST),
            _ => Ok(()),
        });
        first.or_else(|error| {
            self.remove(&Container { id, ..Container::default() })?;
            Err(missing_part(error))
        })
    }

    /// Changes a function: a new model, as many replicas of it as the old one has, and the old ones go.
    /// Cut half way, the newest model counts, and the next change ends what was begun.
    pub(crate) fn update_group(&self, deployment: &FunctionDeployment) -> Result<()> {
        let (service, namespace) = (&deployment.service, &deployment.namespace);
        let before = self.group(service, namespace)?;
        if before.model.is_none() {
            return Err(ProviderError::invalid(format!(
                "{service}.{namespace} is made of containers that somebody labelled; only a function that was deployed here is changed"
            )));
        }
        let plan = self.plan(deployment)?;
        let name = model_name(service, namespace)?;
        let is_same = before.revision() == Some(&plan.revision);
        if !is_same {
            let second = format!("{name}.{}", plan.revision);
            match self.make_model(&second, &plan) {
                // Made by an update that was cut half way.
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                outcome => drop(outcome?),
            }
        }
        let group = self.group(service, namespace)?;
        let wanted = group.wanted();
        let (new, old): (Vec<_>, Vec<_>) = group
            .replicas
            .iter()
            .cloned()
            .partition(|replica| replica.container.label(REVISION) == Some(plan.revision.as_str()));
        let renewed = Group { replicas: new, ..group.clone() };
        let missing = wanted.saturating_sub(renewed.wanted());
        if missing > 0 {
            self.raise(&renewed, missing)?;
        }
        for replica in &old {
            self.remove(&replica.container)?;
        }
        for model in &group.old_models {
            self.remove(model)?;
        }
        if let Some(model) = group.model.filter(|model| model.name != name) {
            let path = Request::post(url("containers/")).segment(&model.id);
            let request = Request { url: format!("{}/rename", path.url), ..path }.query("name", &name);
            success(request.send()?, &format!("rename container {}", model.id))?;
        }
        Ok(())
    }

    /// Deletes a function: the model first, so that nothing more is made of it.
    pub(crate) fn delete_group(&self, service: &str, namespace: &str) -> Result<()> {
        let group = self.group(service, namespace)?;
        if group.model.is_none() && !group.replicas.iter().all(|replica| replica.container.label(ROLE).is_some()) {
            return Err(ProviderError::invalid(format!(
                "{service}.{namespace} is made of containers that somebody labelled; whoever made them removes them"
            )));
        }
        for model in group.model.iter().chain(&group.old_models) {
            self.remove(model)?;
        }
        group.replicas.iter().try_for_each(|replica| self.remove(&replica.container))
    }

    /// A group as callers see it.
    pub(crate) fn group_function(&self, group: &Group) -> FunctionStatus {
        let mut deployment = group.deployed().into_deployment(&group.service, &group.namespace);
        let status = group.status();
        deployment.labels = status.labels;
        deployment.annotations = status.annotations;
        FunctionStatus {
            deployment,
            replicas: status.replicas,
            available_replicas: status.available_replicas,
            created_at_ms: group.created_at_ms(),
            usage: None,
            invocation_count: None,
        }
    }

    /// Checks what a deployer asks for.
    fn plan(&self, deployment: &FunctionDeployment) -> Result<Plan> {
        let refuse =
            |what: &str| Err(ProviderError::invalid(format!("{what} need a swarm; this provider drives one engine")));
        if !deployment.secrets.is_empty() {
            return refuse("secrets");
        }
        if !deployment.constraints.is_empty() {
            return refuse("constraints");
        }
        let deployed = Deployed::admit(deployment)?;
        let mut labels = join(&deployment.service, &deployment.namespace, &deployment.labels, &deployment.annotations)?;
        let kept = deployed.to_value().to_string();
        let revision = digest(&[
            &kept,
            &table(&labels).to_string(),
            &self.settings.template.to_string(),
            self.settings.network.as_deref().unwrap_or_default(),
            &self.settings.port.to_string(),
            self.settings.restart,
        ]);
        set_label(&mut labels, ROLE, MODEL);
        set_label(&mut labels, REVISION, &revision);
        set_label(&mut labels, DEPLOYMENT, &kept);
        Ok(Plan { revision, labels, deployed })
    }

    /// Makes a model, fetching its image if need be.
    fn make_model(&self, name: &str, plan: &Plan) -> Result<String> {
        let body = self.body(&plan.deployed, &plan.labels)?;
        match self.create(name, &body) {
            Err(error) if error.kind == ErrorKind::NotFound && self.settings.pull => {
                fetch(&plan.deployed.image)?;
                self.create(name, &body).map_err(missing_part)
            }
            outcome => outcome.map_err(missing_part),
        }
    }
}

/// Fetches an image. The status is 200 whatever happens later: errors stand in the stream.
fn fetch(image: &str) -> Result<()> {
    let what = format!("fetch image {image}");
    // Without a tag the engine would fetch all of them.
    let last = image.rsplit('/').next().unwrap_or(image);
    let reference = if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") };
    let answer = Request::post(url("images/create")).query("fromImage", &reference).send()?;
    let mut answer = success(answer, &what).map_err(missing_part)?;
    let mut lines = Elements::default();
    while let Some(piece) = answer.read(PIECE_BYTES)? {
        lines.feed(&piece, &mut |line| {
            let line = parse(line, &what)?;
            match text(&line, "/error") {
                "" => Ok(()),
                error => Err(ProviderError::invalid(format!("{what}: {error}"))),
            }
        })?;
    }
    Ok(())
}
