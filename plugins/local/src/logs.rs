//! `logs`: what the host still holds of the processes' output.

use std::time::Duration;

use wicketgate_sdk::processes::{self, OutputLine, ProcessError};
use wicketgate_sdk::{LogBatch, LogMessage, LogRequest, Logs, Result, clock};

use crate::Local;

/// The cursor of a function that has not printed anything, because it never ran.
const BEGINNING: &str = "-";

/// Lines asked for at once.
const PIECE: u32 = 1000;

/// Pieces read in search of the last lines. The host holds fewer.
const PIECES: u32 = 64;

/// The longest text that the contract takes, in bytes.
const TEXT_BYTES: usize = 64 << 10;

impl Logs for Local {
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch> {
        let group = self.function(&request.name, &request.namespace)?.group;
        let cursor = cursor.filter(|cursor| *cursor != BEGINNING);
        let limit = limit.clamp(1, PIECE);
        let read = match (cursor, request.tail) {
            (None, Some(tail)) => last_lines(&request, &group, tail.min(limit)),
            _ => some_lines(&request, &group, cursor, limit, timeout),
        };
        let (lines, next) = match read {
            Ok(read) => read,
            Err(ProcessError::NotFound) => {
                if request.follow {
                    clock::wait(timeout);
                }
                (Vec::new(), Some(BEGINNING.to_owned()))
            }
            Err(error) => return Err(error.into()),
        };
        let next = next.filter(|cursor| request.follow || cursor != BEGINNING);
        let messages = lines.into_iter().map(|line| message(&request, line)).collect();
        Ok(LogBatch { messages, next })
    }
}

type Lines = (Vec<OutputLine>, Option<String>);

/// What follows the cursor. The cursor of the next call is `None` when that is all.
fn some_lines(
    request: &LogRequest,
    group: &str,
    cursor: Option<&str>,
    limit: u32,
    timeout: Duration,
) -> Result<Lines, ProcessError> {
    let wait = if request.follow { u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX) } else { 0 };
    let batch = processes::output(group, cursor, limit, wait)?;
    let is_all = !request.follow && batch.lines.is_empty();
    let lines = batch.lines.into_iter().filter(|line| is_wanted(request, line)).collect();
    Ok((lines, (!is_all).then_some(batch.cursor)))
}

/// The last lines of what is there.
fn last_lines(request: &LogRequest, group: &str, tail: u32) -> Result<Lines, ProcessError> {
    let tail = usize::try_from(tail).unwrap_or(usize::MAX);
    let mut last = std::collections::VecDeque::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PIECES {
        let batch = processes::output(group, cursor.as_deref(), PIECE, 0)?;
        cursor = Some(batch.cursor);
        if batch.lines.is_empty() {
            break;
        }
        last.extend(batch.lines.into_iter().filter(|line| is_wanted(request, line)));
        last.drain(..last.len().saturating_sub(tail));
    }
    Ok((last.into(), cursor.filter(|_| request.follow)))
}

fn is_wanted(request: &LogRequest, line: &OutputLine) -> bool {
    request.instance.as_ref().is_none_or(|instance| *instance == line.instance)
        && request.since_ms.is_none_or(|since| line.timestamp_ms >= since)
}

fn message(request: &LogRequest, line: OutputLine) -> LogMessage {
    let mut text = line.text;
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    LogMessage {
        name: request.name.clone(),
        namespace: request.namespace.clone(),
        instance: line.instance,
        timestamp_ms: line.timestamp_ms,
        text,
    }
}
