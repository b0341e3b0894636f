//! `logs`: what a function's containers print, oldest first, in bounded batches.
//!
//! Each batch asks every container (or the service, which gives the lines of all its tasks) for what
//! it printed since the place where the last batch ended, and merges by time. A cursor is that place:
//! `<nanoseconds>.<lines delivered of that nanosecond>`. To follow is to ask again until there is
//! something.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::time::parse_rfc3339;
use wicketgate_sdk::{ErrorKind, LogBatch, LogMessage, LogRequest, Logs, ProviderError, Result, clock};

use crate::Docker;
use crate::api::{success, url};
use crate::frames::Frames;
use crate::settings::Mode;

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

/// How far a batch came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    nanos: u64,
    /// How many lines of that time were delivered.
    delivered: u32,
}

struct Line {
    nanos: u64,
    instance: String,
    text: String,
}

/// What one look at all sources found.
#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    /// Up to which time nothing is missing, where reading ended early.
    horizon: Option<u64>,
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
            let found = read_all(&request, &sources, start, limit)?;
            let batch = deliver(&request, found, start, limit);
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
fn read_all(request: &LogRequest, sources: &[Source], start: Option<Place>, limit: usize) -> Result<Found> {
    let mut found = Found::default();
    let bytes = (BATCH_BYTES / sources.len().max(1)).max(SOURCE_BYTES);
    for source in sources {
        match read(request, source, start, limit, bytes, &mut found) {
            // Its container was removed since it was listed.
            Err(error) if error.kind == ErrorKind::NotFound && source.instance.is_some() => {}
            outcome => outcome?,
        }
    }
    Ok(found)
}

/// Reads what one source printed from `start` on.
fn read(
    request: &LogRequest,
    source: &Source,
    start: Option<Place>,
    limit: usize,
    bytes: usize,
    found: &mut Found,
) -> Result<()> {
    let mut ask = Request::get(&source.url).query("stdout", "1").query("stderr", "1").query("timestamps", "1");
    if source.instance.is_none() {
        ask = ask.query("details", "1");
    }
    let from = start.map(|place| place.nanos).or(request.since_ms.map(|millis| millis.saturating_mul(1_000_000)));
    if let Some(nanos) = from {
        ask = ask.query("since", &format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
    }
    if let (Some(tail), None) = (request.tail, start) {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX).min(limit);
        ask = ask.query("tail", &tail.to_string());
    }
    let mut answer = success(ask.send()?, &format!("logs of {}.{}", request.name, request.namespace))?;
    let mut frames = Frames::default();
    let (mut count, mut read, mut last) = (0_usize, 0_usize, from.unwrap_or(0));
    // A place's lines come again, and must not use up the limit.
    let limit = limit.saturating_add(start.map_or(0, |place| usize::try_from(place.delivered).unwrap_or(0)));
    while let Some(piece) = answer.read(PIECE_BYTES)? {
        let more = frames.feed(&piece, &mut |bytes_of_line| {
            let Some(line) = parse(bytes_of_line, source) else { return Ok(true) };
            let is_wanted = request.instance.as_deref().is_none_or(|wanted| line.instance.starts_with(wanted));
            count += 1;
            read += line.text.len();
            last = last.max(line.nanos);
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
    let nanos = nanos(time)?;
    let (instance, text) = match &source.instance {
        Some(instance) => (instance.clone(), rest),
        None => {
            let (details, text) = rest.split_once(' ')?;
            let task = details.split(',').find_map(|detail| detail.strip_prefix(TASK)?.strip_prefix('='));
            (task.unwrap_or_default().to_owned(), text)
        }
    };
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text);
    Some(Line { nanos, instance, text: text.to_owned() })
}

/// The nanoseconds since 1970 of an RFC 3339 time.
fn nanos(time: &str) -> Option<u64> {
    let millis = parse_rfc3339(time)?;
    let fraction: String =
        time.split_once('.')?.1.chars().take_while(char::is_ascii_digit).chain("000000000".chars()).take(9).collect();
    (millis / 1000).checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)
}

/// Sorts what was found, and cuts a batch.
fn deliver(request: &LogRequest, found: Found, start: Option<Place>, limit: usize) -> LogBatch {
    let Found { mut lines, horizon } = found;
    lines.sort_by_key(|line| line.nanos);
    let mut is_cut = horizon.is_some();
    if let Some(horizon) = horizon {
        lines.retain(|line| line.nanos <= horizon);
    }
    let mut place = start.unwrap_or_default();
    if let Some(start) = start {
        let mut again = start.delivered;
        lines.retain(|line| {
            let was_delivered = line.nanos < start.nanos || line.nanos == start.nanos && again > 0;
            if line.nanos == start.nanos {
                again = again.saturating_sub(1);
            }
            !was_delivered
        });
    } else if let Some(tail) = request.tail {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX).min(limit);
        lines.drain(..lines.len().saturating_sub(tail));
        // What was there before is not to come later.
        place.nanos = if lines.is_empty() { clock::now_ms().saturating_mul(1_000_000) } else { 0 };
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
        place.pass(line.nanos);
        messages.push(LogMessage {
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            instance: line.instance,
            timestamp_ms: line.nanos / 1_000_000,
            text: line.text,
        });
    }
    LogBatch { messages, next: (request.follow || is_cut).then(|| place.to_string()) }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (nanos, delivered) = text.split_once('.')?;
        Some(Self { nanos: nanos.parse().ok()?, delivered: delivered.parse().ok()? })
    }

    /// Takes note of a line; lines come in order.
    fn pass(&mut self, nanos: u64) {
        if nanos > self.nanos {
            *self = Self { nanos, delivered: 1 };
        } else {
            self.delivered = self.delivered.saturating_add(1);
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.nanos, self.delivered)
    }
}
