//! Wicketgate: the gateway an edge node runs in front of its functions.
//!
//! A gateway knows *what* must happen to a request (`figlet` must have an instance, and get it); how a
//! platform does that is a **plugin**'s business, a WebAssembly component in a sandbox that is
//! loaded and replaced while the gateway runs. This page is the map.
//!
//! ```text
//!  clients                                            operators, faas-cli
//!     | /function/{name}[.ns]/...                         | /system/...     admin socket: /providers
//!     v                                                   v
//!  listener -> router -> invoke ----------------------> admin
//!                         |  1 scaler: is an instance ready?     |
//!                         |  2 forward: pick an endpoint, send   |
//!                         v                                      v
//!                      scaler --> query (ServiceQuery, Provider: the seam)
//!                                   |
//!                                   v
//!                      plugin (registry -> generation -> lease of an instance -> budget)
//!                                   |
//!                                   v
//!                      guest component  -- imports -->  host (egress, state, log, processes)
//!                                                            |
//!                                                            v
//!                                                       the platform
//! ```
//!
//! # Two planes
//!
//! The **data plane** ([`listener`], [`router`], [`invoke`], [`scaler`], [`forward`]) answers
//! requests. It knows nothing of wasmtime and is tested with a ten-line fake of
//! [`query::ServiceQuery`]. The **control plane** ([`admin`], [`control`], [`plugin`]) manages functions
//! and plugins. [`query`] lies below both. A request whose function has an instance never waits for a
//! plugin; one whose function has none joins the function's one cold start.
//!
//! # Three lifetimes
//!
//! The *engine* lives as long as the process; a *generation* (one loaded plugin with its grants and
//! limits) from its publish until its last call ended; a *lease* of an instance for one call, with
//! one budget. No type mixes two of them.
//!
//! # Layers
//!
//! A file uses its own row and rows below, never above; `tests/it/architecture.rs` keeps that.
//!
//! | row | modules |
//! | --- | --- |
//! | 5 | `main`, [`app`], [`cli`], [`config`], [`watchdog`] |
//! | 4 | [`listener`], [`admin`], [`conformance`] |
//! | 3 | [`invoke`], [`router`], [`respond`], [`control`] |
//! | 2 | [`scaler`], [`forward`], [`plugin`] |
//! | 1 | [`query`], [`host`], [`provider`], [`trust`], [`upstream`] |
//! | 0 | [`name`], [`metrics`], [`shutdown`], [`parse`] |

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod control;
pub mod forward;
pub mod host;
pub mod invoke;
pub mod listener;
pub mod metrics;
pub mod name;
pub mod parse;
pub mod plugin;
pub mod provider;
pub mod query;
pub mod respond;
pub mod router;
pub mod scaler;
pub mod shutdown;
pub mod trust;
pub mod upstream;
pub mod watchdog;
