//! The black-box suite: the real binary, spoken to over sockets. Nothing here uses the library.

#![expect(unreachable_pub, reason = "a test binary has no outside; `pub` marks what a harness offers")]

mod architecture;
mod harness;
