//! The last lines that a group's replicas printed.

use std::collections::{HashMap, VecDeque};

use super::{OutputBatch, OutputLine, ProcessError};

/// What a line counts beside its text, in bytes: its place in memory. So many short lines are bounded too.
const LINE_COST: usize = 64;

/// How many replicas' worth of bytes a group holds in all: ended replicas stay readable for a while.
const GROUP_SHARES: usize = 4;

/// The longest line that is held, in bytes; longer ones are cut.
pub(super) const LINE_BYTES: usize = 8 << 10;

/// A ring for each replica, kept in the order of the group's lines so that one cursor reads them all.
#[derive(Default)]
pub(super) struct Output {
    /// Each with its number, counted from the first line ever printed; numbers grow.
    lines: VecDeque<(u64, OutputLine)>,
    next: u64,
    bytes: usize,
    /// What each replica has of `bytes`; only those that have lines.
    shares: HashMap<String, usize>,
}

impl Output {
    /// Adds a line. A replica holds at most `share` bytes: a chatty one pushes out its own lines first.
    pub(super) fn push(&mut self, line: OutputLine, share: usize) {
        let cost = cost(&line);
        let instance = line.instance.clone();
        self.bytes += cost;
        *self.shares.entry(instance.clone()).or_default() += cost;
        self.lines.push_back((self.next, line));
        self.next += 1;
        while self.shares.get(&instance).is_some_and(|bytes| *bytes > share.max(cost)) {
            let oldest = self.lines.iter().position(|(_number, line)| line.instance == instance);
            if oldest.is_none_or(|index| !self.forget(index)) {
                break;
            }
        }
        while self.bytes > share.saturating_mul(GROUP_SHARES).max(cost) && self.forget(0) {}
    }

    fn forget(&mut self, index: usize) -> bool {
        let Some((_number, line)) = self.lines.remove(index) else { return false };
        let cost = cost(&line);
        self.bytes -= cost;
        if let Some(bytes) = self.shares.get_mut(&line.instance) {
            *bytes -= cost;
            if *bytes == 0 {
                self.shares.remove(&line.instance);
            }
        }
        true
    }

    /// At most `limit` lines from number `from` on; without one, from the oldest held. Lines that were dropped
    /// in between are skipped, not an error: whoever reads logs wants what is there.
    pub(super) fn read(&self, from: Option<u64>, limit: usize) -> Result<(OutputBatch, u64), ProcessError> {
        let from = from.unwrap_or(0);
        if from > self.next {
            return Err(ProcessError::CursorExpired);
        }
        let begin = self.lines.partition_point(|(number, _line)| *number < from);
        let read: Vec<&(u64, OutputLine)> = self.lines.iter().skip(begin).take(limit).collect();
        let next = read.last().map_or(self.next, |(number, _line)| number + 1);
        let lines = read.into_iter().map(|(_number, line)| line.clone()).collect();
        Ok((OutputBatch { lines, cursor: String::new() }, next))
    }
}

fn cost(line: &OutputLine) -> usize {
    line.text.len() + LINE_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for ten lines of one letter.
    const SHARE: usize = 10 * (LINE_COST + 1);

    fn line(instance: &str, number: u64, text: &str) -> OutputLine {
        OutputLine { instance: instance.to_owned(), timestamp_ms: number, text: text.to_owned() }
    }

    #[test]
    fn the_oldest_lines_go_first_and_readers_skip_them() {
        let mut output = Output::default();
        for number in 0..15 {
            output.push(line("a", number, "x"), SHARE);
        }
        let (batch, next) = output.read(Some(2), 1).unwrap();
        assert_eq!((batch.lines[0].timestamp_ms, next), (5, 6));
        assert_eq!(output.read(Some(15), 1).unwrap().0.lines, []);
        assert!(matches!(output.read(Some(16), 1), Err(ProcessError::CursorExpired)));
    }

    #[test]
    fn a_chatty_replica_pushes_out_its_own_lines_and_not_those_of_another() {
        let mut output = Output::default();
        output.push(line("quiet", 0, "q"), SHARE);
        for number in 1..=100 {
            output.push(line("chatty", number, "x"), SHARE);
        }
        let (batch, _next) = output.read(None, 1000).unwrap();
        assert_eq!(batch.lines.len(), 11);
        assert_eq!((batch.lines[0].instance.as_str(), batch.lines[1].timestamp_ms), ("quiet", 91));
    }

    #[test]
    fn all_replicas_together_are_bounded() {
        let mut output = Output::default();
        let long = "x".repeat(LINE_BYTES);
        for number in 0..100_u64 {
            output.push(line(&number.to_string(), number, &long), 2 * LINE_BYTES);
        }
        assert!(output.bytes <= 8 * LINE_BYTES && !output.lines.is_empty());
        assert_eq!(output.shares.len(), output.lines.len());
        assert_eq!(output.shares.values().sum::<usize>(), output.bytes);
    }
}
