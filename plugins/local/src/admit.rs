//! What of a deployment is accepted. The operator's declaration is the bound: nobody runs commands
//! of their own through the API, and a wish that cannot be kept is refused instead of ignored.

use wicketgate_sdk::processes::Command;
use wicketgate_sdk::{FunctionDeployment, ProviderError, Result, processes};

use crate::function::{self, Deployed};
use crate::limits;

/// The longest deployment as it is kept, in bytes: the host's bound of one value of the state.
const KEPT_MAX_BYTES: usize = 64 << 10;

/// What is kept of a deployment, or why it is refused.
pub(crate) fn admit(deployment: FunctionDeployment, created_at_ms: u64) -> Result<Deployed> {
    let FunctionDeployment {
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
        // What is set aside for an instance is a hint to a scheduler, and here is none.
        requests: _,
        read_only_root_filesystem,
        extra: _,
    } = deployment;
    let refuse = |reason: String| Err(ProviderError::invalid(format!("function {service}.{namespace}: {reason}")));
    let group = function::group_name(&service, &namespace);
    if !function::is_name(&service) || !function::is_name(&group) {
        return refuse(
            "name and namespace have together at most 252 letters, digits, '-', '_' or '.', and no dot at an end"
                .to_owned(),
        );
    }
    let commands = processes::commands();
    let Some(command) = commands.iter().find(|command| command.name == image) else {
        let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
        let names = names.join(", ");
        return refuse(format!("image {image:?} is no command that the operator declared; there are: {names}"));
    };
    if let Some(process) = env_process.filter(|process| !process.trim().is_empty())
        && !is_declared(command, &process)
    {
        let declared = command.argv.join(" ");
        return refuse(format!("envProcess {process:?} is not what {image} runs; leave it out or write {declared:?}"));
    }
    if let Some((name, _)) = env_vars.iter().find(|(name, _)| !command.allowed_env.contains(name)) {
        let allowed = match command.allowed_env.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        return refuse(format!("variable {name} is not allowed for {image}; allowed are: {allowed}"));
    }
    if let Some((name, _)) = env_vars.iter().find(|(_, value)| value.contains('\0')) {
        return refuse(format!("variable {name} has a zero byte"));
    }
    if let Some(secret) = secrets.first() {
        return refuse(format!("secret {secret:?}: processes of this machine get no secrets; leave it out"));
    }
    if let Some(constraint) = constraints.first() {
        return refuse(format!("constraint {constraint:?}: there is only this machine; leave it out"));
    }
    let limits = limits::texts(limits);
    if let Err(reason) = limits::within(&limits, &command.limits) {
        return refuse(reason);
    }
    if read_only_root_filesystem {
        return refuse("processes of this machine share its file system; leave readOnlyRootFilesystem out".to_owned());
    }
    let deployed = Deployed { command: image, env: env_vars, labels, annotations, limits, created_at_ms };
    let length = serde_json::to_vec(&deployed).map_or(usize::MAX, |bytes| bytes.len());
    if length > KEPT_MAX_BYTES {
        return refuse(format!(
            "labels, annotations and variables have {length} bytes, at most {KEPT_MAX_BYTES} are kept"
        ));
    }
    Ok(deployed)
}

/// Whether `envProcess` says no more than the declaration does.
fn is_declared(command: &Command, process: &str) -> bool {
    process.split_whitespace().eq(command.argv.iter().flat_map(|word| word.split_whitespace()))
}
