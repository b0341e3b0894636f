//! Functions that were deployed or changed through this gateway and that nobody has called since. Their instances may
//! not accept connections yet, so the first call tries.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::name::FunctionRef;

/// The names.
pub(super) struct Written {
    names: Mutex<HashSet<FunctionRef>>,
    most: usize,
}

impl Written {
    /// Remembers at most so many names, [`Config::functions`](super::Config::functions). Beyond that all are
    /// forgotten, and a first call may come too early.
    pub(super) fn new(most: usize) -> Self {
        Self { names: Mutex::default(), most }
    }

    /// Remembers a function.
    pub(super) fn add(&self, function: &FunctionRef) {
        let mut names = self.names();
        if names.len() >= self.most {
            names.clear();
        }
        names.insert(function.clone());
    }

    /// Whether a function is remembered; it is forgotten then.
    pub(super) fn take(&self, function: &FunctionRef) -> bool {
        self.names().remove(function)
    }

    fn names(&self) -> MutexGuard<'_, HashSet<FunctionRef>> {
        // A set is whole whatever panicked elsewhere.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_once_and_a_flood_costs_no_more_than_the_bound() {
        let named = |number: usize| FunctionRef {
            name: format!("f{number}").parse().unwrap(),
            namespace: "dev".parse().unwrap(),
        };
        let written = Written::new(16);
        written.add(&named(1));
        assert!(written.take(&named(1)) && !written.take(&named(1)));
        for number in 0..=16 {
            written.add(&named(number));
        }
        assert!(written.take(&named(16)) && !written.take(&named(15)), "the others made room");
    }
}
