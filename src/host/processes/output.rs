//! The last lines that a group's replicas printed.

use std::collections::VecDeque;

use super::{OutputBatch, OutputLine, ProcessError};

/// How many lines of a group are held.
const LINES: usize = 1000;

/// How many bytes of lines of a group are held.
const BYTES: usize = 256 << 10;

/// The longest line that is held, in bytes; longer ones are cut.
pub(super) const LINE_BYTES: usize = 8 << 10;

#[derive(Default)]
pub(super) struct Output {
    lines: VecDeque<OutputLine>,
    bytes: usize,
    /// The number of the first line held, counted from the first one ever printed.
    first: u64,
}

impl Output {
    pub(super) fn push(&mut self, line: OutputLine) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
            self.first += 1;
        }
    }

    /// At most `limit` lines from number `from` on; without one, from the oldest held.
    pub(super) fn read(&self, from: Option<u64>, limit: usize) -> Result<(OutputBatch, u64), ProcessError> {
        let from = from.unwrap_or(self.first);
        let end = self.first + self.lines.len() as u64;
        if from > end {
            return Err(ProcessError::CursorExpired);
        }
        // Lines that were dropped in between are skipped, not an error: whoever reads logs wants what is there.
        let from = from.max(self.first);
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let lines: Vec<OutputLine> = self.lines.iter().skip(skip).take(limit).cloned().collect();
        let next = from + lines.len() as u64;
        Ok((OutputBatch { lines, cursor: String::new() }, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, text: &str) -> OutputLine {
        OutputLine { instance: "i".to_owned(), timestamp_ms: number, text: text.to_owned() }
    }

    #[test]
    fn the_oldest_lines_go_first_and_readers_skip_them() {
        let mut output = Output::default();
        for number in 0..LINES as u64 + 5 {
            output.push(line(number, "x"));
        }
        let (batch, next) = output.read(Some(2), 1).unwrap();
        assert_eq!((batch.lines[0].timestamp_ms, next), (5, 6));
        assert!(matches!(output.read(Some(LINES as u64 + 6), 1), Err(ProcessError::CursorExpired)));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut output = Output::default();
        let long = "x".repeat(LINE_BYTES);
        for number in 0..100 {
            output.push(line(number, &long));
        }
        assert!(output.bytes <= BYTES && !output.lines.is_empty());
    }
}
