//! Time, since std's clocks panic on `wasm32-unknown-unknown`.

use std::time::Duration;

/// The time of day, in milliseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn now_ms() -> u64 {
    #[cfg(target_arch = "wasm32")]
    {
        let now = crate::bindings::imports::wasi::clocks::wall_clock::now();
        now.seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::now_ms()
}

/// Time since some fixed point, for measuring spans.
#[must_use]
pub fn monotonic() -> Duration {
    #[cfg(target_arch = "wasm32")]
    return Duration::from_nanos(crate::bindings::imports::wasi::clocks::monotonic_clock::now());
    #[cfg(not(target_arch = "wasm32"))]
    Duration::from_millis(crate::testing::now_ms())
}

/// Waits. The time counts against the call's budget of wall time.
pub fn wait(span: Duration) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::bindings::imports::wasi::clocks::monotonic_clock::subscribe_duration;
        subscribe_duration(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)).block();
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::pass(span);
}
