//! `watch`: the host's changes of groups, told as changes of functions.
//!
//! A snapshot is read in pages of functions. The host's cursor is taken *before* its first page, so
//! that what changes meanwhile is told afterwards. Cursors are `s/HOST/LAST` within a snapshot,
//! where `LAST` is the last group of the page before, and `f/HOST` after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wicketgate_sdk::processes::{self, GroupStatus};
use wicketgate_sdk::{ChangeSet, ErrorKind, FunctionRef, FunctionState, ProviderError, Result, Watch, warn};

use crate::function::{Function, split};
use crate::{Local, absent_is_fine, service_status};

/// The most functions of one answer, as the contract has it.
const PAGE: usize = 1000;

impl Watch for Local {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        match cursor {
            None => {
                self.tell_mistakes(&namespaces);
                let all = processes::changes(None, 0)?;
                self.sweep(&all.changed)?;
                self.snapshot(&namespaces, &all.cursor, "")
            }
            Some(cursor) => match cursor.split_once('/') {
                Some(("f", host)) => self.follow(&namespaces, host, timeout),
                Some(("s", rest)) => {
                    let (host, last) = rest.split_once('/').ok_or_else(|| foreign(cursor))?;
                    self.snapshot(&namespaces, host, last)
                }
                _ => Err(foreign(cursor)),
            },
        }
    }
}

fn foreign(cursor: &str) -> ProviderError {
    ProviderError::cursor_expired(format!("{cursor:?} is no cursor of local"))
}

impl Local {
    /// A page of the functions after the group `last`.
    fn snapshot(&self, namespaces: &[&str], host: &str, last: &str) -> Result<ChangeSet> {
        let mut functions = self.functions(namespaces)?;
        functions.retain(|function| function.group.as_str() > last);
        let complete = functions.len() <= PAGE;
        functions.truncate(PAGE);
        let cursor = match functions.last() {
            Some(function) if !complete => format!("s/{host}/{}", function.group),
            _ => format!("f/{host}"),
        };
        let changed = functions.iter().map(|f| Ok(state_of(f, crate::group(&f.group)?.as_ref())));
        Ok(ChangeSet { changed: changed.collect::<Result<_>>()?, removed: Vec::new(), cursor, complete })
    }

    /// What happened since the host's cursor `host`.
    fn follow(&self, namespaces: &[&str], host: &str, timeout: Duration) -> Result<ChangeSet> {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let news = processes::changes(Some(host), timeout)?;
        let present: BTreeMap<&str, &GroupStatus> = news.changed.iter().map(|g| (g.group.as_str(), g)).collect();
        let names: BTreeSet<&str> = present.keys().copied().chain(news.removed.iter().map(String::as_str)).collect();
        if names.len() > PAGE {
            return Err(ProviderError::cursor_expired("too much changed at once"));
        }
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for name in names {
            let Some((service, namespace)) = split(name) else { continue };
            if !namespaces.contains(&namespace) || !self.has_namespace(namespace) {
                continue;
            }
            // The group of a declared command can go; the function stays.
            match self.function(service, namespace) {
                Ok(function) => changed.push(state_of(&function, present.get(name).copied())),
                Err(error) if error.kind == ErrorKind::NotFound => {
                    removed.push(FunctionRef { name: service.to_owned(), namespace: namespace.to_owned() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ChangeSet { changed, removed, cursor: format!("f/{}", news.cursor), complete: true })
    }

    /// Ends groups that belong to no function: the operator took the namespace or the declaration
    /// away, or a deletion was cut half way. Done where a watch begins, which is after a publish.
    fn sweep(&self, groups: &[GroupStatus]) -> Result<()> {
        for group in groups {
            let function = split(&group.group).map(|(service, namespace)| self.function(service, namespace));
            match function {
                Some(Err(error)) if error.kind == ErrorKind::NotFound => {
                    warn!("processes of {} belong to no function and are ended", group.group);
                    processes::remove(&group.group).or_else(absent_is_fine)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A namespace that the operator gave to the provider and not to its plugin is a mistake that
    /// only shows here.
    fn tell_mistakes(&self, namespaces: &[&str]) {
        for namespace in namespaces.iter().filter(|namespace| !self.has_namespace(namespace)) {
            warn!(
                "the provider claims namespace {namespace}, config = {{ namespaces = [...] }} does not name it: it has no functions"
            );
        }
    }
}

fn state_of(function: &Function, group: Option<&GroupStatus>) -> FunctionState {
    FunctionState {
        function: FunctionRef { name: function.service.clone(), namespace: function.namespace.clone() },
        status: service_status(function, group),
    }
}
