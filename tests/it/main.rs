//! The black-box suite: the real binary, spoken to over sockets. Nothing here uses the library.
//!
//! The suite wants the bundled plugins built (`cargo xtask plugins`) and python3 for the platform that
//! it scales on; `cargo xtask test` takes care of both.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_in_result,
    clippy::needless_pass_by_value,
    reason = "a test that meets what it does not expect has failed; clippy knows that only of `#[test]` functions"
)]
#![expect(unreachable_pub, reason = "a test binary has no outside; `pub` marks what a harness offers")]

mod admin;
mod architecture;
mod compile;
mod config;
mod conformance;
mod docker;
mod ecs;
mod endpoints;
mod faas_provider;
mod forks;
mod forward;
mod harness;
mod kubernetes;
mod local;
mod logs;
mod metrics;
mod nomad;
mod plugin_check;
mod plugins;
mod podman;
mod readme;
mod replicas;
mod scale;
mod several;
mod shutdown;
mod sigstore;
mod swap;
mod trust;
