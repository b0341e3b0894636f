//! What a guest writes: to `wicketgate:host/log`, and to its standard output and error.
//!
//! Lines end up in the gateway's log under the target `wicketgate::guest`, with the provider, its
//! generation, the function that the call is about and the call id of the request that needed it. Both
//! their number in a call and their length are bounded, and control characters are escaped, so that a
//! guest can neither flood the log nor forge a line of it. What the host itself says of a call, a denied
//! request above all, has a few lines of its own under the gateway's own target: a guest that used up its
//! lines hides nothing.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::clock::Moment;
use crate::name::{FunctionRef, Generation, ProviderName};
use crate::provider::Limits;
use crate::query::caller;

/// What a guest may write to its standard output at once.
const CHUNK_BYTES: usize = 4096;

/// Lines in a second, over all calls of a provider's plugin: its own, and the host's about it.
pub(super) struct LogRate {
    guest: Window,
    host: Window,
}

impl LogRate {
    pub(super) fn new(limits: &Limits) -> Self {
        let window = || Window { per_second: limits.log_rate, lines: Mutex::default() };
        Self { guest: window(), host: window() }
    }
}

/// A bound on lines in a second.
struct Window {
    per_second: u32,
    /// The second, and the lines in it.
    lines: Mutex<(u64, u32)>,
}

impl Window {
    /// Whether one more line may be written in the second that `now` is in.
    fn take(&self, now: Moment) -> bool {
        let second = now.0 / 1_000_000_000;
        let mut window = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != second {
            *window = (second, 0);
        }
        let is_free = window.1 < self.per_second;
        window.1 += u32::from(is_free);
        is_free
    }
}

/// Writes a line with what it belongs to. A macro, since target and level of an event are part of its place
/// in the code.
macro_rules! tell {
    ($log:expr, $text:expr, $level:ident $(, target: $target:literal)?) => {{
        let (provider, call) = (&$log.provider, $log.call());
        tracing::$level!(
            $(target: $target,)?
            %provider,
            generation = call.generation.0,
            function = call.function.as_ref().map(tracing::field::display),
            call_id = call.call_id.as_deref(),
            "{}",
            $text
        );
    }};
}

/// Takes one of the lines that are left, if there is one.
fn take(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// What a line is told with, beside the provider.
#[derive(Default)]
struct CallFacts {
    generation: Generation,
    function: Option<FunctionRef>,
    call_id: Option<Arc<str>>,
}

/// The lines of one instance, bounded for each call.
pub(super) struct GuestLog {
    provider: ProviderName,
    call: Mutex<CallFacts>,
    lines: u32,
    left: AtomicU32,
    host_lines: u32,
    host_left: AtomicU32,
    dropped: AtomicU32,
    line_bytes: usize,
    rate: Arc<LogRate>,
    dropped_total: IntCounter,
    /// The ends of what was printed that are no line yet: standard output and error.
    rests: [Mutex<Vec<u8>>; 2],
    /// Whether there may be one. Most calls print nothing, and their end takes no lock for it.
    has_rest: AtomicBool,
}

impl GuestLog {
    pub(super) fn new(provider: ProviderName, limits: &Limits, rate: Arc<LogRate>, dropped_total: IntCounter) -> Self {
        Self {
            provider,
            call: Mutex::default(),
            lines: limits.log_lines,
            left: AtomicU32::new(limits.log_lines),
            host_lines: limits.host_log_lines,
            host_left: AtomicU32::new(limits.host_log_lines),
            dropped: AtomicU32::new(0),
            line_bytes: limits.log_line_bytes,
            rate,
            dropped_total,
            rests: Default::default(),
            has_rest: AtomicBool::new(false),
        }
    }

    /// Begins the next call: of this generation, about this function if it is about one, on behalf of the
    /// request that the current task works for.
    pub(super) fn rearm(&self, generation: Generation, function: Option<&FunctionRef>) {
        let mut call = self.call();
        (call.generation, call.call_id) = (generation, caller::current());
        // Mostly the one of the call before.
        if call.function.as_ref() != function {
            call.function = function.cloned();
        }
        drop(call);
        self.left.store(self.lines, Ordering::Relaxed);
        self.host_left.store(self.host_lines, Ordering::Relaxed);
        self.dropped.store(0, Ordering::Relaxed);
    }

    /// Whose call runs: the provider, and the number of its generation; 0 of a candidate's.
    pub(super) fn whose(&self) -> (&ProviderName, u64) {
        (&self.provider, self.call().generation.0)
    }

    fn call(&self) -> MutexGuard<'_, CallFacts> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines that the call has written so far.
    pub(super) fn used(&self) -> u32 {
        self.lines.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// Ends a call: what was printed without an end of line is one, and it is said if lines were dropped.
    pub(super) fn close(&self) {
        if self.has_rest.load(Ordering::Relaxed) {
            self.has_rest.store(false, Ordering::Relaxed);
            for stream in Stream::ALL {
                let rest = std::mem::take(&mut *self.rest(stream));
                if !rest.is_empty() {
                    self.line(stream.level(), &String::from_utf8_lossy(&rest), &[]);
                }
            }
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            self.dropped.store(0, Ordering::Relaxed);
            self.dropped_total.inc_by(u64::from(dropped));
            let text = format!(
                "the plugin logged more than {} lines in a call or {} in a second, or more of its requests failed \
                 than are told: {dropped} lines were dropped; raise `limits.log-lines`, `limits.log-rate` or \
                 `limits.host-log-lines` to see all",
                self.lines, self.rate.guest.per_second
            );
            tell!(self, text, warn);
        }
    }

    /// Writes a line of the guest's, unless the call has none left.
    pub(super) fn line(&self, level: Level, message: &str, fields: &[(String, String)]) {
        if !take(&self.left) || !self.rate.guest.take(Moment::now()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let text = self.shown(message, fields);
        match level {
            Level::ERROR => tell!(self, text, error, target: "wicketgate::guest"),
            Level::WARN => tell!(self, text, warn, target: "wicketgate::guest"),
            Level::INFO => tell!(self, text, info, target: "wicketgate::guest"),
            Level::DEBUG => tell!(self, text, debug, target: "wicketgate::guest"),
            Level::TRACE => tell!(self, text, trace, target: "wicketgate::guest"),
        }
    }

    /// Writes a warning of the host's about what the guest did, unless the call has none of those left. The
    /// guest's own lines are counted apart.
    pub(super) fn host_line(&self, message: &str) {
        if take(&self.host_left) && self.rate.host.take(Moment::now()) {
            tell!(self, self.shown(message, &[]), warn);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn rest(&self, stream: Stream) -> MutexGuard<'_, Vec<u8>> {
        let [output, error] = &self.rests;
        let rest = match stream {
            Stream::Output => output,
            Stream::Error => error,
        };
        rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, message: &str, fields: &[(String, String)]) -> String {
        let mut text = String::with_capacity(message.len().min(self.line_bytes));
        escape(&mut text, message, self.line_bytes);
        for (key, value) in fields {
            if text.len() >= self.line_bytes {
                break;
            }
            text.push(' ');
            escape(&mut text, key, self.line_bytes);
            text.push('=');
            escape(&mut text, value, self.line_bytes);
        }
        text
    }
}

/// Appends `part` with control characters escaped, until `text` has about `max` bytes.
fn escape(text: &mut String, part: &str, max: usize) {
    for character in part.chars() {
        if text.len() + character.len_utf8() > max {
            text.push('…');
            return;
        }
        if character.is_control() {
            // Writing to a text cannot fail.
            let _ = write!(text, "{}", character.escape_default());
        } else {
            text.push(character);
        }
    }
}

/// Which of a guest's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Its standard output.
    Output,
    /// Its standard error.
    Error,
}

impl Stream {
    const ALL: [Self; 2] = [Self::Output, Self::Error];

    /// How its lines are logged.
    fn level(self) -> Level {
        match self {
            Self::Output => Level::INFO,
            Self::Error => Level::WARN,
        }
    }
}

/// A guest's standard output or error: its lines go to the log.
#[derive(Clone)]
pub(super) struct LogStream {
    log: Arc<GuestLog>,
    stream: Stream,
}

impl LogStream {
    pub(super) fn new(log: Arc<GuestLog>, stream: Stream) -> Self {
        Self { log, stream }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.1 and 0.3 ask for this one, and neither is linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut rest = self.log.rest(self.stream);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = self.log.line_bytes.saturating_sub(rest.len());
            rest.extend(piece.iter().filter(|byte| **byte != b'\n').take(room));
            if piece.ends_with(b"\n") {
                self.log.line(self.stream.level(), &String::from_utf8_lossy(&rest), &[]);
                rest.clear();
            }
        }
        self.log.has_rest.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::super::captured::Captured;
    use super::*;

    fn log(lines: u32, bytes: usize) -> GuestLog {
        let limits = Limits { log_lines: lines, log_line_bytes: bytes, ..Limits::default() };
        let rate = Arc::new(LogRate::new(&limits));
        GuestLog::new("edge".parse().unwrap(), &limits, rate, IntCounter::new("dropped", "Dropped.").unwrap())
    }

    #[test]
    fn lines_are_cut_and_cannot_forge_others() {
        let log = log(1, 24);
        assert_eq!(log.shown("a\nlevel=ERROR", &[]), "a\\nlevel=ERROR");
        assert_eq!(log.shown("x", &[("k".into(), "\u{1b}[31m".into())]), "x k=\\u{1b}[31m");
        assert!(log.shown(&"é".repeat(40), &[("k".into(), "v".into())]).len() <= 24 + '…'.len_utf8());
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_until_the_next_call() {
        let log = log(2, 100);
        assert_eq!(log.used(), 0);
        for _ in 0..5 {
            log.line(Level::INFO, "again", &[]);
        }
        assert_eq!(log.used(), 2);
        log.close();
        assert_eq!(log.dropped_total.get(), 3);
        log.rearm(Generation(1), None);
        log.line(Level::INFO, "again", &[]);
        log.close();
        assert_eq!(log.dropped_total.get(), 3);
    }

    #[test]
    fn standard_output_becomes_lines_of_bounded_length() {
        let log = Arc::new(log(3, 8));
        let mut stream = LogStream::new(Arc::clone(&log), Stream::Output);
        stream.write(Bytes::from_static(b"one\ntwo three four five")).unwrap();
        assert_eq!(log.rest(Stream::Output).len(), 8);
        stream.write(Bytes::from_static(b"\n\n\n")).unwrap();
        assert!(log.rest(Stream::Output).is_empty());
        log.close();
        assert_eq!(log.dropped_total.get(), 1);
    }

    #[test]
    fn what_was_printed_without_an_end_of_line_is_told_at_the_end_of_the_call() {
        let log = Arc::new(log(2, 100));
        LogStream::new(Arc::clone(&log), Stream::Error).write(Bytes::from_static(b"thread panicked")).unwrap();
        log.close();
        assert!(log.rest(Stream::Error).is_empty());
        assert_eq!(log.left.load(Ordering::Relaxed), 1, "it was a line");
    }

    #[test]
    fn lines_of_many_calls_share_one_rate() {
        let rate = LogRate::new(&Limits { log_rate: 3, ..Limits::default() });
        let second = |seconds: u64| Moment(seconds * 1_000_000_000 + 5);
        assert_eq!((0..10).filter(|_| rate.guest.take(second(1))).count(), 3);
        assert_eq!((0..10).filter(|_| rate.host.take(second(1))).count(), 3, "a flood leaves room for the host");
        assert_eq!((0..10).filter(|_| rate.guest.take(second(2))).count(), 3);
    }

    #[tokio::test]
    async fn lines_name_function_and_call_and_no_flood_hides_the_hosts() {
        let (captured, _guard) = Captured::begin();
        let log = log(2, 200);
        let figlet = FunctionRef { name: "figlet".parse().unwrap(), namespace: "dev".parse().unwrap() };
        caller::on_behalf_of(Some("call-7".into()), async { log.rearm(Generation(3), Some(&figlet)) }).await;
        for _ in 0..5 {
            log.line(Level::INFO, "noise", &[]);
        }
        for _ in 0..20 {
            log.host_line("no grant is named x");
        }
        log.close();
        assert_eq!(log.dropped_total.get(), 3 + 12);
        log.rearm(Generation(4), None);
        log.line(Level::INFO, "of nobody", &[]);

        let text = captured.text();
        let facts = r#"provider=edge generation=3 function=figlet.dev call_id="call-7""#;
        let told = |what: &str| text.lines().filter(|line| line.contains(what) && line.contains(facts)).count();
        assert_eq!((told("noise"), told("no grant is named x"), told("were dropped")), (2, 8, 1), "{text}");
        assert!(text.lines().any(|line| line.contains("of nobody") && line.ends_with("generation=4")), "{text}");
    }
}
