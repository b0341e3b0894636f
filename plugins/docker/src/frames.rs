//! What containers print, cut into lines.
//!
//! Without a terminal the engine sends frames: a byte for the stream (0 to 2), three zeros, the length
//! of what follows as a big-endian number of 32 bits, and a line (Engine API, `ContainerAttach`). With
//! a terminal it sends the bytes as they are. Every line begins with its time, so the first byte tells.

use wicketgate_sdk::Result;

/// The length of a frame's head, in bytes.
const HEAD_BYTES: usize = 8;

/// How much of a line is kept, in bytes: the contract's longest text, and room for time and details.
const LINE_BYTES: usize = 72 << 10;

/// Cuts lines out of a stream. Memory is bounded by one line.
#[derive(Default)]
pub(crate) struct Frames {
    /// Known after the first byte.
    is_framed: Option<bool>,
    head: Vec<u8>,
    /// What is left of the frame.
    left: usize,
    line: Vec<u8>,
}

impl Frames {
    /// Takes a piece of the stream; `take` gets each line without its end and says whether to go on.
    /// Answers whether it wants more.
    pub(crate) fn feed(&mut self, mut piece: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        while let Some(first) = piece.first() {
            let is_framed = *self.is_framed.get_or_insert(*first <= 2);
            let more = if is_framed { self.frame(&mut piece, take)? } else { self.raw(&mut piece, take)? };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn frame(&mut self, piece: &mut &[u8], take: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        if self.left == 0 {
            let (head, rest) = piece.split_at(piece.len().min(HEAD_BYTES - self.head.len()));
            self.head.extend_from_slice(head);
            *piece = rest;
            if let Some(length) = self.head.get(4..HEAD_BYTES).and_then(|bytes| bytes.try_into().ok()) {
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.head.clear();
                self.line.clear();
            }
            return Ok(true);
        }
        let (part, rest) = piece.split_at(piece.len().min(self.left));
        *piece = rest;
        self.left -= part.len();
        self.keep(part);
        if self.left > 0 { Ok(true) } else { self.give(take) }
    }

    fn raw(&mut self, piece: &mut &[u8], take: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (part, rest) = piece.split_at(end.unwrap_or(piece.len()));
        *piece = rest.get(1..).unwrap_or_default();
        self.keep(part);
        if end.is_none() { Ok(true) } else { self.give(take) }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
    }

    fn give(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        let end = self.line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        self.line.truncate(end);
        let more = take(&self.line)?;
        self.line.clear();
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.bytes());
        bytes
    }

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in pieces {
            let more = frames.feed(piece, &mut |line| {
                found.push(String::from_utf8_lossy(line).into_owned());
                Ok(true)
            });
            assert!(more.unwrap());
        }
        found
    }

    #[test]
    fn frames_are_cut_wherever_the_pieces_end() {
        let stream = [frame(1, "one\n"), frame(2, "two"), frame(1, "\r\n")].concat();
        for at in 0..stream.len() {
            assert_eq!(lines(&[&stream[..at], &stream[at..]]), ["one", "two", ""], "cut at {at}");
        }
    }

    #[test]
    fn a_terminals_bytes_are_cut_at_line_ends() {
        assert_eq!(lines(&[b"2026 on", b"e\r\n2026 two\n2026 thr"]), ["2026 one", "2026 two"]);
    }

    #[test]
    fn a_frame_that_claims_four_gigabytes_costs_one_line() {
        let mut frames = Frames::default();
        let head = [1, 0, 0, 0, 255, 255, 255, 255];
        frames.feed(&head, &mut |_| panic!()).unwrap();
        for _ in 0..100 {
            frames.feed(&[b'x'; 4096], &mut |_| panic!()).unwrap();
        }
        assert!(frames.line.capacity() <= 2 * LINE_BYTES, "{}", frames.line.capacity());
    }

    #[test]
    fn who_has_enough_gets_no_more() {
        let stream = [frame(1, "one"), frame(1, "two")].concat();
        let mut count = 0;
        let more = Frames::default().feed(&stream, &mut |_| {
            count += 1;
            Ok(false)
        });
        assert_eq!((more.unwrap(), count), (false, 1));
    }
}
