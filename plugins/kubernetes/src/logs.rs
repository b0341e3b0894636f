//! `logs`: what the function's pods printed, merged by time.
//!
//! A cursor says for each pod how far it was told, `UID:NANOSECONDS:LINES` (the lines told of that very
//! nanosecond), separated by commas. Following is asking again: the API server's own following is a
//! stream for each pod, and nothing may be kept between calls.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::time::{format_rfc3339, parse_rfc3339};
use wicketgate_sdk::{ErrorKind, LogBatch, LogMessage, LogRequest, Logs, ProviderError, Result, clock};

use crate::Kubernetes;
use crate::api::{self, PODS};
use crate::object::{List, Metadata, text};

/// The most pods whose logs are read: the newest ones.
const MOST_PODS: usize = 10;

/// The most that is read of one pod in a call, in bytes.
const POD_BYTES: usize = 512 << 10;

/// The longest text that the contract takes, in bytes.
const TEXT_BYTES: usize = 64 << 10;

/// How long a call that follows waits before it answers with nothing.
const PAUSE: Duration = Duration::from_secs(1);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// How far a pod was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    nanos: u64,
    lines: u64,
}

/// One of at most [`MOST_PODS`] pods each, so that looking one up is looking through all.
type Places = Vec<(String, Place)>;

/// A line of a pod.
struct Line {
    nanos: u64,
    pod: usize,
    text: String,
}

impl Logs for Kubernetes {
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch> {
        let mut places = match cursor {
            Some(text) => parse(text).ok_or_else(|| {
                ProviderError::cursor_expired(format!("{text:?} is no cursor of a log of kubernetes"))
            })?,
            None => Places::new(),
        };
        let (pods, container) = self.pods(&request)?;
        let mut lines = Vec::new();
        let mut has_more = false;
        for (index, pod) in pods.iter().enumerate() {
            let place = places.iter().find(|(uid, _)| *uid == pod.uid).map(|(_, place)| *place);
            let log = read(&request, &pod.name, &container, place, cursor.is_none())?;
            has_more |= log.is_cut;
            let fresh = fresh(&log, place, request.since_ms);
            lines.extend(fresh.into_iter().map(|(nanos, text)| Line { nanos, pod: index, text }));
        }
        // By time; what is of one time stays in the order of the pods, and of a pod's lines.
        let lines = sorted(lines, |line| line.nanos);
        let skipped = match (request.tail, cursor) {
            (Some(tail), None) => lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)),
            _ => 0,
        };
        let told = skipped.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)).min(lines.len());
        has_more |= told < lines.len();
        let mut messages = Vec::with_capacity(told.saturating_sub(skipped));
        for (index, line) in lines.into_iter().take(told).enumerate() {
            let Some(pod) = pods.get(line.pod) else { continue };
            let place = match places.iter_mut().find(|(uid, _)| *uid == pod.uid) {
                Some((_, place)) => place,
                None => &mut places.push_mut((pod.uid.clone(), Place::default())).1,
            };
            *place = match place.nanos == line.nanos {
                true => Place { lines: place.lines + 1, ..*place },
                false => Place { nanos: line.nanos, lines: 1 },
            };
            if index >= skipped {
                messages.push(LogMessage {
                    name: request.name.clone(),
                    namespace: request.namespace.clone(),
                    instance: pod.name.clone(),
                    timestamp_ms: line.nanos / NANOS_PER_MILLI,
                    text: line.text,
                });
            }
        }
        if request.follow && messages.is_empty() {
            clock::wait(timeout.min(PAUSE));
        }
        // A pod that is gone says no more, and its place would stay in the cursor for ever.
        places.retain(|(uid, _)| pods.iter().any(|pod| pod.uid == *uid));
        let next = (request.follow || has_more).then(|| show(&places));
        Ok(LogBatch { messages, next })
    }
}

impl Kubernetes {
    /// The newest pods of a function, oldest first, and the name of the container that is the function.
    fn pods(&self, request: &LogRequest) -> Result<(Vec<Metadata>, String)> {
        let deployment = self.deployment(&request.name, &request.namespace)?;
        let container = deployment.container().map_or(request.name.clone(), |own| text(own, "name"));
        let selector: Vec<String> =
            deployment.selector.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let ask = api::get(PODS.all(&request.namespace)).query("labelSelector", &selector.join(","));
        let found: List<Metadata> = api::fetch(ask, &format!("pods of {}.{}", request.name, request.namespace))?;
        let mut pods = found.items;
        if let Some(instance) = &request.instance {
            pods.retain(|pod| pod.name == *instance);
        }
        let mut pods = sorted(pods, |pod| pod.creation_timestamp.as_deref().and_then(parse_rfc3339).unwrap_or(0));
        pods.drain(..pods.len().saturating_sub(MOST_PODS));
        Ok((pods, container))
    }
}

/// The same in the order of a time, and where that is equal in the order of before. One sort for all
/// lists, since each instance of one costs kilobytes.
fn sorted<T>(list: Vec<T>, time: impl Fn(&T) -> u64) -> Vec<T> {
    let mut order: Vec<(u64, usize)> = list.iter().enumerate().map(|(place, one)| (time(one), place)).collect();
    sort(&mut order);
    let mut list: Vec<Option<T>> = list.into_iter().map(Some).collect();
    order.iter().filter_map(|(_, place)| list.get_mut(*place)?.take()).collect()
}

#[inline(never)]
fn sort(order: &mut [(u64, usize)]) {
    order.sort_unstable();
}

/// What a pod printed.
#[derive(Default)]
struct Log {
    text: String,
    /// Whether there may be more of it.
    is_cut: bool,
}

fn read(request: &LogRequest, pod: &str, container: &str, place: Option<Place>, is_first: bool) -> Result<Log> {
    let url = format!("{}/log", PODS.one(&request.namespace, pod));
    let mut ask = Request::get(url).header("accept", "*/*").query("container", container).query("timestamps", "true");
    ask = ask.query("limitBytes", &POD_BYTES.to_string());
    if let Some(millis) = place.map(|place| place.nanos / NANOS_PER_MILLI).or(request.since_ms) {
        // The kubelet is told whole seconds; what was told already is dropped here.
        ask = ask.query("sinceTime", &format_rfc3339(millis / 1000 * 1000));
    }
    if let (Some(tail), true) = (request.tail, is_first) {
        ask = ask.query("tailLines", &tail.to_string());
    }
    let what = format!("log of pod {pod}.{}", request.namespace);
    match api::send(ask, &what) {
        Ok(answer) => {
            let text = answer.text(POD_BYTES)?;
            Ok(Log { is_cut: text.len() >= POD_BYTES, text })
        }
        // 404: the pod ended meanwhile. 400: its container has not started, and has no log yet.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid) => Ok(Log::default()),
        Err(error) => Err(error),
    }
}

/// The lines that were not told yet, each with its time.
fn fresh(log: &Log, place: Option<Place>, since_ms: Option<u64>) -> Vec<(u64, String)> {
    let since = since_ms.unwrap_or(0).saturating_mul(NANOS_PER_MILLI);
    let (mut nanos, mut same) = (0, 0);
    let mut lines = Vec::new();
    for line in log.text.split_inclusive('\n') {
        if log.is_cut && !line.ends_with('\n') {
            // The rest of it comes with the next call.
            break;
        }
        let line = line.trim_end_matches(['\n', '\r']);
        let text = match line.split_once(' ').map(|(time, text)| (nanos_of(time), text)) {
            Some((Some(time), text)) => {
                same = if time == nanos { same + 1 } else { 1 };
                nanos = time;
                text
            }
            // A line without a time belongs to the one before.
            _ => {
                same += 1;
                line
            }
        };
        let is_told = place.is_some_and(|place| nanos < place.nanos || nanos == place.nanos && same <= place.lines);
        if !is_told && nanos >= since {
            lines.push((nanos, cut(text)));
        }
    }
    if lines.is_empty()
        && log.is_cut
        && let Some(place) = place
    {
        // One second of this pod is longer than what is read at once: the rest of it is given up.
        let next = (place.nanos / 1_000_000_000 + 1) * 1_000_000_000;
        lines.push((next, "(lines of this second were left out: there are too many)".to_owned()));
    }
    lines
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Nanoseconds since 1970 of an RFC 3339 time with up to nine digits of fraction.
fn nanos_of(text: &str) -> Option<u64> {
    let millis = parse_rfc3339(text)?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.chars().take_while(char::is_ascii_digit).chain("000000000".chars());
    let below: String = digits.take(9).skip(3).collect();
    millis.checked_mul(NANOS_PER_MILLI)?.checked_add(below.parse().ok()?)
}

fn parse(cursor: &str) -> Option<Places> {
    let mut places = Places::new();
    for part in cursor.split(',').filter(|part| !part.is_empty()) {
        let mut fields = part.split(':');
        let (uid, nanos, lines) = (fields.next()?, fields.next()?, fields.next()?);
        places.push((uid.to_owned(), Place { nanos: nanos.parse().ok()?, lines: lines.parse().ok()? }));
    }
    Some(places)
}

fn show(places: &Places) -> String {
    let parts: Vec<String> =
        places.iter().map(|(uid, place)| format!("{uid}:{}:{}", place.nanos, place.lines)).collect();
    parts.join(",")
}
