//! Connections to HTTP servers, kept and reused: over TCP or a Unix socket, plain or TLS, HTTP/1.1 or HTTP/2.
//!
//! A [`Pool`] stands directly on hyper's connection types (the pooled client of hyper-util costs a
//! fifth of a forwarded request's processor time). It is one short critical section around a map,
//! so that a pool per worker thread never contends and a shared one is fine where it is not hot.
//! The *driver* of a connection is spawned on the runtime that opened it.
//!
//! What a [`Target`] may resolve to is asked of its [`AddressCheck`] for each address right before
//! it is dialled, so that a name cannot be rebound to somewhere else in between.

mod connect;
mod error;
pub(crate) mod gather;
mod never;
mod pool;
mod stream;
#[cfg(test)]
mod tests;

pub use connect::{AddressCheck, Place, Protocol, Target, Tls};
pub use error::Error;
pub use never::never_dialled;
pub use pool::{Body, Config, HEADER_FIELDS, Pool, Timeouts};
