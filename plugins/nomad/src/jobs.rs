//! The jobs of a namespace, page by page.
//!
//! Nomad before 1.4 lists all jobs or none, 600 KB for a thousand, and a page of functions is small because each
//! costs two requests. So a page's cursor carries the jobs of the next pages, as many as fit, and the list is
//! asked for again only where they end: six times for a thousand functions. A cursor is the ids, separated by
//! spaces, which no id may have; behind a last space the list goes on after the last of them, and behind a first
//! space stands a job that was the last one.

use serde_json::Value;
use wicketgate_sdk::{ProviderError, Result};

use crate::json::text;
use crate::{Nomad, api};

/// The most functions of one answer: two requests each, beside a stream for each namespace, within the 32
/// requests of a call.
pub(crate) const PAGE: usize = 12;

/// The most bytes of the ids in a cursor. The contract takes cursors of 4096 bytes, in which a watch has more.
const CURSOR_BYTES: usize = 3500;

/// A page of the jobs that may be functions.
pub(crate) struct Jobs {
    pub(crate) ids: Vec<String>,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
    /// The index of the list, if it was asked for; else empty.
    pub(crate) index: String,
}

impl Nomad {
    /// The page that begins at `cursor`, or the first one where that is empty.
    pub(crate) fn jobs(&self, namespace: &str, cursor: &str, limit: usize) -> Result<Jobs> {
        let (known, has_more) = match cursor.strip_prefix(' ') {
            Some(_) => ("", true),
            None => cursor.strip_suffix(' ').map_or((cursor, cursor.is_empty()), |known| (known, true)),
        };
        let mut ids: Vec<String> = known.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let mut index = String::new();
        let is_listed = ids.is_empty();
        if is_listed {
            (ids, index) = self.all_jobs(namespace, cursor.trim())?;
        }
        let rest = ids.split_off(limit.min(ids.len()));
        let next = carried(&rest, ids.last(), has_more && !is_listed);
        Ok(Jobs { ids, next, index })
    }

    /// The ids of the jobs after `last` that may be functions, in order, and the index of the list.
    fn all_jobs(&self, namespace: &str, last: &str) -> Result<(Vec<String>, String)> {
        let what = format!("jobs of {namespace}");
        let mut request = api::get(&["v1", "jobs"], namespace);
        if !self.settings.job_prefix.is_empty() {
            request = request.query("prefix", &self.settings.job_prefix);
        }
        // Newer versions then say which jobs are functions; older ones leave it out.
        let answer = api::send(request.query("meta", "true"), &what)?;
        let index = answer.header("x-nomad-index").unwrap_or("0").to_owned();
        let found: Value = answer.json(8 << 20)?;
        let found =
            found.as_array().ok_or_else(|| ProviderError::internal(format!("{what}: the answer is no list")))?;
        let may_be = |job: &&Value| {
            let is_other = job.get("Meta").is_some_and(Value::is_object) && !self.is_function(job);
            !is_other && job.get("Stop") != Some(&Value::Bool(true)) && text(job, "Type") == "service"
        };
        let mut ids: Vec<String> = found.iter().filter(may_be).map(|job| text(job, "ID")).collect();
        ids.retain(|id| id.as_str() > last && id.starts_with(&self.settings.job_prefix));
        ids.sort_unstable();
        Ok((ids, index))
    }
}

/// The cursor of the page after `last` that begins with `rest`, behind which there is more or not.
fn carried(rest: &[String], last: Option<&String>, has_more: bool) -> Option<String> {
    let mut cursor = String::new();
    for id in rest {
        if cursor.len() + id.len() > CURSOR_BYTES {
            cursor.push(' ');
            return Some(cursor);
        }
        if !cursor.is_empty() {
            cursor.push(' ');
        }
        cursor.push_str(id);
    }
    match (cursor.is_empty(), has_more) {
        (false, false) => Some(cursor),
        (false, true) => Some(format!("{cursor} ")),
        (true, true) => last.map(|last| format!(" {last}")),
        (true, false) => None,
    }
}
