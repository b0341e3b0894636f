//! `functions`: `/system/functions` and `/system/function/{name}`.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{FunctionDeployment, FunctionPage, FunctionStatus, Functions, Result};

use crate::{ANSWER_BYTES, FaasProvider, create, page, url, wire};

/// One function as the provider holds it.
pub(crate) fn fetch(service: &str, namespace: &str, usage: bool) -> Result<wire::Status> {
    Request::get(url("system/function/"))
        .segment(service)
        .query("namespace", namespace)
        .query("usage", if usage { "1" } else { "false" })
        .send()?
        .success(&format!("function {service}.{namespace}"))?
        .json(ANSWER_BYTES)
}

impl Functions for FaasProvider {
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        let all: Option<Vec<wire::Status>> = Request::get(url("system/functions"))
            .query("namespace", namespace)
            .send()?
            .success(&format!("functions of {namespace}"))?
            .json(ANSWER_BYTES)?;
        let (part, next) = page::cut(all.unwrap_or_default(), |status| &status.name, cursor, limit);
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
