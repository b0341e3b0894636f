//! The job that a deployment becomes: the operator's template with the deployment's wishes in it.

use serde_json::{Map, Value, json};
use wicketgate_sdk::{FunctionDeployment, ProviderError, Result};

use crate::settings::Settings;
use crate::{ANNOTATION, LABEL, Nomad};

impl Nomad {
    /// Fills in the template: `{name}`, `{namespace}` and `{image}` in any of its texts, the job's
    /// names and `Meta`, and of the group's first task the variables and the memory.
    pub(crate) fn filled(&self, wanted: &FunctionDeployment) -> Result<Value> {
        let Settings { label, template, .. } = &self.settings;
        let group = self.group(&wanted.service);
        let mut job = template.clone().ok_or_else(|| {
            ProviderError::unsupported("nothing can be deployed without config.template, the job of a function")
        })?;
        check(wanted)?;
        fill(&mut job, wanted);
        let id = self.job_id(&wanted.service);
        let fields = as_object(&mut job, "config.template")?;
        fields.insert("ID".to_owned(), json!(id));
        fields.insert("Name".to_owned(), json!(id));
        fields.insert("Namespace".to_owned(), json!(wanted.namespace));
        fields.entry("Type").or_insert_with(|| json!("service"));
        let meta = as_object(fields.entry("Meta").or_insert_with(|| json!({})), "config.template.Meta")?;
        for (key, value) in &wanted.labels {
            meta.insert(key.clone(), json!(value));
        }
        for (key, value) in &wanted.annotations {
            meta.insert(format!("{ANNOTATION}{key}"), json!(value));
        }
        let mark = if label.is_empty() { LABEL } else { label };
        meta.insert(mark.to_owned(), json!(wanted.service));
        let groups = fields.get_mut("TaskGroups").and_then(Value::as_array_mut).into_iter().flatten();
        let found = groups.into_iter().find(|one| one.get("Name").and_then(Value::as_str) == Some(&group));
        let task = found.and_then(|group| group.get_mut("Tasks")?.as_array_mut()?.first_mut()).ok_or_else(|| {
            ProviderError::invalid(format!(
                "config.template has no TaskGroups with the Name {group:?} and one of Tasks"
            ))
        })?;
        let task = as_object(task, "config.template.TaskGroups.Tasks")?;
        let env = as_object(task.entry("Env").or_insert_with(|| json!({})), "config.template.TaskGroups.Tasks.Env")?;
        for (key, value) in &wanted.env_vars {
            env.insert(key.clone(), json!(value));
        }
        if let Some(process) = &wanted.env_process {
            env.insert("fprocess".to_owned(), json!(process));
        }
        if let Some(memory) = wanted.limits.as_ref().and_then(|limits| limits.memory.as_deref()) {
            let megabytes = megabytes(memory)
                .ok_or_else(|| ProviderError::invalid(format!("{memory:?} is no memory; write e.g. \"128Mi\"")))?;
            let resources = task.entry("Resources").or_insert_with(|| json!({}));
            as_object(resources, "config.template.TaskGroups.Tasks.Resources")?
                .insert("MemoryMB".to_owned(), json!(megabytes));
        }
        Ok(job)
    }
}

/// Refuses what this plugin puts nowhere in a job. To leave it out without a word would run another function
/// than the one that was asked for.
fn check(wanted: &FunctionDeployment) -> Result<()> {
    let limits = wanted.limits.as_ref();
    let asked = [
        ("secrets", !wanted.secrets.is_empty()),
        ("constraints", !wanted.constraints.is_empty()),
        ("readOnlyRootFilesystem", wanted.read_only_root_filesystem),
        ("requests", wanted.requests.is_some()),
        // Nomad counts MHz, or whole cores that nobody else gets.
        ("limits.cpu", limits.is_some_and(|limits| limits.cpu.is_some())),
        ("a limit other than memory and cpu", limits.is_some_and(|limits| !limits.extra.is_empty())),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        Some((what, _)) => Err(ProviderError::invalid(format!(
            "function {}: {what} cannot be put into a job of Nomad; leave it out, or say it in config.template",
            wanted.service
        ))),
        None => Ok(()),
    }
}

fn as_object<'a>(value: &'a mut Value, what: &str) -> Result<&'a mut Map<String, Value>> {
    value.as_object_mut().ok_or_else(|| ProviderError::invalid(format!("{what} is no table")))
}

fn fill(value: &mut Value, wanted: &FunctionDeployment) {
    match value {
        Value::String(text) if text.contains('{') => *text = filled(text, wanted),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, wanted)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, wanted)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a deployment says stays as it is, braces and all.
fn filled(text: &str, wanted: &FunctionDeployment) -> String {
    let places = [("{name}", &wanted.service), ("{namespace}", &wanted.namespace), ("{image}", &wanted.image)];
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, place, value)) =
        places.iter().filter_map(|(place, value)| Some((rest.find(place)?, *place, *value))).min()
    {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(value);
        rest = after.strip_prefix(place).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A quantity of memory in Nomad's unit, which is 2^20 bytes; rounded up.
fn megabytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "Ki" => 1 << 10,
        "M" | "m" => 1_000_000,
        "Mi" => 1 << 20,
        "G" | "g" => 1_000_000_000,
        "Gi" => 1 << 30,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()?.checked_mul(factor)?.div_ceil(1 << 20).max(1))
}
