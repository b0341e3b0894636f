//! The functions that are known, found by name. Bounded: the one unused for longest makes room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::snapshot::Tracked;
use crate::name::FunctionRef;

/// How many locks guard the table; a power of two. Requests only read, so few suffice.
const SHARDS: usize = 16;

type Functions = HashMap<FunctionRef, Arc<Tracked>>;

/// All functions that are known or being looked up.
pub(super) struct Table {
    shards: [RwLock<Functions>; SHARDS],
    count: AtomicUsize,
    most: usize,
}

impl Table {
    /// A table of at most `most` functions, rounded up to a multiple of the number of its shards.
    pub(super) fn new(most: usize) -> Self {
        Self { shards: Default::default(), count: AtomicUsize::new(0), most }
    }

    /// Reads one function without counting a reference.
    pub(super) fn with<T>(&self, function: &FunctionRef, read: impl FnOnce(&Arc<Tracked>) -> T) -> Option<T> {
        self.read(function).get(function).map(read)
    }

    /// One function.
    pub(super) fn get(&self, function: &FunctionRef) -> Option<Arc<Tracked>> {
        self.with(function, Arc::clone)
    }

    /// The function, made by `make` if it is new; an error of `make` leaves the table as it is.
    pub(super) fn get_or_insert<E>(
        &self,
        function: &FunctionRef,
        make: impl FnOnce() -> Result<Arc<Tracked>, E>,
    ) -> Result<Arc<Tracked>, E> {
        if let Some(known) = self.get(function) {
            return Ok(known);
        }
        let mut shard = self.write(function);
        if let Some(known) = shard.get(function) {
            return Ok(Arc::clone(known));
        }
        let made = make()?;
        if shard.len() >= self.most.div_ceil(SHARDS) {
            self.make_room(&mut shard);
        }
        shard.insert(function.clone(), Arc::clone(&made));
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(made)
    }

    /// Removes this function, unless another took its place.
    pub(super) fn remove(&self, tracked: &Arc<Tracked>) {
        let mut shard = self.write(&tracked.function);
        if shard.get(&tracked.function).is_some_and(|known| Arc::ptr_eq(known, tracked)) {
            shard.remove(&tracked.function);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those for which `wanted` holds, as they are now.
    pub(super) fn filter(&self, wanted: impl Fn(&Tracked) -> bool) -> Vec<Arc<Tracked>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            found.extend(shard.values().filter(|tracked| wanted(tracked)).cloned());
        }
        found
    }

    fn make_room(&self, shard: &mut Functions) {
        // One with a cold start under way stays, or the next caller would begin another.
        let idle = shard.values().filter(|tracked| tracked.control().episode.is_none());
        if let Some(oldest) = idle.min_by_key(|tracked| tracked.used()).map(|tracked| tracked.function.clone()) {
            shard.remove(&oldest);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn shard(&self, function: &FunctionRef) -> &RwLock<Functions> {
        // FNV-1a over the name: only names that exist stay in the table, so nobody can choose them
        // to crowd a shard, and functions of one name in several namespaces are rare.
        let hash = function
            .name
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = usize::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).unwrap_or(0);
        // In range by the mask; the array's first element is only what the compiler asks for.
        let [first, ..] = &self.shards;
        self.shards.get(hash & (SHARDS - 1)).unwrap_or(first)
    }

    fn read(&self, function: &FunctionRef) -> RwLockReadGuard<'_, Functions> {
        self.shard(function).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, function: &FunctionRef) -> RwLockWriteGuard<'_, Functions> {
        self.shard(function).write().unwrap_or_else(PoisonError::into_inner)
    }
}
