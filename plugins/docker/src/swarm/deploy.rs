//! Making, changing and deleting services.

use serde_json::{Value, json};
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{FunctionDeployment, ProviderError, Result};

use super::secrets;
use crate::Docker;
use crate::api::{missing_part, success, taken, url};
use crate::deployment::{Deployed, list, put};
use crate::names::{self, check_swarm_name, join, set_label, swarm_name, table};
use crate::settings::Addresses;

/// How many replicas a function gets when it is deployed, as in OpenFaaS. Whatever label says
/// otherwise is read by the gateway.
const REPLICAS_AT_FIRST: u64 = 1;

impl Docker {
    /// Makes a service.
    pub(crate) fn create_service(&self, deployment: &FunctionDeployment) -> Result<()> {
        let (service, namespace) = (deployment.service.as_str(), deployment.namespace.as_str());
        self.settings.check_namespace(namespace)?;
        let name = swarm_name(service, namespace, &self.settings);
        check_swarm_name(&name)?;
        let mut spec = self.settings.template.clone();
        self.write(deployment, &mut spec)?;
        put(&mut spec, &["Name"], json!(name));
        put(&mut spec, &["Mode"], json!({ "Replicated": { "Replicas": REPLICAS_AT_FIRST } }));
        if let Some(network) = &self.settings.network {
            let networks = list(&self.settings.template, "/TaskTemplate/Networks", vec![json!({ "Target": network })]);
            put(&mut spec, &["TaskTemplate", "Networks"], networks);
        }
        let published =
            |mode: &str| json!({ "Protocol": "tcp", "TargetPort": self.settings.port, "PublishMode": mode });
        let port = match self.settings.addresses {
            Addresses::HostPort => Some(published("host")),
            Addresses::Ingress => Some(published("ingress")),
            Addresses::Dns | Addresses::Network => None,
        };
        if let Some(port) = port {
            put(
                &mut spec,
                &["EndpointSpec", "Ports"],
                list(&self.settings.template, "/EndpointSpec/Ports", vec![port]),
            );
        }
        let answer = Request::post(url("services/create")).json(&spec)?.send()?;
        // A 404 here means the network or a secret.
        success(answer, &format!("deploy service {name}")).map_err(|error| missing_part(taken(error)))?;
        Ok(())
    }

    /// Changes a service: what a deployment says is replaced, everything else of the raw spec stays,
    /// the number of replicas with it.
    pub(crate) fn update_service(&self, deployment: &FunctionDeployment) -> Result<()> {
        self.edit(&deployment.service, &deployment.namespace, &mut |found| {
            self.write(deployment, &mut found.spec)?;
            Ok(true)
        })?;
        Ok(())
    }

    /// Deletes a service.
    pub(crate) fn delete_service(&self, service: &str, namespace: &str) -> Result<()> {
        let found = self.service(service, namespace)?;
        let answer = Request::delete(url("services/")).segment(&found.id).send()?;
        success(answer, &format!("delete service {service}.{namespace}"))?;
        Ok(())
    }

    /// Writes what a deployment says into a spec.
    fn write(&self, deployment: &FunctionDeployment, spec: &mut Value) -> Result<()> {
        let template = &self.settings.template;
        let deployed = Deployed::admit(deployment)?;
        deployed.write_service(spec, template)?;
        let labels = join(&deployment.service, &deployment.namespace, &deployment.labels, &deployment.annotations)?;
        // On the tasks too, so that their events and logs say whose they are.
        for (at, pointer) in [
            (&["Labels"][..], "/Labels"),
            (&["TaskTemplate", "ContainerSpec", "Labels"][..], "/TaskTemplate/ContainerSpec/Labels"),
        ] {
            let mut all = names::labels(template, pointer);
            // Docker's own labels, a stack's for one, stay whatever is deployed.
            let present = names::labels(spec, pointer);
            for (key, value) in present.iter().filter(|(key, _)| key.starts_with("com.docker.")).chain(&labels) {
                set_label(&mut all, key, value);
            }
            put(spec, at, table(&all));
        }
        let constraints = deployment.constraints.iter().map(|text| Value::from(text.as_str())).collect();
        let constraints = list(template, "/TaskTemplate/Placement/Constraints", constraints);
        put(spec, &["TaskTemplate", "Placement", "Constraints"], constraints);
        let references = self.secret_references(&deployment.secrets, &deployment.namespace)?;
        let secrets = list(template, "/TaskTemplate/ContainerSpec/Secrets", references);
        put(spec, &["TaskTemplate", "ContainerSpec", "Secrets"], secrets);
        Ok(())
    }

    /// References to secrets by their names: the API wants their ids.
    fn secret_references(&self, names: &[String], namespace: &str) -> Result<Vec<Value>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.secrets_of(namespace)?;
        let reference = |name: &String| {
            let secret = known.iter().find(|secret| &secret.short == name).ok_or_else(|| {
                ProviderError::invalid(format!("there is no secret {name:?} in {namespace}; make it first"))
            })?;
            Ok(json!({
                "SecretID": secret.id,
                "SecretName": secret.name,
                "File": { "Name": format!("{}/{name}", secrets::FOLDER), "UID": "0", "GID": "0", "Mode": 0o444 },
            }))
        };
        names.iter().map(reference).collect()
    }
}
