//! Where a function's instances are, and which of them takes the next request.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::policy::{AddressPolicy, AddressRefused};
use crate::name::Generation;
use crate::query::{Endpoint, Target};

/// The longest time to live of an endpoint, as in the contract.
const TTL_MAX: Duration = Duration::from_secs(3600);

/// One endpoint that may be dialled. Cheap to clone; clones count requests together.
#[derive(Clone)]
pub struct EndpointRef(Arc<Slot>);

struct Slot {
    endpoint: Endpoint,
    policy: Arc<AddressPolicy>,
    in_flight: AtomicUsize,
}

impl EndpointRef {
    /// Where it is and how to speak to it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Decides about each address that the endpoint's name resolves to, right before connecting.
    #[must_use]
    pub fn policy(&self) -> &Arc<AddressPolicy> {
        &self.0.policy
    }

    /// How many requests are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Whether both are the same instance at the same place. An address with another instance is
    /// another endpoint.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || same_place(&self.0.endpoint, &other.0.endpoint)
    }
}

fn same_place(a: &Endpoint, b: &Endpoint) -> bool {
    a.target == b.target
        && a.instance == b.instance
        && a.path_prefix == b.path_prefix
        && a.tls == b.tls
        && a.host_header == b.host_header
        && a.via == b.via
}

impl fmt::Debug for EndpointRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} in flight)", self.0.endpoint, self.in_flight())
    }
}

/// An endpoint while a request uses it: counted from [`EndpointSet::pick`] until this is dropped.
#[derive(Debug)]
pub struct Pick(EndpointRef);

impl Deref for Pick {
    type Target = EndpointRef;

    fn deref(&self) -> &EndpointRef {
        &self.0
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The endpoints of a function, all checked against the provider's policy.
#[derive(Debug)]
pub struct EndpointSet {
    endpoints: Box<[EndpointRef]>,
    expires: Instant,
    renew: Instant,
}

impl EndpointSet {
    /// The endpoints among `found` that may be dialled, at most `most`. One that `previous` holds
    /// too keeps its count of requests. The set lives as long as its shortest-lived member, counted
    /// from `asked`, the time at which the provider was asked.
    ///
    /// # Errors
    /// Endpoints were found and all are refused: the first one's reason.
    pub fn new(
        found: Vec<Endpoint>,
        policy: &Arc<AddressPolicy>,
        previous: Option<&Self>,
        asked: Instant,
        most: usize,
    ) -> Result<Self, AddressRefused> {
        let mut endpoints: Vec<EndpointRef> = Vec::with_capacity(found.len().min(most));
        let mut refused = None;
        let mut ttl = TTL_MAX;
        for endpoint in found {
            if endpoints.len() >= most {
                break;
            }
            if let Target::Authority(authority) = &endpoint.target
                && let Err(reason) = policy.check_authority(authority)
            {
                tracing::debug!(%authority, %reason, "endpoint refused");
                refused.get_or_insert(reason);
                continue;
            }
            ttl = ttl.min(endpoint.ttl);
            let known = previous.and_then(|set| {
                let is_known = |known: &&EndpointRef| {
                    same_place(&known.0.endpoint, &endpoint) && Arc::ptr_eq(&known.0.policy, policy)
                };
                set.endpoints.iter().find(is_known).cloned()
            });
            endpoints.push(known.unwrap_or_else(|| {
                EndpointRef(Arc::new(Slot { endpoint, policy: Arc::clone(policy), in_flight: AtomicUsize::new(0) }))
            }));
        }
        match refused {
            Some(reason) if endpoints.is_empty() => Err(reason),
            _ => Ok(Self { endpoints: endpoints.into(), expires: asked + ttl, renew: asked + ttl.mul_f32(0.6) }),
        }
    }

    /// Takes an endpoint for one request: of two random ones, that with fewer requests under way.
    /// `None` if there is none.
    #[must_use]
    pub fn pick(&self) -> Option<Pick> {
        let chosen = match &*self.endpoints {
            [] => return None,
            [only] => only,
            [a, b] => lighter(a, b),
            many => {
                let first = below(many.len());
                // Drawn from the others, so that the two always differ.
                let second = (first + 1 + below(many.len() - 1)) % many.len();
                lighter(many.get(first)?, many.get(second)?)
            }
        };
        Some(take(chosen))
    }

    /// Takes the least used endpoint other than `avoided`, for a second attempt.
    #[must_use]
    pub fn pick_other(&self, avoided: &EndpointRef) -> Option<Pick> {
        let others = self.endpoints.iter().filter(|endpoint| !endpoint.is_same(avoided));
        others.min_by_key(|endpoint| endpoint.in_flight()).map(take)
    }

    /// All of them.
    #[must_use]
    pub fn endpoints(&self) -> &[EndpointRef] {
        &self.endpoints
    }

    /// From when on they must not be used. A hard bound: an address may be someone else's afterwards.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// From when on the next set should be asked for, behind the requests.
    pub(super) fn renew(&self) -> Instant {
        self.renew
    }

    /// Whether a grant among them is another generation's than the one that counted the instances. A
    /// platform behind a grant forwards by itself, so the count must be its own.
    pub(super) fn is_of_another(&self, generation: Generation) -> bool {
        let via = |endpoint: &EndpointRef| endpoint.endpoint().via.as_ref().map(|via| via.generation);
        self.endpoints.iter().filter_map(via).any(|other| other != generation)
    }

    /// No endpoints: the platform, asked at `asked`, named none that may be used.
    pub(super) fn none(asked: Instant) -> Self {
        Self { endpoints: Box::default(), expires: asked, renew: asked }
    }

    /// The same without `gone`, and due for renewal.
    pub(super) fn without(&self, gone: &EndpointRef, now: Instant) -> Self {
        self.keeping(|endpoint| !endpoint.is_same(gone), now)
    }

    /// Those for which `keep` holds, due for renewal.
    pub(super) fn keeping(&self, mut keep: impl FnMut(&EndpointRef) -> bool, now: Instant) -> Self {
        let endpoints = self.endpoints.iter().filter(|endpoint| keep(endpoint)).cloned().collect();
        Self { endpoints, expires: self.expires, renew: now }
    }
}

fn lighter<'a>(a: &'a EndpointRef, b: &'a EndpointRef) -> &'a EndpointRef {
    let (load_a, load_b) = (a.in_flight(), b.in_flight());
    // Equal loads alternate at random, or a lone caller would use one endpoint only.
    if load_a < load_b || load_a == load_b && below(2) == 0 { a } else { b }
}

fn take(endpoint: &EndpointRef) -> Pick {
    endpoint.0.in_flight.fetch_add(1, Ordering::Relaxed);
    Pick(endpoint.clone())
}

/// A random number below `bound` (which is not 0): xorshift, seeded once a thread. It spreads load
/// and guards nothing.
pub(super) fn below(bound: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8) | 1);
    }
    let drawn = STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x >> 32
    });
    // 32 random bits times the bound, the upper half of the product: no division, bias below 2^-32 * bound.
    usize::try_from(drawn.wrapping_mul(bound as u64) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests;
