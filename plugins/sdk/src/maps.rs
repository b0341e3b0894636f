//! Hash tables with seeds, since std's are fixed on `wasm32-unknown-unknown` and a platform's
//! answer could then be made of colliding keys. A `BTreeMap` needs none of this and is smaller.

use std::cell::Cell;
use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// A [`std::collections::HashMap`] whose seed comes from the host.
pub type HashMap<K, V> = std::collections::HashMap<K, V, Seeded>;

/// A [`std::collections::HashSet`] whose seed comes from the host.
pub type HashSet<T> = std::collections::HashSet<T, Seeded>;

/// Makes hashers that begin with a seed.
#[derive(Clone, Copy, Debug)]
pub struct Seeded((u64, u64));

impl Default for Seeded {
    fn default() -> Self {
        thread_local!(static SEED: Cell<Option<(u64, u64)>> = const { Cell::new(None) });
        let seed = SEED.get().unwrap_or_else(crate::random::seed);
        SEED.set(Some(seed));
        Self(seed)
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0.0);
        hasher.write_u64(self.0.1);
        hasher
    }
}
