//! `logs`: `/system/logs`, a stream of JSON objects, one a line, cut into batches.
//!
//! The API has no cursors, only `since`, and providers round that to seconds. A cursor therefore
//! says how far a batch came, `<milliseconds>.<lines delivered of that millisecond>`; the next
//! call asks `since` then and drops what it has delivered.

use std::time::Duration;

use wicketgate_sdk::http::{Request, Response};
use wicketgate_sdk::time::{format_rfc3339, parse_rfc3339};
use wicketgate_sdk::{ErrorKind, LogBatch, LogMessage, LogRequest, Logs, ProviderError, Result, clock};

use crate::{FaasProvider, url, wire};

/// The most of the stream that is read at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// The longest line of the stream, in bytes: 64 KiB of text can double when it is escaped.
const LINE_BYTES: usize = 256 << 10;

/// The longest text that the contract takes, in bytes.
const TEXT_BYTES: usize = 64 << 10;

impl Logs for FaasProvider {
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch> {
        let start = match cursor {
            Some(text) => Some(Place::parse(text).ok_or_else(|| {
                ProviderError::cursor_expired(format!("{text:?} is no cursor of a log of faas-provider"))
            })?),
            None => None,
        };
        let mut batch =
            Batch { request: &request, place: start.unwrap_or_default(), skip: start, limit, messages: Vec::new() };
        let ended = match ask(&request, start, timeout).and_then(|answer| batch.fill(answer)) {
            // While following, no line in time is an answer too: there is none.
            Err(error) if request.follow && error.kind == ErrorKind::Timeout => false,
            outcome => outcome?,
        };
        if request.follow && ended && batch.messages.is_empty() {
            // A provider that does not follow ends at once; without this pause the host would ask
            // again and again.
            clock::wait(timeout);
        }
        let next = if request.follow || !ended { Some(batch.place.to_string()) } else { None };
        Ok(LogBatch { messages: batch.messages, next })
    }
}

/// Opens the stream.
fn ask(request: &LogRequest, start: Option<Place>, timeout: Duration) -> Result<Response> {
    let mut ask = Request::get(url("system/logs")).query("name", &request.name).query("namespace", &request.namespace);
    if let Some(instance) = &request.instance {
        ask = ask.query("instance", instance);
    }
    if let Some(millis) = start.map(|place| place.millis).filter(|millis| *millis > 0).or(request.since_ms) {
        ask = ask.query("since", &format_rfc3339(millis));
    }
    if let (Some(tail), None) = (request.tail, start) {
        ask = ask.query("tail", &tail.to_string());
    }
    ask = ask.query("follow", if request.follow { "true" } else { "false" });
    if request.follow {
        ask = ask.timeout(timeout);
    }
    let answer = ask.send()?;
    if matches!(answer.status(), 404 | 501) {
        // A provider without logs has no such route.
        return Err(ProviderError::unsupported("the provider has no logs").with_status(answer.status()));
    }
    answer.success(&format!("logs of {}.{}", request.name, request.namespace))
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The time of the latest line, in milliseconds since the Unix epoch; 0 before the first.
    millis: u64,
    /// How many lines of that time were delivered.
    delivered: u32,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (millis, delivered) = text.split_once('.')?;
        Some(Self { millis: millis.parse().ok()?, delivered: delivered.parse().ok()? })
    }

    /// Takes note of a line.
    fn pass(&mut self, millis: u64) {
        if millis > self.millis {
            *self = Self { millis, delivered: 1 };
        } else if millis == self.millis {
            self.delivered = self.delivered.saturating_add(1);
        }
        // An earlier line, of another instance, does not move the place back.
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.millis, self.delivered)
    }
}

/// A batch on its way.
struct Batch<'a> {
    request: &'a LogRequest,
    place: Place,
    /// What was delivered before and is dropped now.
    skip: Option<Place>,
    limit: u32,
    messages: Vec<LogMessage>,
}

impl Batch<'_> {
    /// Reads the stream until the batch is full, the stream ends (`true`), or, while following, a
    /// piece brought something new.
    fn fill(&mut self, mut answer: Response) -> Result<bool> {
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let piece = match answer.read(PIECE_BYTES) {
                Ok(piece) => piece,
                // What came before the silence is an answer.
                Err(error) if error.kind == ErrorKind::Timeout && !self.messages.is_empty() => return Ok(false),
                Err(error) => return Err(error),
            };
            let ended = piece.is_none();
            rest.append(&mut piece.unwrap_or_default());
            if ended {
                rest.push(b'\n');
            }
            let mut lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
            let unfinished = lines.pop().unwrap_or_default().to_vec();
            for line in lines {
                if self.is_full() {
                    return Ok(false);
                }
                self.take(line);
            }
            if ended {
                return Ok(true);
            }
            if self.is_full() || (self.request.follow && !self.messages.is_empty()) {
                return Ok(false);
            }
            if unfinished.len() > LINE_BYTES {
                return Err(ProviderError::internal(format!("the provider's log has a line over {LINE_BYTES} bytes")));
            }
            rest = unfinished;
        }
    }

    fn is_full(&self) -> bool {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX) >= self.limit.max(1)
    }

    /// Takes one line of the stream, unless an earlier batch had it or it is no message.
    fn take(&mut self, line: &[u8]) {
        let Ok(message) = serde_json::from_slice::<wire::LogLine>(line) else { return };
        let millis = message.timestamp.as_deref().and_then(parse_rfc3339).unwrap_or(self.place.millis);
        if let Some(skip) = &mut self.skip {
            if millis < skip.millis {
                return;
            }
            if millis == skip.millis && skip.delivered > 0 {
                skip.delivered -= 1;
                return;
            }
        }
        self.place.pass(millis);
        let mut text = message.text.unwrap_or_default();
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        self.messages.push(LogMessage {
            name: message.name.filter(|n| !n.is_empty()).unwrap_or_else(|| self.request.name.clone()),
            namespace: message.namespace.filter(|n| !n.is_empty()).unwrap_or_else(|| self.request.namespace.clone()),
            instance: message.instance.unwrap_or_default(),
            timestamp_ms: millis,
            text,
        });
    }
}
