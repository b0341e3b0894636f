//! One reading of the time for everything that a call measures.

use std::sync::LazyLock;
use std::time::Duration;

/// Nanoseconds since the first reading of this process. Two readings a call are all that the
/// accounting costs, so the type is as small as it can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

#[expect(clippy::disallowed_types, reason = "processor time goes on while a test's clock is paused")]
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        Self(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The span since an earlier moment; zero if that one is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
