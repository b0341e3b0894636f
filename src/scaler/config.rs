//! The scaler's numbers. Each is a key of the `scaling` table in kebab-case.

use std::net::SocketAddr;
use std::time::Duration;

/// How the scaler behaves. [`Config::default`] is what an empty configuration file means.
///
/// Values outside a range that a field names are brought into it by [`Config::clamped`], which
/// [`Scaler::new`](super::Scaler::new) applies; the configuration's reader reports them before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `scale-from-zero`: whether a request for a function without instances asks for one.
    /// Default: yes. Without it such a request gets 503.
    pub scale_from_zero: bool,
    /// `cache-ttl`: for how long an answer of the platform counts as fresh. After it one refresh
    /// runs behind the requests, so this is also the shortest time between two refreshes of a
    /// function. Default 250 ms, 250 ms to 60 s.
    pub cache_ttl: Duration,
    /// `stale-ttl`: for how long an answer is used while refreshes are under way. Default 10 s,
    /// `cache-ttl` to 1 h.
    pub stale_ttl: Duration,
    /// `stale-if-error`: for how long an answer is used while the provider fails, counted from the
    /// answer. Default 10 min, `stale-ttl` to 24 h. The time to live of an endpoint stays a hard bound.
    pub stale_if_error: Duration,
    /// `negative-ttl`: for how long a name that the platform does not know is answered with 404
    /// without asking again. Default 2 s, 0 to 60 s.
    pub negative_ttl: Duration,
    /// `negative-entries`: how many unknown names are remembered, per process. Default 1024, 1 to 1000000.
    pub negative_entries: usize,
    /// `lookups`: how many names that were never seen are asked for at once, per process; more get
    /// 503. Default 64, 1 to 10000.
    pub lookups: usize,
    /// `scale-timeout`: the longest cold start. Default 60 s, 1 s to 1 h.
    pub scale_timeout: Duration,
    /// `scale-backoff`: for how long after a failed cold start callers get its cause without
    /// another attempt. Default 1 s, 0 to 5 min.
    pub scale_backoff: Duration,
    /// `query-attempts`: how many questions in a row may fail within a cold start, where the
    /// failure can pass. Default 6 (about 2.5 s with the waits between), 1 to 1000.
    pub query_attempts: u32,
    /// `query-backoff`: the wait after the first failed question; it doubles up to 1 s. Default
    /// 100 ms, 10 ms to 1 s.
    pub query_backoff: Duration,
    /// `poll-interval`: the time between two questions of a cold start while `poll-steady` lasts.
    /// Default 10 ms, 1 ms to 10 s.
    pub poll_interval: Duration,
    /// `poll-steady`: for how long `poll-interval` holds; then it grows by half with each question.
    /// Default 500 ms, 0 to 60 s. Containers that are there on the node start in 20 to 400 ms: with
    /// 300 ms one in seven of those would be seen more than 15 ms late, with 500 ms none is.
    pub poll_steady: Duration,
    /// `poll-interval-max`: what it grows to. Default 250 ms, `poll-interval` to 60 s.
    pub poll_interval_max: Duration,
    /// `poll-interval-watched`: the time between two questions of a cold start while a watch tells
    /// of changes, for plugins whose watch loses one. Default 1 s, 10 ms to 60 s.
    pub poll_interval_watched: Duration,
    /// `waiting`: how many requests wait for cold starts, per process; more get 503. Default 4096, 1 to 1000000.
    pub waiting: usize,
    /// `waiting-per-function`: the same for each function. Default 1024, 1 to 1000000.
    pub waiting_per_function: usize,
    /// `refreshes-per-second`: questions asked to keep answers fresh, for each provider. Default 50, 1 to 10000.
    pub refreshes_per_second: u32,
    /// `list-above`: when more functions than this are due for a refresh at once and the provider
    /// has `functions`, one list is asked for instead. Default 10, 1 to 10000.
    pub list_above: usize,
    /// `functions`: how many functions are remembered, per process; the one unused for longest
    /// makes room. Default 10000, 64 to 1000000.
    pub functions: usize,
    /// `endpoints-per-function`: how many endpoints of a function are used; the rest is ignored.
    /// Default 256, 1 to 10000.
    pub endpoints_per_function: usize,
    /// `probe-timeout`: how long one attempt to connect to an instance that just started may take.
    /// Default 1 s, 10 ms to 60 s.
    pub probe_timeout: Duration,
    /// `probe-linger`: how long a connection to an instance that just started must stay open before the
    /// instance counts as ready. For platforms whose proxy accepts before the instance does. Default 0,
    /// at most 1 s.
    pub probe_linger: Duration,
    /// `watch-wait`: for how long one watch call waits for changes. Default 25 s, 1 s to 10 min; keep
    /// it below the provider's `limits.watch-timeout`.
    pub watch_wait: Duration,
    /// Addresses that this gateway listens on: never dialled as an endpoint. Not a key; the listeners'
    /// own configuration says it. Default: none.
    pub own_listeners: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scale_from_zero: true,
            cache_ttl: Duration::from_millis(250),
            stale_ttl: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(600),
            negative_ttl: Duration::from_secs(2),
            negative_entries: 1024,
            lookups: 64,
            scale_timeout: Duration::from_secs(60),
            scale_backoff: Duration::from_secs(1),
            query_attempts: 6,
            query_backoff: Duration::from_millis(100),
            poll_interval: Duration::from_millis(10),
            poll_steady: Duration::from_millis(500),
            poll_interval_max: Duration::from_millis(250),
            poll_interval_watched: Duration::from_secs(1),
            waiting: 4096,
            waiting_per_function: 1024,
            refreshes_per_second: 50,
            list_above: 10,
            functions: 10_000,
            endpoints_per_function: 256,
            probe_timeout: Duration::from_secs(1),
            probe_linger: Duration::ZERO,
            watch_wait: Duration::from_secs(25),
            own_listeners: Vec::new(),
        }
    }
}

impl Config {
    /// The same with every number inside the range that its field names.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        self.cache_ttl = self.cache_ttl.clamp(ms(250), s(60));
        self.stale_ttl = self.stale_ttl.clamp(self.cache_ttl, s(3600));
        self.stale_if_error = self.stale_if_error.clamp(self.stale_ttl, s(86_400));
        self.negative_ttl = self.negative_ttl.min(s(60));
        self.negative_entries = self.negative_entries.clamp(1, 1_000_000);
        self.lookups = self.lookups.clamp(1, 10_000);
        self.scale_timeout = self.scale_timeout.clamp(s(1), s(3600));
        self.scale_backoff = self.scale_backoff.min(s(300));
        self.query_attempts = self.query_attempts.clamp(1, 1000);
        self.query_backoff = self.query_backoff.clamp(ms(10), s(1));
        self.poll_interval = self.poll_interval.clamp(ms(1), s(10));
        self.poll_steady = self.poll_steady.min(s(60));
        self.poll_interval_max = self.poll_interval_max.clamp(self.poll_interval, s(60));
        self.poll_interval_watched = self.poll_interval_watched.clamp(ms(10), s(60));
        self.waiting = self.waiting.clamp(1, 1_000_000);
        self.waiting_per_function = self.waiting_per_function.clamp(1, 1_000_000);
        self.refreshes_per_second = self.refreshes_per_second.clamp(1, 10_000);
        self.list_above = self.list_above.clamp(1, 10_000);
        self.functions = self.functions.clamp(64, 1_000_000);
        self.endpoints_per_function = self.endpoints_per_function.clamp(1, 10_000);
        self.probe_timeout = self.probe_timeout.clamp(ms(10), s(60));
        self.probe_linger = self.probe_linger.min(s(1));
        self.watch_wait = self.watch_wait.clamp(s(1), s(600));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_inside_their_own_ranges() {
        assert_eq!(Config::default().clamped(), Config::default());
    }

    #[test]
    fn a_number_outside_its_range_is_brought_into_it() {
        let config = Config { cache_ttl: Duration::ZERO, stale_ttl: Duration::ZERO, functions: 0, ..Config::default() };
        let clamped = config.clamped();
        assert_eq!(clamped.cache_ttl, Duration::from_millis(250));
        assert_eq!(clamped.stale_ttl, clamped.cache_ttl);
        assert_eq!(clamped.functions, 64);
    }
}
