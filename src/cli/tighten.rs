//! `wicketgate provider tighten`: what a plugin declares, wants, may and does, and the smallest rules for that.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use super::Source;
use super::accept::{AcceptError, find};
use crate::config::places;
use crate::name::ProviderName;
use crate::plugin::inspect::Inspection;
use crate::provider::ProviderConfig;
use crate::trust::used::{self, Shapes, merge};

/// Prints the four columns of a provider and the rules that its recorded use needs.
///
/// # Errors
/// See [`AcceptError`].
pub(super) fn run(
    config: Option<&Path>,
    name: &ProviderName,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
) -> Result<(), AcceptError> {
    let config = Source::choose(config, &environment).read()?;
    let provider = find(&config, name)?;
    let here = std::env::current_dir().unwrap_or_else(|_gone| "/".into());
    let state = config
        .state_directory
        .clone()
        .unwrap_or_else(|| places::state_directory(&environment, places::is_writable, &here));
    let path = used::file(&state.join(used::DIRECTORY), name);
    let shapes = used::read(&path).map_err(|source| AcceptError::Use { path, source })?;
    let (inspection, _bytes) = Inspection::of(&provider.component, provider.limits.component_bytes)
        .map_err(|source| AcceptError::Component { component: provider.component.to_string(), source })?;
    out.write_all(page(provider, &inspection, &shapes).as_bytes())?;
    Ok(())
}

fn page(provider: &ProviderConfig, inspection: &Inspection, shapes: &Shapes) -> String {
    let mut page = format!("provider {}: {}\n", provider.name, provider.component);
    let sends = inspection.imports.iter().any(|import| import.name.starts_with("wasi:http/outgoing-handler"));
    let detected = if sends { "it sends HTTP requests" } else { "it sends no requests" };
    let empty = std::collections::BTreeMap::new();
    let declared = inspection.manifest.as_ref().map_or(&empty, |manifest| &manifest.grants);
    let names: BTreeSet<&String> = declared.keys().chain(provider.grants.keys()).chain(shapes.keys()).collect();
    for grant in &names {
        let rules = provider.grants.get(*grant).map(|grant| grant.rules.as_slice());
        let uses = shapes.get(*grant).map(merge).unwrap_or_default();
        let _ = writeln!(page, "\ngrant {grant}");
        let purpose: Option<String> =
            declared.get(*grant).map(|text| text.chars().filter(|c| !c.is_control()).take(200).collect());
        let _ = writeln!(page, "  declared  {}", purpose.as_deref().unwrap_or("the plugin does not ask for it"));
        let _ = writeln!(page, "  detected  {detected}");
        match rules {
            Some(rules) => rows(&mut page, "granted", rules.iter().map(ToString::to_string)),
            None => rows(&mut page, "granted", std::iter::empty()),
        }
        rows(&mut page, "used", uses.iter().cloned());
    }
    for (grant, uses) in shapes.iter().filter(|(grant, _)| provider.grants.contains_key(*grant)) {
        let (plain, conditional): (Vec<String>, Vec<String>) =
            merge(uses).into_iter().partition(|rule| rule.parse::<crate::host::grant::Rule>().is_ok());
        let _ = writeln!(page, "\n# The smallest rules for what was used so far; without `profile`.");
        let _ = writeln!(page, "[provider.{}.grant.{grant}]\nallow = [", provider.name);
        for rule in plain {
            let _ = writeln!(page, "  {},", toml::Value::String(rule));
        }
        for rule in conditional {
            let _ = writeln!(page, "  # and, as it stands now: {rule}");
        }
        let _ = writeln!(page, "]");
    }
    if shapes.is_empty() {
        let _ = writeln!(page, "\nnothing was recorded yet: it is while the gateway runs and the plugin is asked");
    }
    page
}

fn rows(page: &mut String, title: &str, rows: impl Iterator<Item = String>) {
    let mut title = title;
    let mut is_empty = true;
    for row in rows {
        let _ = writeln!(page, "  {title:<9} {row}");
        (title, is_empty) = ("", false);
    }
    if is_empty {
        let _ = writeln!(page, "  {title:<9} nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_printed_are_a_configuration() {
        let text = "[provider.edge]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"dev\"]\n\
                    [provider.edge.grant.provider]\nconnect = \"http://127.0.0.1:1\"\nprofile = \"faas-provider\"\n";
        let config = crate::config::Config::from_toml(text, "test", Path::new("/"), &["faas-provider"]).unwrap();
        let provider = config.providers.first().unwrap();
        let (inspection, _) = Inspection::of(&provider.component, 64 << 20).unwrap();
        let shapes: Shapes = [(
            "provider".to_owned(),
            ["GET /system/function/*?namespace={namespace}", "GET /system/info"].map(str::to_owned).into(),
        )]
        .into();
        let page = page(provider, &inspection, &shapes);
        let (_, printed) = page.split_once("`profile`.\n").unwrap();
        let tightened = text.replace(
            "[provider.edge.grant.provider]\nconnect = \"http://127.0.0.1:1\"\nprofile = \"faas-provider\"\n",
            &printed.replacen('\n', "\nconnect = \"http://127.0.0.1:1\"\n", 1),
        );
        let config = crate::config::Config::from_toml(&tightened, "test", Path::new("/"), &["faas-provider"]).unwrap();
        let grant = config.providers.first().unwrap().grants.get("provider").unwrap();
        assert_eq!(grant.rules.len(), 2, "{page}");
        for column in
            ["declared  ", "detected  it sends HTTP requests", "granted   GET /healthz", "used      GET /system"]
        {
            assert!(page.contains(column), "{column:?} is not in\n{page}");
        }
    }
}
