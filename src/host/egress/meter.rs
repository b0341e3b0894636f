//! What one call of a plugin may send and receive, and what it did.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::provider::Limits;
use crate::query::Budget;

/// The bounds of one call. Keys of a provider's `limits` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// `requests`: requests in a call.
    pub requests: u32,
    /// `request-bytes`: bytes of request bodies in a call.
    pub request_bytes: u64,
    /// `response-bytes`: bytes of response bodies in a call.
    pub response_bytes: u64,
    /// `header-bytes`: bytes of one request's or response's header section, target included.
    pub header_bytes: usize,
}

impl From<&Limits> for EgressLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            requests: limits.requests,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
            header_bytes: limits.header_bytes,
        }
    }
}

/// What was used since the meter was armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressUsage {
    /// Requests, denied ones included.
    pub requests: u32,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
}

/// Counts one call's egress against its [`EgressLimits`]. Shared by all requests of the call and
/// armed again for the next lease; nothing of the last one may then still be alive, or its bytes
/// are billed to the next.
#[derive(Debug)]
pub struct EgressMeter {
    limits: EgressLimits,
    requests: AtomicU32,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    exceeded: AtomicU8,
}

/// The budgets that a meter counts, in the order of their codes in `EgressMeter::exceeded`, from 1.
const METERED: [Budget; 3] = [Budget::Requests, Budget::RequestBytes, Budget::ResponseBytes];

// No counter orders anything else in memory.
const ORDER: Ordering = Ordering::Relaxed;

impl EgressMeter {
    /// A meter at zero.
    #[must_use]
    pub fn new(limits: EgressLimits) -> Self {
        Self {
            limits,
            requests: AtomicU32::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            exceeded: AtomicU8::new(0),
        }
    }

    /// Sets everything to zero, for the next lease.
    pub fn rearm(&self) {
        self.requests.store(0, ORDER);
        self.request_bytes.store(0, ORDER);
        self.response_bytes.store(0, ORDER);
        self.exceeded.store(0, ORDER);
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &EgressLimits {
        &self.limits
    }

    /// What was used so far.
    #[must_use]
    pub fn usage(&self) -> EgressUsage {
        EgressUsage {
            requests: self.requests.load(ORDER),
            request_bytes: self.request_bytes.load(ORDER),
            response_bytes: self.response_bytes.load(ORDER),
        }
    }

    /// The budget that was exceeded first, if any. A guest may hide the error that it got for it;
    /// the host does not forget.
    #[must_use]
    pub fn exceeded(&self) -> Option<Budget> {
        METERED.get(usize::from(self.exceeded.load(ORDER)).checked_sub(1)?).copied()
    }

    /// The bound of a budget that this meter counts, in its unit.
    #[must_use]
    pub fn limit(&self, budget: Budget) -> Option<u64> {
        match budget {
            Budget::Requests => Some(self.limits.requests.into()),
            Budget::RequestBytes => Some(self.limits.request_bytes),
            Budget::ResponseBytes => Some(self.limits.response_bytes),
            Budget::Cpu | Budget::Wall | Budget::Memory | Budget::HostCallBytes | Budget::Handles => None,
        }
    }

    pub(super) fn count_request(&self) -> Result<(), Budget> {
        let before = self.requests.fetch_add(1, ORDER);
        if before < self.limits.requests { Ok(()) } else { Err(self.exceed(Budget::Requests)) }
    }

    /// Whether a request body of at least `bytes` can still be sent.
    pub(super) fn check_request_bytes(&self, bytes: u64) -> Result<(), Budget> {
        let total = self.request_bytes.load(ORDER).saturating_add(bytes);
        if total <= self.limits.request_bytes { Ok(()) } else { Err(self.exceed(Budget::RequestBytes)) }
    }

    pub(super) fn count_request_bytes(&self, bytes: usize) -> Result<(), Budget> {
        self.count(&self.request_bytes, bytes, self.limits.request_bytes, Budget::RequestBytes)
    }

    pub(super) fn count_response_bytes(&self, bytes: usize) -> Result<(), Budget> {
        self.count(&self.response_bytes, bytes, self.limits.response_bytes, Budget::ResponseBytes)
    }

    fn count(&self, counter: &AtomicU64, bytes: usize, limit: u64, budget: Budget) -> Result<(), Budget> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let total = counter.fetch_add(bytes, ORDER).saturating_add(bytes);
        if total <= limit { Ok(()) } else { Err(self.exceed(budget)) }
    }

    fn exceed(&self, budget: Budget) -> Budget {
        let code = METERED.iter().zip(1..).find_map(|(metered, code)| (*metered == budget).then_some(code));
        // The first one stays: what follows it is its consequence.
        let _ = self.exceeded.compare_exchange(0, code.unwrap_or(0), ORDER, ORDER);
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> EgressMeter {
        EgressMeter::new(EgressLimits { requests: 2, request_bytes: 10, response_bytes: 100, header_bytes: 1000 })
    }

    #[test]
    fn up_to_the_bound_is_allowed_and_one_more_is_not() {
        let meter = meter();
        assert_eq!(meter.count_request(), Ok(()));
        assert_eq!(meter.count_request(), Ok(()));
        assert_eq!(meter.count_request_bytes(10), Ok(()));
        assert_eq!(meter.exceeded(), None);
        assert_eq!(meter.count_request_bytes(1), Err(Budget::RequestBytes));
        assert_eq!(meter.usage(), EgressUsage { requests: 2, request_bytes: 11, response_bytes: 0 });
    }

    #[test]
    fn the_first_broken_budget_is_remembered_until_the_next_lease() {
        let meter = meter();
        assert_eq!(meter.count_response_bytes(101), Err(Budget::ResponseBytes));
        for _ in 0..3 {
            let _ = meter.count_request();
        }
        assert_eq!(meter.exceeded(), Some(Budget::ResponseBytes));
        meter.rearm();
        assert_eq!(meter.exceeded(), None);
        assert_eq!(meter.usage(), EgressUsage::default());
        assert_eq!(meter.count_request(), Ok(()));
    }
}
