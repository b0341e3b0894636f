//! Deploying, changing and deleting functions that are groups of containers.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{ErrorKind, FunctionDeployment, FunctionStatus, Pairs, ProviderError, Result, clock};

use super::{Container, Group, Phase, Replica};
use crate::api::{Elements, missing_part, parse, success, text, url};
use crate::deployment::{Deployed, digest};
use crate::names::{DEPLOYMENT, MODEL, REVISION, ROLE, join, model_name, set_label, table};
use crate::{Docker, ENDPOINT_TTL_MS};

/// How many replicas a function gets when it is deployed, as in OpenFaaS.
const REPLICAS_AT_FIRST: u64 = 1;

/// How much of the stream that tells of an image's fetching is read at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// How long a replica may still be called after it is no endpoint any more: an endpoint's time, and a moment.
const CALLED_LONGEST: Duration = Duration::from_millis(ENDPOINT_TTL_MS as u64 + 250);

/// The pauses between two looks at the new replicas: the first, and the longest.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LONGEST: Duration = Duration::from_secs(2);

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

    /// Changes a function: a new model and as many replicas of it as the old one has; once those run, the new
    /// model takes the old one's place, and the old replicas are stopped after nobody calls them any more. New
    /// ones that do not come up are removed again, and nothing has changed.
    ///
    /// Cut half way, the old replicas serve as long as they run; the next change ends what was begun.
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
        let wanted = before.wanted();
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
        let (renewed, old) = group.split(&plan.revision);
        let missing = wanted.saturating_sub(renewed.wanted());
        if missing > 0 {
            self.raise(&renewed, missing)?;
        }
        if !is_same && wanted > 0 {
            self.wait_for(&plan.revision, wanted, &group)?;
        }
        for model in &group.old_models {
            self.remove(model)?;
        }
        if let Some(model) = group.model.filter(|model| model.name != name) {
            let path = Request::post(url("containers/")).segment(&model.id);
            let request = Request { url: format!("{}/rename", path.url), ..path }.query("name", &name);
            success(request.send()?, &format!("rename container {}", model.id))?;
        }
        if old.iter().any(|replica| replica.phase == Phase::Running) {
            clock::wait(CALLED_LONGEST);
        }
        self.retire(&old)
    }

    /// Waits until so many replicas of a revision run. When their time is over they are removed, with their model.
    fn wait_for(&self, revision: &str, wanted: u64, before: &Group) -> Result<()> {
        let until = clock::monotonic() + Duration::from_secs(self.settings.update_seconds);
        let mut pause = LOOK_FIRST;
        loop {
            let group = self.group(&before.service, &before.namespace)?;
            let (new, _) = group.split(revision);
            let has_settled = |replica: &&Replica| {
                // A process that fails at once has run for less; a health check says more than time does.
                let status = replica.container.status.as_str();
                replica.phase == Phase::Running
                    && (!status.contains("Less than a second") || status.contains("(healthy)"))
            };
            if u64::try_from(new.replicas.iter().filter(has_settled).count()).is_ok_and(|count| count >= wanted) {
                return Ok(());
            }
            if clock::monotonic() >= until {
                new.replicas.iter().try_for_each(|replica| self.remove(&replica.container))?;
                new.model.iter().try_for_each(|model| self.remove(model))?;
                return Err(ProviderError::new(
                    ErrorKind::Timeout,
                    format!(
                        "the new replicas of {}.{} did not run and become healthy within {} s (update-seconds); the old ones serve on",
                        before.service, before.namespace, self.settings.update_seconds
                    ),
                ));
            }
            clock::wait(pause);
            pause = (pause * 2).min(LOOK_LONGEST);
        }
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
