//! What was deployed, in the forms that the two APIs want it.

use serde_json::{Map, Value, json};
use wicketgate_sdk::{FunctionDeployment, FunctionResources, Pairs, ProviderError, Result};

use crate::api::{items, number, text};

/// The variable that OpenFaaS's watchdog reads its command from.
const PROCESS: &str = "fprocess";

/// The scratch space of a function whose root file system is read-only.
const SCRATCH: &str = "/tmp";

/// The longest variable, in bytes.
const VARIABLE_BYTES: usize = 128 << 10;

/// A deployment without what labels hold, as it is kept in a label of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deployed {
    pub(crate) image: String,
    pub(crate) process: Option<String>,
    pub(crate) env: Pairs,
    pub(crate) limits: Option<Amounts>,
    pub(crate) requests: Option<Amounts>,
    pub(crate) read_only: bool,
}

/// Resources as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) memory: Option<String>,
    pub(crate) cpu: Option<String>,
}

impl Deployed {
    /// Checks what a deployer asks for.
    pub(crate) fn admit(deployment: &FunctionDeployment) -> Result<Self> {
        if deployment.image.trim().is_empty() {
            return Err(ProviderError::invalid(
                "image is empty; write the image's reference, e.g. \"ghcr.io/openfaas/figlet:latest\"",
            ));
        }
        for (key, value) in &deployment.env_vars {
            let fits = !key.is_empty() && !key.contains(['=', '\0']) && !value.contains('\0');
            if !fits || key.len() + value.len() > VARIABLE_BYTES {
                return Err(ProviderError::invalid(format!("{key:?} cannot be a variable")));
            }
        }
        let deployed = Self {
            image: deployment.image.trim().to_owned(),
            process: deployment.env_process.clone().filter(|text| !text.is_empty()),
            env: deployment.env_vars.clone(),
            limits: amounts(deployment.limits.as_ref())?,
            requests: amounts(deployment.requests.as_ref())?,
            read_only: deployment.read_only_root_filesystem,
        };
        Ok(deployed)
    }

    /// What is kept in a label.
    pub(crate) fn to_value(&self) -> Value {
        let amounts = |amounts: &Option<Amounts>| {
            amounts.as_ref().map(|amounts| json!({ "memory": amounts.memory, "cpu": amounts.cpu }))
        };
        json!({
            "image": self.image,
            "process": self.process,
            "env": self.variables_only(),
            "limits": amounts(&self.limits),
            "requests": amounts(&self.requests),
            "read-only": self.read_only,
        })
    }

    /// The reverse of [`to_value`](Self::to_value). What is missing is empty.
    pub(crate) fn from_value(value: &Value) -> Self {
        let given = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let amounts = |kind: &str| {
            let (memory, cpu) = (given(&format!("/{kind}/memory")), given(&format!("/{kind}/cpu")));
            if memory.is_none() && cpu.is_none() { None } else { Some(Amounts { memory, cpu }) }
        };
        let mut deployed = Self {
            image: text(value, "/image").to_owned(),
            limits: amounts("limits"),
            requests: amounts("requests"),
            read_only: value.get("read-only") == Some(&Value::Bool(true)),
            ..Self::default()
        };
        for variable in items(value, "/env") {
            let (key, value) = variable.as_str().and_then(|text| text.split_once('=')).unwrap_or_default();
            deployed.env.push((key.to_owned(), value.to_owned()));
        }
        deployed.process = given("/process");
        deployed
    }

    fn variables_only(&self) -> Vec<Value> {
        let mut variables = Vec::with_capacity(self.env.len() + 1);
        variables.extend(self.env.iter().map(|(key, value)| Value::from(format!("{key}={value}"))));
        variables
    }

    /// The variables as the APIs want them.
    fn variables(&self) -> Vec<Value> {
        let mut variables = self.variables_only();
        if let Some(process) = &self.process {
            variables.insert(0, Value::from(format!("{PROCESS}={process}")));
        }
        variables
    }

    /// The reverse of [`variables`](Self::variables).
    pub(crate) fn set_variables(&mut self, variables: &[String]) {
        for variable in variables {
            let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
            if key == PROCESS {
                self.process = Some(value.to_owned());
            } else {
                self.env.push((key.to_owned(), value.to_owned()));
            }
        }
    }

    /// A deployment as callers see it, without labels.
    pub(crate) fn into_deployment(self, service: &str, namespace: &str) -> FunctionDeployment {
        FunctionDeployment {
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            image: self.image,
            env_process: self.process,
            env_vars: self.env,
            limits: self.limits.map(resources),
            requests: self.requests.map(resources),
            read_only_root_filesystem: self.read_only,
            ..FunctionDeployment::default()
        }
    }

    /// Writes this into the body of `POST /services/create`. Lists begin with the template's.
    pub(crate) fn write_service(&self, spec: &mut Value, template: &Value) -> Result<()> {
        let container = ["TaskTemplate", "ContainerSpec"];
        put(spec, &[&container[..], &["Image"]].concat(), json!(self.image));
        put(spec, &[&container[..], &["ReadOnly"]].concat(), json!(self.read_only));
        let env = list(template, "/TaskTemplate/ContainerSpec/Env", self.variables());
        put(spec, &[&container[..], &["Env"]].concat(), env);
        // Mounts are the operator's: what is there stays, and only scratch space is added.
        let mut mounts = items(spec, "/TaskTemplate/ContainerSpec/Mounts").to_vec();
        if self.read_only && mounts.iter().all(|mount| text(mount, "/Target") != SCRATCH) {
            mounts.push(json!({ "Type": "tmpfs", "Target": SCRATCH }));
            put(spec, &[&container[..], &["Mounts"]].concat(), Value::Array(mounts));
        }
        for (key, amounts) in [("Limits", &self.limits), ("Reservations", &self.requests)] {
            let (memory, cpu) = numbers(amounts.as_ref())?;
            for (field, asked) in [("MemoryBytes", memory), ("NanoCPUs", cpu)] {
                let own = number(template, &format!("/TaskTemplate/Resources/{key}/{field}"));
                put(spec, &["TaskTemplate", "Resources", key, field], Value::from(asked.unwrap_or(own)));
            }
        }
        Ok(())
    }

    /// Writes this into the body of `POST /containers/create`.
    pub(crate) fn write_container(&self, body: &mut Value, template: &Value) -> Result<()> {
        put(body, &["Image"], json!(self.image));
        put(body, &["Env"], list(template, "/Env", self.variables()));
        if self.read_only {
            put(body, &["HostConfig", "ReadonlyRootfs"], json!(true));
            put(body, &["HostConfig", "Tmpfs", SCRATCH], json!(""));
        }
        let (memory, cpu) = numbers(self.limits.as_ref())?;
        let (reserved, _shares) = numbers(self.requests.as_ref())?;
        for (field, asked) in [("Memory", memory), ("NanoCpus", cpu), ("MemoryReservation", reserved)] {
            if let Some(asked) = asked {
                put(body, &["HostConfig", field], json!(asked));
            }
        }
        Ok(())
    }
}

fn resources(amounts: Amounts) -> FunctionResources {
    FunctionResources { memory: amounts.memory, cpu: amounts.cpu, extra: Pairs::new() }
}

fn amounts(resources: Option<&FunctionResources>) -> Result<Option<Amounts>> {
    let Some(resources) = resources else { return Ok(None) };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let amounts = Amounts { memory: given(&resources.memory), cpu: given(&resources.cpu) };
    numbers(Some(&amounts))?;
    Ok(Some(amounts).filter(|amounts| amounts.memory.is_some() || amounts.cpu.is_some()))
}

/// Bytes and billionths of a core.
fn numbers(amounts: Option<&Amounts>) -> Result<(Option<u64>, Option<u64>)> {
    let Some(amounts) = amounts else { return Ok((None, None)) };
    let read = |text: &Option<String>, parse: fn(&str) -> Option<u64>, example: &str| match text {
        None => Ok(None),
        Some(text) => parse(text.trim())
            .map(Some)
            .ok_or_else(|| ProviderError::invalid(format!("{text:?} is not an amount; write e.g. {example}"))),
    };
    Ok((read(&amounts.memory, bytes, "\"128Mi\"")?, read(&amounts.cpu, nanos, "\"100m\" or \"0.5\"")?))
}

/// `128Mi`, `128m` and `128M` (both as Docker reads them), `1Gi`, `1073741824`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "ki" | "kb" | "kib" => 10,
        "m" | "mi" | "mb" | "mib" => 20,
        "g" | "gi" | "gb" | "gib" => 30,
        "t" | "ti" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| (1..=1 << 50).contains(bytes))
}

/// `100m`, `2`, `0.5`, in billionths of a core.
fn nanos(text: &str) -> Option<u64> {
    let nanos = if let Some(thousandths) = text.strip_suffix('m') {
        thousandths.parse::<u64>().ok()?.checked_mul(1_000_000)?
    } else {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(format!("{fraction:0<9}").parse().ok()?)?
    };
    (1..=1_000_000_000_000).contains(&nanos).then_some(nanos)
}

/// The template's list at `pointer`, and `more` behind it.
pub(crate) fn list(template: &Value, pointer: &str, more: Vec<Value>) -> Value {
    let mut all = items(template, pointer).to_vec();
    all.extend(more);
    Value::Array(all)
}

/// Sets a member of nested objects; what is no object on the way becomes one.
pub(crate) fn put(target: &mut Value, path: &[&str], value: Value) {
    let mut place = target;
    for step in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(table) = place else { return };
        place = table.entry(*step).or_insert(Value::Null);
    }
    *place = value;
}

/// A short name of a text: FNV-1a, 64 bits. It tells deployments apart and guards nothing.
pub(crate) fn digest(texts: &[&str]) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    format!("{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_all_notations() {
        for (text, number) in [("128Mi", 128 << 20), ("64m", 64 << 20), ("1g", 1 << 30), ("4096", 4096), ("7k", 7168)] {
            assert_eq!(bytes(text), Some(number), "{text}");
        }
        for (text, number) in [("100m", 100_000_000), ("2", 2_000_000_000), ("0.25", 250_000_000)] {
            assert_eq!(nanos(text), Some(number), "{text}");
        }
        for text in ["", "m", "-1", "1.5Mi", "0", "99999999999999999999", "1Pi", "0.", "x"] {
            assert_eq!((bytes(text), nanos(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let deployed = Deployed {
            image: "x".to_owned(),
            process: Some("cat".to_owned()),
            env: vec![("A".to_owned(), "b=c".to_owned()), ("fprocess".to_owned(), "kept".to_owned())],
            limits: Some(Amounts { memory: Some("1Mi".to_owned()), cpu: None }),
            requests: None,
            read_only: true,
        };
        assert_eq!(Deployed::from_value(&deployed.to_value()), deployed);
        assert_eq!(Deployed::from_value(&Value::Null), Deployed::default());
    }

    #[test]
    fn a_member_is_set_wherever_it_lies() {
        let mut value = json!({ "a": null, "b": 1 });
        put(&mut value, &["a", "c"], json!(2));
        put(&mut value, &["b", "c"], json!(3));
        assert_eq!(value, json!({ "a": { "c": 2 }, "b": { "c": 3 } }));
        let template = json!({ "x": { "y": [1] } });
        assert_eq!(list(&template, "/x/y", vec![json!(2)]), json!([1, 2]));
        assert_eq!(list(&template, "/x/z", Vec::new()), json!([]));
    }
}
