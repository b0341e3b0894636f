//! `watch`: a list of the Deployments, then their changes.
//!
//! A snapshot is read in pages, namespace after namespace. The watch of a namespace begins at the
//! version of its first page, so that what changes meanwhile is told afterwards. A call ends with the
//! first changes, since nothing may be kept between calls; the next one goes on from the last version
//! that was seen, a bookmark's included. Cursors are `s|TOKEN|VERSION|...` within a snapshot, with a
//! version for each namespace that was begun, and `f|VERSION|...` after it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use wicketgate_sdk::http::{Response, wait_for_any};
use wicketgate_sdk::{
    ChangeSet, ErrorKind, FunctionRef, FunctionState, ProviderError, Result, ServiceStatus, Watch, clock,
};

use crate::api::{self, DEPLOYMENTS, PAGE, Status};
use crate::object::{Deployment, List, Read as _, text};
use crate::{Kubernetes, status};

/// The most functions of one answer, as the contract has it.
const MOST: usize = 1000;

/// The most of a stream that is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The longest event, in bytes. etcd holds objects of at most 1.5 MiB; managed fields come on top.
const EVENT_BYTES: usize = 4 << 20;

/// The most namespaces that are followed: each is a request of its own.
const NAMESPACES: usize = 16;

/// The longest cursor that the contract takes, in bytes.
const CURSOR_BYTES: usize = 4096;

impl Watch for Kubernetes {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        if namespaces.len() > NAMESPACES {
            let count = namespaces.len();
            return Err(ProviderError::unsupported(format!(
                "{count} namespaces are too many for one watch; give a provider at most {NAMESPACES}"
            )));
        }
        match cursor {
            None => self.snapshot(namespaces, "", Vec::new()),
            Some(cursor) => {
                let foreign = || ProviderError::cursor_expired(format!("{cursor:?} is no cursor of these namespaces"));
                let mut fields = cursor.split('|');
                match fields.next() {
                    Some("s") => {
                        let token = fields.next().ok_or_else(foreign)?;
                        let versions: Vec<String> = fields.map(str::to_owned).collect();
                        if versions.is_empty() || versions.len() > namespaces.len() {
                            return Err(foreign());
                        }
                        self.snapshot(namespaces, token, versions)
                    }
                    Some("f") => {
                        let versions: Vec<&str> = fields.collect();
                        if versions.len() != namespaces.len() {
                            return Err(foreign());
                        }
                        self.follow(namespaces, &versions, timeout)
                    }
                    _ => Err(foreign()),
                }
            }
        }
    }
}

impl Kubernetes {
    /// The request for the functions of a namespace, without a page's place.
    pub(crate) fn list_request(&self, namespace: &str) -> wicketgate_sdk::http::Request {
        let request = api::get(DEPLOYMENTS.all(namespace));
        if self.settings.label.is_empty() { request } else { request.query("labelSelector", &self.settings.label) }
    }

    /// The page of the list that begins at `token`: of the namespace of the last version, or of the
    /// next one where it is empty.
    fn snapshot(&self, namespaces: &[String], token: &str, mut versions: Vec<String>) -> Result<ChangeSet> {
        let begun = versions.len();
        let index = if token.is_empty() { begun } else { begun.saturating_sub(1) };
        let Some(namespace) = namespaces.get(index) else {
            return Err(ProviderError::cursor_expired("the snapshot is complete"));
        };
        let request = self.list_request(namespace).query("limit", &PAGE.to_string());
        let cursor = Some(token).filter(|token| !token.is_empty());
        let page: List<Deployment> = api::page(&request, cursor, false, &format!("functions of {namespace}"))?;
        if token.is_empty() {
            versions.push(page.resource_version.clone());
        }
        let next = page.next;
        let complete = next.is_none() && versions.len() == namespaces.len();
        let mut changed = page.items;
        changed.retain(|deployment| !deployment.metadata.is_going());
        let versions = versions.join("|");
        let cursor =
            if complete { format!("f|{versions}") } else { format!("s|{}|{versions}", next.unwrap_or_default()) };
        Ok(ChangeSet {
            changed: changed.into_iter().map(|one| state(namespace, one.metadata.name.clone(), status(&one))).collect(),
            removed: Vec::new(),
            cursor: checked(cursor)?,
            complete,
        })
    }

    /// What happened since the versions.
    fn follow(&self, namespaces: &[String], versions: &[&str], timeout: Duration) -> Result<ChangeSet> {
        let end = clock::monotonic() + timeout;
        // Whole seconds; the guest itself ends its waiting earlier, this is for the server's sake.
        let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0)).max(1).to_string();
        let mut streams = Vec::with_capacity(namespaces.len());
        for (namespace, version) in namespaces.iter().zip(versions) {
            let request = self.list_request(namespace).query("watch", "1").query("resourceVersion", version);
            let request = request.query("allowWatchBookmarks", "true").query("timeoutSeconds", &seconds);
            let answer = api::send(request, &format!("watch of {namespace}"))?;
            let version = (*version).to_owned();
            streams.push(Stream { namespace, version, answer: Some(answer), buffer: Vec::new() });
        }
        let mut news: BTreeMap<(&str, String), Option<ServiceStatus>> = BTreeMap::new();
        loop {
            for stream in &mut streams {
                while news.len() < MOST
                    && let Some(line) = stream.line()
                {
                    match stream.event(&line) {
                        Ok(Some((name, status))) => drop(news.insert((stream.namespace, name), status)),
                        Ok(None) => {}
                        // The same error comes again on the next call, when there is nothing to tell before it.
                        Err(error) if news.is_empty() => return Err(error),
                        Err(_later) => stream.answer = None,
                    }
                }
            }
            let left = if news.is_empty() { end.saturating_sub(clock::monotonic()) } else { Duration::ZERO };
            let mut open: Vec<&mut Stream<'_>> = streams.iter_mut().filter(|stream| stream.answer.is_some()).collect();
            let answers: Vec<&Response> = open.iter().filter_map(|stream| stream.answer.as_ref()).collect();
            if answers.is_empty() || news.len() >= MOST {
                break;
            }
            let Some(ready) = wait_for_any(&answers, left) else { break };
            let Some(stream) = open.get_mut(ready) else { break };
            match stream.fill() {
                Ok(()) => {}
                // Silence until the end of the waiting is no failure.
                Err(error) if error.kind == ErrorKind::Timeout || !news.is_empty() => stream.answer = None,
                Err(error) => return Err(error),
            }
        }
        let versions: Vec<&str> = streams.iter().map(|stream| stream.version.as_str()).collect();
        let cursor = checked(format!("f|{}", versions.join("|")))?;
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for ((namespace, name), status) in news {
            match status {
                Some(status) => changed.push(state(namespace, name, status)),
                None => removed.push(FunctionRef { name, namespace: namespace.to_owned() }),
            }
        }
        Ok(ChangeSet { changed, removed, cursor, complete: true })
    }
}

fn state(namespace: &str, name: String, status: ServiceStatus) -> FunctionState {
    FunctionState { function: FunctionRef { name, namespace: namespace.to_owned() }, status }
}

fn checked(cursor: String) -> Result<String> {
    if cursor.len() <= CURSOR_BYTES {
        return Ok(cursor);
    }
    Err(ProviderError::internal(format!("a cursor of {} bytes; the API server's tokens are too long", cursor.len())))
}

/// The watch of one namespace.
struct Stream<'a> {
    namespace: &'a str,
    /// The version of the last event.
    version: String,
    /// `None` once it ended.
    answer: Option<Response>,
    buffer: Vec<u8>,
}

impl Stream<'_> {
    /// Reads what is there.
    fn fill(&mut self) -> Result<()> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        match answer.read(PIECE_BYTES)? {
            Some(piece) => self.buffer.extend_from_slice(&piece),
            None => self.answer = None,
        }
        if self.buffer.len() > EVENT_BYTES && !self.buffer.contains(&b'\n') {
            let namespace = self.namespace;
            return Err(ProviderError::internal(format!("watch of {namespace}: an event of over {EVENT_BYTES} bytes")));
        }
        Ok(())
    }

    /// The next whole event. What follows the last line's end is the beginning of an event that was cut.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Whose status an event tells, `None` for one that is gone.
    fn event(&mut self, line: &[u8]) -> Result<Option<(String, Option<ServiceStatus>)>> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let what = format!("watch of {}", self.namespace);
        let unreadable = || ProviderError::internal(format!("{what}: cannot read an event"));
        let event: Value = serde_json::from_slice(line).map_err(|_not_json| unreadable())?;
        let kind = text(&event, "type");
        let object = event.get("object").ok_or_else(unreadable)?;
        if kind == "ERROR" {
            // The API server's refusals come as events: the stream itself was answered with 200.
            return Err(Status::read(object).into_error(None, &what));
        }
        let object = Deployment::read(object).ok_or_else(unreadable)?;
        self.version.clone_from(&object.metadata.resource_version);
        let is_gone = kind == "DELETED" || object.metadata.is_going();
        match kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" => {
                let status = if is_gone { None } else { Some(status(&object)) };
                Ok(Some((object.metadata.name, status)))
            }
            // Bookmarks, and whatever else a newer server says.
            _ => Ok(None),
        }
    }
}
