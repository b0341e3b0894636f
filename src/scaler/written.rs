//! Functions that were deployed or changed through this gateway and that nobody has called since. Their instances may
//! not accept connections yet, so the first call tries.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::name::FunctionRef;

/// The most names that are remembered. Beyond that all are forgotten, and a first call may come too early.
const MOST: usize = 4096;

/// The names.
#[derive(Default)]
pub(super) struct Written(Mutex<HashSet<FunctionRef>>);

impl Written {
    /// Remembers a function.
    pub(super) fn add(&self, function: &FunctionRef) {
        let mut names = self.names();
        if names.len() >= MOST {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let written = Written::default();
        written.add(&named(1));
        assert!(written.take(&named(1)) && !written.take(&named(1)));
        for number in 0..=MOST {
            written.add(&named(number));
        }
        assert_eq!(written.names().len(), 1);
    }
}
