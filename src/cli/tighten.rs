//! `wicketgate provider tighten`: what a plugin declares, wants, may and does, and the smallest rules for that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Source;
use super::accept::{AcceptError, find};
use super::provider::show;
use crate::config::rewrite::{self, Tightened};
use crate::config::{Config, places};
use crate::host::grant::Mode;
use crate::name::ProviderName;
use crate::plugin::inspect::Inspection;
use crate::plugin::{Columns, HostColumns, Reach};
use crate::provider::ProviderConfig;
use crate::trust::lock;
use crate::trust::used::{self, Shapes};

/// Prints the four columns of a provider and the rules that its recorded use needs; with `write` those are put into
/// the configuration file too.
///
/// # Errors
/// See [`AcceptError`].
pub(super) fn run(
    config: Option<&Path>,
    name: &ProviderName,
    write: bool,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
) -> Result<(), AcceptError> {
    let source = Source::choose(config, &environment);
    let config = source.read()?;
    let provider = find(&config, name)?;
    let here = std::env::current_dir().unwrap_or_else(|_gone| "/".into());
    let state = config
        .state_directory
        .clone()
        .unwrap_or_else(|| places::state_directory(&environment, places::is_writable, &here));
    let path = used::file(&state.join(used::DIRECTORY), name);
    let shapes = used::read(&path).map_err(|source| AcceptError::Use { path, source })?;
    let component = |source| AcceptError::Component { component: provider.component.to_string(), source };
    let (inspection, bytes) =
        Inspection::of(&provider.component, provider.limits.component_bytes).map_err(component)?;
    // The inspection went through all of it, so that nothing is damaged here.
    let reach = Reach::of(&bytes).unwrap_or_default();
    let columns = Columns::of(inspection.manifest.as_ref(), &reach, &provider.grants, &shapes);
    let tightened = tighten(provider, &shapes);
    let host = HostColumns::of(&reach, provider, &shapes);
    out.write_all(page(provider, &columns, &host, &tightened).as_bytes())?;
    if write && !tightened.is_empty() {
        let Source::File(path) = &source else { return Err(AcceptError::NoFile { origin: config.origin.clone() }) };
        let backup = put(&source, path, name, &tightened)?;
        writeln!(out, "\n{} has these rules now; as it was, it is {}", path.display(), backup.display())?;
        let config = path.display();
        writeln!(
            out,
            "rules that the lock does not hold wait for: wicketgate provider accept {name} --config {config}"
        )?;
    }
    Ok(())
}

/// The smallest rules of each grant that was used.
fn tighten(provider: &ProviderConfig, shapes: &Shapes) -> BTreeMap<String, Tightened> {
    let used = shapes.iter().filter_map(|(name, shapes)| Some((name, provider.grants.get(name)?, shapes)));
    used.map(|(name, grant, shapes)| (name.clone(), Tightened::of(grant, shapes))).collect()
}

/// Rewrites the file, and answers with the name of what it was.
fn put(
    source: &Source,
    path: &Path,
    name: &ProviderName,
    tightened: &BTreeMap<String, Tightened>,
) -> Result<PathBuf, AcceptError> {
    let text = rewrite::rewrite(&source.text()?, name, tightened)
        .map_err(|source| AcceptError::Rewrite { path: path.to_owned(), source })?;
    let unwritable = |source: io::Error| AcceptError::Unwritable { path: path.to_owned(), source };
    // A link goes on to lead to the file.
    let file = std::fs::canonicalize(path).map_err(unwritable)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let builtins: Vec<&str> = crate::plugin::builtin::names().collect();
    let again = Config::from_toml(&text, &path.display().to_string(), folder, &builtins)?;
    let grants = &find(&again, name)?.grants;
    let is_meant = tightened.iter().all(|(grant, tightened)| {
        grants.get(grant).is_some_and(|grant| {
            let functions = grant.functions.as_ref().map(|path| path.as_str());
            let endpoints = grant.endpoints.iter().map(ToString::to_string);
            lines(&grant.rules) == lines(&tightened.rules)
                && functions == tightened.functions.as_deref()
                && endpoints.eq(tightened.endpoints.iter().cloned())
        })
    });
    if !is_meant {
        return Err(AcceptError::Meaning { path: path.to_owned() });
    }
    let mut backup = file.clone().into_os_string();
    backup.push(".bak");
    let backup = PathBuf::from(backup);
    std::fs::copy(&file, &backup).map_err(unwritable)?;
    let permissions = std::fs::metadata(&file).map_err(unwritable)?.permissions();
    lock::replace(&file, &text, Some(permissions)).map_err(unwritable)?;
    Ok(backup)
}

fn lines(rules: &[crate::host::grant::Rule]) -> Vec<String> {
    rules.iter().map(crate::host::grant::Rule::identity).collect()
}

fn page(
    provider: &ProviderConfig,
    columns: &BTreeMap<String, Columns>,
    host: &BTreeMap<String, HostColumns>,
    tightened: &BTreeMap<String, Tightened>,
) -> String {
    let mut page = format!("provider {}: {}\n", provider.name, provider.component);
    for (grant, columns) in columns {
        let columns = serde_json::to_value(columns).unwrap_or_default();
        page.push_str(&show::columns(grant, &columns));
    }
    page.push_str(&show::host(&serde_json::to_value(host).unwrap_or_default()));
    if tightened.is_empty() {
        page.push_str("\nnothing was recorded yet: it is while the gateway runs and the plugin is asked\n");
        return page;
    }
    page.push_str("\n# The smallest rules for what was used so far; without `profile`.\n");
    page.push_str(rewrite::snippet(&provider.name, tightened).trim_start());
    for (grant, tightened) in tightened {
        for gone in &tightened.gone {
            let _ = writeln!(page, "# {grant}: used too, under a rule that it has no more: {gone}");
        }
        if provider.grants.get(grant).is_some_and(|grant| grant.mode == Mode::DryRun) {
            let _ = writeln!(page, "# {grant}: its mode is \"dry-run\": these rules refuse once that is taken out");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[state]\ndirectory = \"state\"\n[provider.edge]\ncomponent = \"builtin:faas-provider\"\nnamespaces = \
                        [\"dev\"]\n[provider.edge.grant.provider]\nconnect = \"http://127.0.0.1:1\" # here\nprofile = \
                        \"faas-provider\"\n";

    /// A configuration beside a record of what was used.
    fn folder(uses: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, FILE).unwrap();
        std::fs::create_dir_all(folder.path().join("state/used")).unwrap();
        let shapes = serde_json::json!({ "provider": uses });
        std::fs::write(folder.path().join("state/used/edge.json"), shapes.to_string()).unwrap();
        (folder, path)
    }

    fn run_on(path: &Path, write: bool) -> String {
        let mut out = Vec::new();
        run(Some(path), &"edge".parse().unwrap(), write, |_| None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn rules(path: &Path) -> Vec<String> {
        let builtins: Vec<&str> = crate::plugin::builtin::names().collect();
        let config = Config::from_file(path, &builtins).unwrap();
        config.providers[0].grants["provider"].rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn four_columns_and_rules_are_printed_and_nothing_is_written() {
        let (_folder, path) = folder(&["GET /system/function/*?namespace={namespace}", "GET /system/info"]);
        let page = run_on(&path, false);
        for part in [
            "declared  the root of the faas-provider API",
            "detected  its bytes name it",
            "granted   to http://127.0.0.1:1",
            "used      GET /system/function/*",
            "[provider.edge.grant.provider]\nallow = [\n    \"GET /system/function/*?namespace={namespace}\",\n",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
    }

    #[test]
    fn rules_are_put_into_the_file_and_the_old_one_is_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, path) = folder(&["GET /system/info"]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let page = run_on(&path, true);
        assert!(page.contains("edge.toml.bak") && page.contains("provider accept edge"), "{page}");
        assert_eq!(rules(&path), ["GET /system/info"]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\n") && text.contains("# here") && !text.contains("profile"), "{text}");
        assert!(text.contains("functions = \"/function\""), "what the profile said stays: {text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_to_string(folder.path().join("edge.toml.bak")).unwrap(), FILE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no draft is left");
    }

    #[test]
    fn nothing_is_written_where_nothing_was_used_or_there_is_no_file() {
        let (_folder, path) = folder(&[]);
        std::fs::remove_file(path.with_file_name("state/used/edge.json")).unwrap();
        assert!(run_on(&path, true).contains("nothing was recorded yet"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
        let tightened = [(
            "nope".to_owned(),
            Tightened { rules: Vec::new(), gone: Vec::new(), functions: None, endpoints: Vec::new() },
        )]
        .into();
        let error = put(&Source::File(path.clone()), &path, &"edge".parse().unwrap(), &tightened).unwrap_err();
        assert!(matches!(error, AcceptError::Rewrite { .. }), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
    }
}
