//! `functions`: `/system/functions` and `/system/function/{name}`.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    About as _, ErrorKind, FunctionDeployment, FunctionPage, FunctionStatus, Functions, ProviderError, Result,
};

use crate::{ANSWER_BYTES, FaasProvider, create, page, url, wire};

/// One function as the provider holds it.
pub(crate) fn fetch(service: &str, namespace: &str, usage: bool) -> Result<wire::Status> {
    let answer = Request::get(url("system/function/"))
        .segment(service)
        .query("namespace", namespace)
        .query("usage", if usage { "1" } else { "false" })
        .send()?;
    let is_400 = answer.status() == 400;
    match answer.success(&format!("function {service}.{namespace}")) {
        // Names were checked before they came here, so what remains is a namespace that the provider does not
        // serve: faasd and faas-netes call that a bad request.
        Err(error) if is_400 => Err(ProviderError { kind: ErrorKind::NotFound, ..error }),
        answer => {
            let status: wire::Status = answer?.json(ANSWER_BYTES)?;
            // Any other field may be absent; without this one it is no function's status.
            if status.name.is_empty() {
                return Err(ProviderError::internal(format!("function {service}.{namespace}: the answer has no name")));
            }
            Ok(status)
        }
    }
}

/// faasd leaves the available instances out of its *list*, and only there: what runs would look as if it did not.
/// An absent number is also how a 0 is written, so the provider is asked what it is, once, where no function has any.
fn complete(mut functions: Vec<wire::Status>) -> Result<Vec<wire::Status>> {
    let any_wanted = functions.iter().any(wire::Status::is_wanted);
    if !any_wanted || functions.iter().any(wire::Status::is_available) {
        return Ok(functions);
    }
    if FaasProvider.describe()?.orchestration == "containerd" {
        functions.iter_mut().for_each(wire::Status::assume_available);
    }
    Ok(functions)
}

impl Functions for FaasProvider {
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        let all: Option<Vec<wire::Status>> = Request::get(url("system/functions"))
            .query("namespace", namespace)
            .send()?
            .success(&format!("functions of {namespace}"))?
            .json(ANSWER_BYTES)?;
        let (part, next) = page::cut(complete(all.unwrap_or_default())?, |status| &status.name, cursor, limit);
        let functions = part.into_iter().map(|status| status.into_function_status(namespace)).collect();
        Ok(FunctionPage { functions, next })
    }

    fn get_function(&self, service: &str, namespace: &str, usage: bool) -> Result<FunctionStatus> {
        Ok(fetch(service, namespace, usage)?.into_function_status(namespace))
    }

    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let what = format!("deploy function {}.{}", deployment.service, deployment.namespace);
        let request = Request::post(url("system/functions")).query("namespace", &deployment.namespace);
        create(request.json(&wire::Deployment::from(deployment))?, &what)
    }

    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        let what = format!("update function {}.{}", deployment.service, deployment.namespace);
        let request = Request::put(url("system/functions")).query("namespace", &deployment.namespace);
        request.json(&wire::Deployment::from(deployment))?.send()?.success(&what)?;
        Ok(())
    }

    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        Request::delete(url("system/functions"))
            .query("namespace", namespace)
            .json(&wire::DeleteRequest { function_name: service, namespace })?
            .send()?
            .success(&format!("delete function {service}.{namespace}"))?;
        Ok(())
    }
}
