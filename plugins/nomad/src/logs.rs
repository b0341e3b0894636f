//! `logs`: the newest [`WINDOW_BYTES`] of what each allocation printed, on both its streams.
//!
//! Nomad's logs have no times and no lasting offsets: files are rotated. Its frames say which file they
//! are of and where they end in it, so a cursor is `ALLOCATION:STREAM:FILE:END` for each stream, separated
//! by commas, and what lies before it in the window was told already.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use wicketgate_sdk::{ErrorKind, LogBatch, LogMessage, LogRequest, Logs, ProviderError, Result, clock};

use crate::functions::first_task;
use crate::json::{list, number, text};
use crate::{Nomad, api};

/// How much of the end of a stream is read in a call, in bytes.
const WINDOW_BYTES: usize = 64 << 10;

/// The most of an answer, in bytes: frames are base64 within JSON.
const ANSWER_BYTES: usize = WINDOW_BYTES * 2;

/// The most allocations whose logs are read: the newest ones.
const ALLOCATIONS: usize = 8;

const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// How long a call that follows waits before it answers with nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest text that the contract takes, in bytes.
const TEXT_BYTES: usize = 64 << 10;

/// The number of a log file and how far it was told.
type Place = (u64, u64);

impl Logs for Nomad {
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch> {
        let mut places = match cursor {
            Some(text) => parse(text)
                .ok_or_else(|| ProviderError::cursor_expired(format!("{text:?} is no cursor of a log of nomad")))?,
            None => BTreeMap::new(),
        };
        let job = self.job(&request.name, &request.namespace)?;
        let task = text(first_task(&job), "Name");
        let what = format!("logs of {}.{}", request.name, request.namespace);
        let path = ["v1", "job", &self.job_id(&request.name), "allocations"];
        let found = api::fetch(api::get(&path, &request.namespace), &what)?;
        let mut allocations: Vec<&Value> = list(&found).iter().collect();
        if let Some(instance) = &request.instance {
            allocations.retain(|one| text(one, "ID") == *instance);
        }
        allocations.sort_by_key(|one| number(one, "CreateIndex"));
        allocations.drain(..allocations.len().saturating_sub(ALLOCATIONS));

        let now = clock::now_ms();
        let mut lines = Vec::new();
        for allocation in allocations.iter().map(|one| text(one, "ID")) {
            for stream in STREAMS {
                let key = format!("{allocation}:{stream}");
                let bytes = read(&allocation, &task, stream, &request.namespace, &what)?;
                let Some(window) = bytes else { continue };
                for (text, place) in window.lines(places.get(&key).copied(), request.follow) {
                    lines.push((key.clone(), allocation.clone(), text, place));
                }
            }
        }
        let skipped = match (request.tail, cursor) {
            (Some(tail), None) => lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)),
            _ => 0,
        };
        let told = skipped.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)).min(lines.len());
        let has_more = told < lines.len();
        let mut messages = Vec::new();
        for (index, (key, instance, text, place)) in lines.into_iter().take(told).enumerate() {
            places.insert(key, place);
            if index >= skipped {
                let (name, namespace) = (request.name.clone(), request.namespace.clone());
                messages.push(LogMessage { name, namespace, instance, timestamp_ms: now, text });
            }
        }
        if request.follow && messages.is_empty() {
            clock::wait(timeout.min(PAUSE));
        }
        places.retain(|key, _| allocations.iter().any(|one| key.starts_with(&text(one, "ID"))));
        let next = (request.follow || has_more).then(|| show(&places));
        Ok(LogBatch { messages, next })
    }
}

/// The end of a stream: its bytes, each with its place.
#[derive(Default)]
struct Window {
    pieces: Vec<(Place, Vec<u8>)>,
    /// Whether the stream is longer than the window, so that its first line is cut.
    is_cut: bool,
}

impl Window {
    /// Whole lines after a place, each with the place of its end. An unfinished last line is told only
    /// where nobody asks again.
    fn lines(&self, after: Option<Place>, follow: bool) -> Vec<(String, Place)> {
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        let mut end = after.unwrap_or_default();
        let mut is_first = true;
        for ((file, begin), bytes) in &self.pieces {
            for (byte, offset) in bytes.iter().zip(*begin..) {
                let place = (*file, offset + 1);
                let is_told = after.is_some_and(|after| place <= after);
                if *byte != b'\n' {
                    if !is_told {
                        line.push(*byte);
                        end = place;
                    }
                    continue;
                }
                // The window's first line lacks its beginning.
                if !(is_told || is_first && self.is_cut && after.is_none()) {
                    lines.push((cut(&line), place));
                }
                is_first = false;
                line.clear();
            }
        }
        if !line.is_empty() && !follow {
            lines.push((cut(&line), end));
        }
        lines
    }
}

fn cut(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line.get(..line.len().min(TEXT_BYTES / 4)).unwrap_or_default()).into_owned()
}

/// The window of a stream; `None` if there is none: the allocation is gone, or never started.
fn read(allocation: &str, task: &str, stream: &str, namespace: &str, what: &str) -> Result<Option<Window>> {
    let request = api::get(&["v1", "client", "fs", "logs", allocation], namespace);
    let request = request.query("task", task).query("type", stream);
    let request = request.query("origin", "end").query("offset", &WINDOW_BYTES.to_string());
    let answer = match api::send(request, what) {
        Ok(answer) => answer.bytes(ANSWER_BYTES)?,
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut window = Window::default();
    let mut total = 0;
    // Frames are JSON objects with nothing between them.
    for frame in serde_json::Deserializer::from_slice(&answer).into_iter::<Value>() {
        let frame = frame.map_err(|error| ProviderError::internal(format!("{what}: cannot read a frame: {error}")))?;
        let bytes = base64(&text(&frame, "Data"))
            .ok_or_else(|| ProviderError::internal(format!("{what}: a frame is not base64")))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let file = text(&frame, "File").rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        total += bytes.len();
        window.pieces.push(((file, number(&frame, "Offset").saturating_sub(length)), bytes));
    }
    window.is_cut = total >= WINDOW_BYTES;
    Ok(Some(window))
}

/// Plain bytes of base64 with padding (RFC 4648 section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).ok()?);
        }
    }
    Some(bytes)
}

fn parse(cursor: &str) -> Option<BTreeMap<String, Place>> {
    let mut places = BTreeMap::new();
    for part in cursor.split(',').filter(|part| !part.is_empty()) {
        let mut fields = part.rsplitn(3, ':');
        let (end, file, key) = (fields.next()?, fields.next()?, fields.next()?);
        places.insert(key.to_owned(), (file.parse().ok()?, end.parse().ok()?));
    }
    Some(places)
}

fn show(places: &BTreeMap<String, Place>) -> String {
    let parts: Vec<String> = places.iter().map(|(key, (file, end))| format!("{key}:{file}:{end}")).collect();
    parts.join(",")
}
