//! `[listen]`'s bounds, `[forward]` and `[forward.pool]`: the data plane.

use std::time::Duration;

use toml::de::DeValue;

use super::section::Section;
use crate::{forward, listener, upstream};

const DAY: Duration = Duration::from_secs(86_400);
const TICK: Duration = Duration::from_millis(1);

/// The bounds of the listener, which stand beside its address.
pub(super) fn listener(section: &Section<'_>) -> listener::Config {
    let default = listener::Config::default();
    listener::Config {
        header_timeout: section.duration("header-timeout", default.header_timeout, Duration::from_secs(1)..=DAY),
        write_timeout: section.duration("write-timeout", default.write_timeout, Duration::from_secs(1)..=DAY),
        header_bytes: section.size("header-bytes", default.header_bytes, 8 << 10..=1 << 20),
        header_fields: section.count("header-fields", default.header_fields, 16..=10_000),
        connections: section.count("connections", default.connections, 1..=1_000_000),
        streams: section.count("streams", default.streams, 1..=100_000),
    }
}

/// How requests are forwarded.
pub(super) fn forward(section: &Section<'_>) -> forward::Config {
    let default = forward::Config::default();
    let any = section
        .value("body-bytes")
        .is_some_and(|value| matches!(value.get_ref(), DeValue::String(text) if text == "any"));
    forward::Config {
        upstream_timeout: section.duration("upstream-timeout", default.upstream_timeout, TICK..=DAY),
        connect_timeout: section.duration("connect-timeout", default.connect_timeout, TICK..=Duration::from_secs(300)),
        body_timeout: section.duration("body-timeout", default.body_timeout, TICK..=DAY),
        body_bytes: if any { u64::MAX } else { section.size("body-bytes", default.body_bytes, 0..=u64::MAX) },
        pool: pool(&section.section("pool")),
        tls: default.tls,
    }
}

fn pool(section: &Section<'_>) -> upstream::Config {
    let default = upstream::Config::default();
    upstream::Config {
        idle_per_target: section.count("idle-per-target", default.idle_per_target, 0..=100_000),
        idle: section.count("idle", default.idle, 0..=100_000),
        idle_timeout: section.duration("idle-timeout", default.idle_timeout, TICK..=DAY),
        header_bytes: section.size("header-bytes", default.header_bytes, 8 << 10..=1 << 20),
        header_fields: section.count("header-fields", default.header_fields, 16..=10_000),
    }
}
