//! `[scaling]`: when the platform is asked, and how long callers wait.

use std::time::Duration;

use super::section::Section;
use crate::scaler::Config;

pub(super) fn read(section: &Section<'_>) -> Config {
    let default = Config::default();
    let ms = Duration::from_millis;
    let s = Duration::from_secs;
    let config = Config {
        scale_from_zero: section.switch("scale-from-zero", default.scale_from_zero),
        cache_ttl: section.duration("cache-ttl", default.cache_ttl, ms(250)..=s(60)),
        stale_ttl: section.duration("stale-ttl", default.stale_ttl, ms(250)..=s(3600)),
        stale_if_error: section.duration("stale-if-error", default.stale_if_error, ms(250)..=s(86_400)),
        negative_ttl: section.duration("negative-ttl", default.negative_ttl, s(0)..=s(60)),
        negative_entries: section.count("negative-entries", default.negative_entries, 1..=1_000_000),
        lookups: section.count("lookups", default.lookups, 1..=10_000),
        scale_timeout: section.duration("scale-timeout", default.scale_timeout, s(1)..=s(3600)),
        scale_backoff: section.duration("scale-backoff", default.scale_backoff, s(0)..=s(300)),
        query_attempts: section.count("query-attempts", default.query_attempts, 1..=1000),
        query_backoff: section.duration("query-backoff", default.query_backoff, ms(10)..=s(1)),
        poll_interval: section.duration("poll-interval", default.poll_interval, ms(1)..=s(10)),
        poll_steady: section.duration("poll-steady", default.poll_steady, s(0)..=s(60)),
        poll_interval_max: section.duration("poll-interval-max", default.poll_interval_max, ms(1)..=s(60)),
        poll_interval_watched: section.duration("poll-interval-watched", default.poll_interval_watched, ms(10)..=s(60)),
        waiting: section.count("waiting", default.waiting, 1..=1_000_000),
        waiting_per_function: section.count("waiting-per-function", default.waiting_per_function, 1..=1_000_000),
        refreshes_per_second: section.count("refreshes-per-second", default.refreshes_per_second, 1..=10_000),
        list_above: section.count("list-above", default.list_above, 1..=10_000),
        functions: section.count("functions", default.functions, 64..=1_000_000),
        endpoints_per_function: section.count("endpoints-per-function", default.endpoints_per_function, 1..=10_000),
        probe_timeout: section.duration("probe-timeout", default.probe_timeout, ms(10)..=s(60)),
        probe_linger: section.duration("probe-linger", default.probe_linger, Duration::ZERO..=s(1)),
        watch_wait: section.duration("watch-wait", default.watch_wait, s(1)..=s(600)),
        own_listeners: default.own_listeners,
    };
    for (longer, least, shorter, at_least) in [
        ("stale-ttl", config.stale_ttl, "cache-ttl", config.cache_ttl),
        ("stale-if-error", config.stale_if_error, "stale-ttl", config.stale_ttl),
        ("poll-interval-max", config.poll_interval_max, "poll-interval", config.poll_interval),
    ] {
        if least < at_least {
            section.problem_at(longer, format!("must not be shorter than {shorter}"));
        }
    }
    config
}
