//! `watch`: a list of the jobs, then the event stream.
//!
//! Events say which job changed; its status is asked for then, since no event has all of it. Cursors are
//! `s|INDEX...|JOBS` within a snapshot, with an index for each namespace that was begun and where its jobs
//! go on (see [`crate::jobs`]), and `f|INDEX...` after it. An index with a `!` is that of an event, with which a
//! stream from there has to begin: otherwise the server's buffer has lost what lay between.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use wicketgate_sdk::http::{Response, wait_for_any};
use wicketgate_sdk::{ChangeSet, ErrorKind, FunctionRef, FunctionState, ProviderError, Result, Watch, clock};

use crate::jobs::{Jobs, PAGE};
use crate::json::{entries, text};
use crate::{Nomad, api};

const PIECE_BYTES: usize = 64 << 10;

/// The longest event, in bytes: a job or an allocation with its job, 5 KB to some hundred.
const EVENT_BYTES: usize = 4 << 20;

/// The most namespaces that are followed: each is a stream of its own.
const NAMESPACES: usize = 8;

impl Watch for Nomad {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        if namespaces.len() > NAMESPACES {
            let count = namespaces.len();
            return Err(ProviderError::unsupported(format!(
                "{count} namespaces are too many for one watch; give a provider at most {NAMESPACES}"
            )));
        }
        let Some(cursor) = cursor else { return self.snapshot(namespaces, Vec::new(), "") };
        let foreign = || ProviderError::cursor_expired(format!("{cursor:?} is no cursor of these namespaces"));
        let mut fields: Vec<String> = cursor.split('|').map(str::to_owned).collect();
        match fields.remove(0).as_str() {
            "s" => {
                let place = fields.pop().ok_or_else(foreign)?;
                if fields.is_empty() || fields.len() > namespaces.len() {
                    return Err(foreign());
                }
                self.snapshot(namespaces, fields, &place)
            }
            "f" if fields.len() == namespaces.len() => self.follow(namespaces, fields, timeout),
            _ => Err(foreign()),
        }
    }
}

impl Nomad {
    /// The functions of a page of jobs: of the namespace of the last index, or the first page of the next one
    /// where `place` is empty.
    fn snapshot(&self, namespaces: &[String], mut indices: Vec<String>, place: &str) -> Result<ChangeSet> {
        let position = if place.is_empty() { indices.len() } else { indices.len().saturating_sub(1) };
        let Some(namespace) = namespaces.get(position) else {
            return Err(ProviderError::cursor_expired("the snapshot is complete"));
        };
        let Jobs { ids, next, index } = self.jobs(namespace, place, PAGE)?;
        // That of the first list: what changes while pages are read is told by the stream.
        if place.is_empty() {
            indices.push(index);
        }
        let mut changed = Vec::new();
        for id in &ids {
            if let Some(state) = self.state(id, namespace)? {
                changed.push(state);
            }
        }
        let complete = next.is_none() && indices.len() == namespaces.len();
        let indices = indices.join("|");
        let cursor =
            if complete { format!("f|{indices}") } else { format!("s|{indices}|{}", next.unwrap_or_default()) };
        Ok(ChangeSet { changed, removed: Vec::new(), cursor, complete })
    }

    /// The status of a job; `None` if it is no function or gone.
    fn state(&self, id: &str, namespace: &str) -> Result<Option<FunctionState>> {
        let Some(name) = id.strip_prefix(&self.settings.job_prefix) else { return Ok(None) };
        match self.job(name, namespace).and_then(|job| self.status(&job, name, namespace)) {
            Ok(status) => Ok(Some(FunctionState { function: reference(name, namespace), status })),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn follow(&self, namespaces: &[String], indices: Vec<String>, timeout: Duration) -> Result<ChangeSet> {
        let end = clock::monotonic() + timeout;
        let mut streams = Vec::with_capacity(namespaces.len());
        for (namespace, index) in namespaces.iter().zip(indices) {
            let request = api::get(&["v1", "event", "stream"], namespace);
            let request = request.query("topic", "Allocation:*").query("topic", "Job:*");
            let request = request.query("index", index.trim_end_matches('!'));
            let answer = api::send(request, &format!("events of {namespace}"))?;
            streams.push(Stream { namespace, index, is_checked: false, answer: Some(answer), buffer: Vec::new() });
        }
        let mut touched: BTreeSet<(&str, String)> = BTreeSet::new();
        loop {
            for stream in &mut streams {
                while touched.len() < PAGE
                    && let Some(line) = stream.line()
                {
                    for id in stream.events(&line)? {
                        touched.insert((stream.namespace, id));
                    }
                }
            }
            let left = if touched.is_empty() { end.saturating_sub(clock::monotonic()) } else { Duration::ZERO };
            let mut open: Vec<&mut Stream<'_>> = streams.iter_mut().filter(|stream| stream.answer.is_some()).collect();
            let answers: Vec<&Response> = open.iter().filter_map(|stream| stream.answer.as_ref()).collect();
            if answers.is_empty() || touched.len() >= PAGE {
                break;
            }
            let Some(ready) = wait_for_any(&answers, left) else { break };
            let Some(stream) = open.get_mut(ready) else { break };
            match stream.fill() {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Timeout || !touched.is_empty() => stream.answer = None,
                Err(error) => return Err(error),
            }
        }
        let indices: Vec<&str> = streams.iter().map(|stream| stream.index.as_str()).collect();
        let cursor = format!("f|{}", indices.join("|"));
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for (namespace, id) in touched {
            match self.state(&id, namespace)? {
                Some(state) => changed.push(state),
                None => {
                    removed.extend(id.strip_prefix(&self.settings.job_prefix).map(|name| reference(name, namespace)));
                }
            }
        }
        Ok(ChangeSet { changed, removed, cursor, complete: true })
    }
}

fn reference(name: &str, namespace: &str) -> FunctionRef {
    FunctionRef { name: name.to_owned(), namespace: namespace.to_owned() }
}

/// The events of one namespace.
struct Stream<'a> {
    namespace: &'a str,
    /// Of the last event, with a `!`; or of the list that came before any.
    index: String,
    /// Whether the stream was seen to begin where the one before ended.
    is_checked: bool,
    answer: Option<Response>,
    buffer: Vec<u8>,
}

impl Stream<'_> {
    fn fill(&mut self) -> Result<()> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        match answer.read(PIECE_BYTES)? {
            Some(piece) => self.buffer.extend_from_slice(&piece),
            None => self.answer = None,
        }
        if self.buffer.len() > EVENT_BYTES && !self.buffer.contains(&b'\n') {
            let namespace = self.namespace;
            return Err(ProviderError::internal(format!("events of {namespace}: one of over {EVENT_BYTES} bytes")));
        }
        Ok(())
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// The jobs that the events of a line are about. A heartbeat is an empty object.
    fn events(&mut self, line: &[u8]) -> Result<Vec<String>> {
        if line.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        let event: Value = serde_json::from_slice(line).map_err(|error| {
            ProviderError::internal(format!("events of {}: cannot read one: {error}", self.namespace))
        })?;
        let Some(index) = event.get("Index").and_then(Value::as_u64) else { return Ok(Vec::new()) };
        let known: u64 = self.index.trim_end_matches('!').parse().unwrap_or(0);
        if !self.is_checked {
            self.is_checked = true;
            if self.index.ends_with('!') && index > known {
                return Err(ProviderError::cursor_expired(format!(
                    "events of {}: the server keeps none from {known} on any more",
                    self.namespace
                )));
            }
        }
        if index <= known {
            // The stream begins with the event that was seen last.
            return Ok(Vec::new());
        }
        self.index = format!("{index}!");
        let job = |event: &Value| match text(event, "Topic").as_str() {
            "Job" => Some(text(event, "Key")),
            "Allocation" => event.pointer("/Payload/Allocation/JobID")?.as_str().map(str::to_owned),
            _ => None,
        };
        Ok(entries(&event, "Events").iter().filter_map(job).collect())
    }
}
