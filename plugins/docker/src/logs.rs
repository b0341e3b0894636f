//! `logs`: what a function's containers print, oldest first, in bounded batches.
//!
//! Each batch asks every container (or the service, which gives the lines of all its tasks) for what
//! it printed since the [`Place`] where the last batch ended, and merges by time. A cursor is that
//! place. To follow is to ask again until there is something.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{ErrorKind, LogBatch, LogMessage, LogRequest, Logs, ProviderError, Result, clock};

use crate::Docker;
use crate::api::{success, url};
use crate::frames::Frames;
use crate::settings::Mode;
use place::{Line, Moment, Place};

mod place;

/// How much of a stream is read at once, in bytes.
const PIECE_BYTES: usize = 32 << 10;

/// The most text of a batch, and of what one call reads, in bytes; shared by the containers.
const BATCH_BYTES: usize = 2 << 20;

/// The least that is read of one container, in bytes.
const SOURCE_BYTES: usize = 32 << 10;

/// The most containers whose output is read: the youngest.
const SOURCES: usize = 64;

/// The most requests of one call, within the default budget of 32.
const REQUESTS: usize = 24;

/// Between two questions while following.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest text that the contract takes, in bytes.
const TEXT_BYTES: usize = 64 << 10;

/// What a task's lines say of it, among their details.
const TASK: &str = "com.docker.swarm.task.id";

/// How much of a container's id names it, as Docker shows it.
const SHORT_ID: usize = 12;

/// One container, or one service.
struct Source {
    url: String,
    /// The instance; a service's lines say it themselves.
    instance: Option<String>,
}

/// What one look at all sources found.
#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    /// Up to which time nothing is missing, where reading ended early.
    horizon: Option<u64>,
    /// Up to which time was read, where the last lines were wanted and their own times do not tell.
    until: Option<u64>,
}

impl Logs for Docker {
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch> {
        let foreign = |text: &str| ProviderError::cursor_expired(format!("{text:?} is no cursor of a log of docker"));
        let start = cursor.map(|text| Place::parse(text).ok_or_else(|| foreign(text))).transpose()?;
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let sources = self.sources(&request)?;
        let looks = (REQUESTS / sources.len().max(1)).max(1);
        let pause = PAUSE.max(timeout / u32::try_from(looks).unwrap_or(u32::MAX));
        let until = clock::monotonic() + timeout;
        let mut look = 1;
        loop {
            let now = clock::now_ms().saturating_mul(1_000_000);
            let found = read_all(&request, &sources, start.as_ref(), limit, now)?;
            let batch = deliver(&request, found, start.as_ref(), limit, now);
            let left = until.saturating_sub(clock::monotonic());
            if !request.follow || !batch.messages.is_empty() || look >= looks || left.is_zero() {
                return Ok(batch);
            }
            clock::wait(pause.min(left));
            look += 1;
        }
    }
}

impl Docker {
    fn sources(&self, request: &LogRequest) -> Result<Vec<Source>> {
        let named = |path: &str, id: &str| Request::get(url(path)).segment(id).url + "/logs";
        if self.settings.mode == Mode::Swarm {
            let found = self.service(&request.name, &request.namespace)?;
            return Ok(vec![Source { url: named("services/", &found.id), instance: None }]);
        }
        let mut ids = self.group(&request.name, &request.namespace)?.sources();
        ids.retain(|id| request.instance.as_deref().is_none_or(|wanted| id.starts_with(wanted)));
        let from = ids.len().saturating_sub(SOURCES);
        let short = |id: &str| id.get(..SHORT_ID).unwrap_or(id).to_owned();
        Ok(ids
            .iter()
            .skip(from)
            .map(|id| Source { url: named("containers/", id), instance: Some(short(id)) })
            .collect())
    }
}

/// Reads all sources from `start` on.
///
/// The last lines of a log that tells whole seconds leave open where to go on: others of the same second are before
/// them. So such a log is read again, up to `now`, and so are the sources after it.
fn read_all(request: &LogRequest, sources: &[Source], start: Option<&Place>, limit: usize, now: u64) -> Result<Found> {
    let mut found = Found::default();
    let bytes = (BATCH_BYTES / sources.len().max(1)).max(SOURCE_BYTES);
    let is_tail = start.is_none() && request.tail.is_some();
    let mut start = start.cloned();
    for source in sources {
        let before = (found.lines.len(), found.horizon);
        read(request, source, start.as_mut(), limit, bytes, &mut found)?;
        let mut new = found.lines.iter().skip(before.0);
        if is_tail && found.until.is_none() && new.any(|line| line.at.is_coarse()) {
            found.lines.truncate(before.0);
            (found.horizon, found.until) = (before.1, Some(now));
            read(request, source, start.as_mut(), limit, bytes, &mut found)?;
        }
    }
    Ok(found)
}

/// Reads what one source printed from `start` on, without what was delivered.
fn read(
    request: &LogRequest,
    source: &Source,
    mut start: Option<&mut Place>,
    limit: usize,
    bytes: usize,
    found: &mut Found,
) -> Result<()> {
    let mut ask = Request::get(&source.url).query("stdout", "1").query("stderr", "1").query("timestamps", "1");
    if source.instance.is_none() {
        ask = ask.query("details", "1");
    }
    let from = start.as_ref().map(|place| place.nanos).or(since(request));
    if let Some(nanos) = from {
        ask = ask.query("since", &seconds(nanos));
    }
    if let Some(nanos) = found.until {
        ask = ask.query("until", &seconds(nanos));
    }
    if let (Some(tail), None) = (request.tail, &start) {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX).min(limit);
        ask = ask.query("tail", &tail.to_string());
    }
    let mut answer = match success(ask.send()?, &format!("logs of {}.{}", request.name, request.namespace)) {
        // Its container was removed since it was listed.
        Err(error) if error.kind == ErrorKind::NotFound && source.instance.is_some() => return Ok(()),
        answer => answer?,
    };
    let mut frames = Frames::default();
    let (mut count, mut read, mut last) = (0_usize, 0_usize, from.unwrap_or(0));
    while let Some(piece) = answer.read(PIECE_BYTES)? {
        let more = frames.feed(&piece, &mut |bytes_of_line| {
            let Some(line) = parse(bytes_of_line, source) else { return Ok(true) };
            // A place's own lines come again, and must not use up the limits.
            if start.as_mut().is_some_and(|start| start.takes_back(&line)) {
                return Ok(true);
            }
            let is_wanted = request.instance.as_deref().is_none_or(|wanted| line.instance.starts_with(wanted));
            count += 1;
            read += line.text.len();
            last = last.max(line.at.first);
            if is_wanted {
                found.lines.push(line);
            }
            // The lines of several tasks come in no order, so all of them are read.
            Ok(read < bytes && (count < limit || source.instance.is_none()))
        })?;
        if !more {
            found.horizon = Some(found.horizon.map_or(last, |horizon| horizon.min(last)));
            break;
        }
    }
    Ok(())
}

/// Reads a line: a time, with `details` whose it is, and the text.
fn parse(line: &[u8], source: &Source) -> Option<Line> {
    let line = String::from_utf8_lossy(line);
    let (time, rest) = line.split_once(' ')?;
    let at = Moment::parse(time)?;
    let (instance, text) = match &source.instance {
        Some(instance) => (instance.clone(), rest),
        None => {
            let (details, text) = rest.split_once(' ')?;
            let task = details.split(',').find_map(|detail| detail.strip_prefix(TASK)?.strip_prefix('='));
            (task.unwrap_or_default().to_owned(), text)
        }
    };
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text);
    Some(Line { at, instance, text: text.to_owned() })
}

/// The time from which on a request wants lines, in nanoseconds.
fn since(request: &LogRequest) -> Option<u64> {
    request.since_ms.map(|millis| millis.saturating_mul(1_000_000))
}

/// A time as the engine's parameters want it.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Sorts what was found, and cuts a batch.
fn deliver(request: &LogRequest, found: Found, start: Option<&Place>, limit: usize, now: u64) -> LogBatch {
    let Found { mut lines, horizon, until } = found;
    lines.sort_by_key(|line| line.at.first);
    let mut is_cut = horizon.is_some();
    if let Some(horizon) = horizon {
        lines.retain(|line| line.at.first <= horizon);
    }
    let mut place = start.cloned().unwrap_or_else(|| Place::at(since(request).unwrap_or(0)));
    if let (Some(tail), None) = (request.tail, start) {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX).min(limit);
        lines.drain(..lines.len().saturating_sub(tail));
        if lines.is_empty() {
            // What was there before is not to come later.
            place = Place::at(now);
        }
    }
    is_cut |= lines.len() > limit;
    lines.truncate(limit);
    let mut bytes = 0;
    let mut messages = Vec::with_capacity(lines.len());
    for line in lines {
        bytes += line.text.len();
        if bytes > BATCH_BYTES && !messages.is_empty() {
            is_cut = true;
            break;
        }
        place.pass(&line);
        messages.push(LogMessage {
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            instance: line.instance,
            timestamp_ms: line.at.first / 1_000_000,
            text: line.text,
        });
    }
    if let (Some(until), false) = (until, is_cut) {
        place = Place::at(until);
    }
    LogBatch { messages, next: (request.follow || is_cut).then(|| place.to_string()) }
}
