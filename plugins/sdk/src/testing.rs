//! The host's side, played by the test: whatever a plugin asks for on a target that is not
//! wasm32 is answered from here. Everything belongs to the thread, and so to the test.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::http::{Failure, Head, Request};
use crate::log::Level;

pub(crate) mod processes;
pub(crate) mod store;

pub use processes::{Processes, play_processes};

/// A line that the plugin wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// The facts beside it.
    pub fields: Vec<(String, String)>,
}

/// What the platform answers to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a status and a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same answer with a field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Plays the platform: gets each request, and answers it or fails it.
type Platform = Box<dyn FnMut(&Request) -> Result<Answer, Failure>>;

thread_local! {
    static DOCUMENT: RefCell<String> = RefCell::new("{}".to_owned());
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    static PLATFORM: RefCell<Option<Platform>> = const { RefCell::new(None) };
    static REQUESTS: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    static NOW_MS: Cell<u64> = const { Cell::new(1_700_000_000_000) };
}

/// Sets the provider's `config` table, as a JSON object. It is `{}` at first.
pub fn set_config(document: &str) {
    DOCUMENT.replace(document.to_owned());
}

/// Plays the platform from now on.
pub fn play_platform(platform: impl FnMut(&Request) -> Result<Answer, Failure> + 'static) {
    PLATFORM.replace(Some(Box::new(platform)));
}

/// The requests that were sent since the last look.
#[must_use]
pub fn take_requests() -> Vec<Request> {
    REQUESTS.take()
}

/// The lines that were logged since the last look.
#[must_use]
pub fn take_lines() -> Vec<Line> {
    LINES.take()
}

/// Lets time pass.
pub fn pass(span: Duration) {
    NOW_MS.set(now_ms().saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
}

/// The time of day, which only [`pass`] and waiting move.
#[must_use]
pub fn now_ms() -> u64 {
    NOW_MS.get()
}

pub(crate) fn config_document() -> String {
    DOCUMENT.with_borrow(String::clone)
}

pub(crate) fn config_key(key: &str) -> Option<String> {
    let table: serde_json::Value = serde_json::from_str(&config_document()).ok()?;
    let value = table.get(key)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

pub(crate) fn record_line(level: Level, message: &str, fields: &[(String, String)]) {
    LINES.with_borrow_mut(|lines| lines.push(Line { level, message: message.to_owned(), fields: fields.to_vec() }));
}

/// The rest of an answer's body.
#[derive(Debug)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    #[expect(clippy::unnecessary_wraps, reason = "the component's transport can fail here")]
    pub(crate) fn read(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let rest = self.0.split_off(limit.min(self.0.len()));
        Ok(Some(std::mem::replace(&mut self.0, rest)))
    }
}

/// Played answers are there at once: the first one always has more, or came to its end.
pub(crate) fn ready(bodies: &[&Body], _span: Duration) -> Option<usize> {
    (!bodies.is_empty()).then_some(0)
}

pub(crate) fn exchange(request: Request) -> Result<Head<Body>, Failure> {
    let answer = PLATFORM.with_borrow_mut(|platform| match platform {
        Some(platform) => platform(&request),
        None => Err(Failure { kind: crate::ErrorKind::Unavailable, text: "no platform is played".to_owned() }),
    });
    REQUESTS.with_borrow_mut(|requests| requests.push(request));
    answer.map(|answer| (answer.status, answer.headers, Body(answer.body)))
}
