//! What a guest writes: to `wicketgate:host/log`, and to its standard output and error.
//!
//! Lines end up in the gateway's log under the target `wicketgate::guest`, with the provider and its
//! generation. Both their number in a call and their length are bounded, and control characters are
//! escaped, so that a guest can neither flood the log nor forge a line of it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::clock::Moment;
use crate::name::{Generation, ProviderName};
use crate::provider::Limits;

/// What a guest may write to its standard output at once.
const CHUNK_BYTES: usize = 4096;

/// Lines in a second, over all calls of a provider's plugin.
pub(super) struct LogRate {
    per_second: u32,
    /// The second, and the lines in it.
    window: Mutex<(u64, u32)>,
}

impl LogRate {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { per_second: limits.log_rate, window: Mutex::default() }
    }

    /// Whether one more line may be written in the second that `now` is in.
    fn take(&self, now: Moment) -> bool {
        let second = now.0 / 1_000_000_000;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != second {
            *window = (second, 0);
        }
        let is_free = window.1 < self.per_second;
        window.1 += u32::from(is_free);
        is_free
    }
}

/// The lines of one instance, bounded for each call.
pub(super) struct GuestLog {
    provider: ProviderName,
    generation: AtomicU64,
    lines: u32,
    left: AtomicU32,
    dropped: AtomicU32,
    line_bytes: usize,
    rate: Arc<LogRate>,
    dropped_total: IntCounter,
    /// The ends of what was printed that are no line yet: standard output and error.
    rests: [Mutex<Vec<u8>>; 2],
}

impl GuestLog {
    pub(super) fn new(provider: ProviderName, limits: &Limits, rate: Arc<LogRate>, dropped_total: IntCounter) -> Self {
        Self {
            provider,
            generation: AtomicU64::new(0),
            lines: limits.log_lines,
            left: AtomicU32::new(limits.log_lines),
            dropped: AtomicU32::new(0),
            line_bytes: limits.log_line_bytes,
            rate,
            dropped_total,
            rests: Default::default(),
        }
    }

    /// Begins the next call.
    pub(super) fn rearm(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Relaxed);
        self.left.store(self.lines, Ordering::Relaxed);
        self.dropped.store(0, Ordering::Relaxed);
    }

    /// Whose call runs: the provider, and the number of its generation; 0 of a candidate's.
    pub(super) fn whose(&self) -> (&ProviderName, u64) {
        (&self.provider, self.generation.load(Ordering::Relaxed))
    }

    /// The lines that the call has written so far.
    pub(super) fn used(&self) -> u32 {
        self.lines.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// Ends a call: what was printed without an end of line is one, and it is said if lines were dropped.
    pub(super) fn close(&self) {
        for stream in Stream::ALL {
            let rest = std::mem::take(&mut *self.rest(stream));
            if !rest.is_empty() {
                self.line(stream.level(), &String::from_utf8_lossy(&rest), &[]);
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.dropped_total.inc_by(u64::from(dropped));
            tracing::warn!(
                provider = %self.provider,
                generation = self.generation.load(Ordering::Relaxed),
                dropped,
                "the plugin logged more than {} lines in a call or {} in a second; raise `limits.log-lines` or \
                 `limits.log-rate` to see all",
                self.lines,
                self.rate.per_second
            );
        }
    }

    /// Writes a line, unless the call has none left.
    pub(super) fn line(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let took = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if took.is_err() || !self.rate.take(Moment::now()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let text = self.shown(message, fields);
        let (provider, generation) = self.whose();
        // The level of an event is part of its place in the code.
        match level {
            Level::ERROR => tracing::error!(target: "wicketgate::guest", %provider, generation, "{text}"),
            Level::WARN => tracing::warn!(target: "wicketgate::guest", %provider, generation, "{text}"),
            Level::INFO => tracing::info!(target: "wicketgate::guest", %provider, generation, "{text}"),
            Level::DEBUG => tracing::debug!(target: "wicketgate::guest", %provider, generation, "{text}"),
            Level::TRACE => tracing::trace!(target: "wicketgate::guest", %provider, generation, "{text}"),
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
        log.rearm(Generation(1));
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
        assert_eq!((0..10).filter(|_| rate.take(second(1))).count(), 3);
        assert_eq!((0..10).filter(|_| rate.take(second(2))).count(), 3);
    }
}
