//! Names that the platform does not know, and look-ups of unseen names that failed, remembered for
//! a moment so that asking for them again costs nothing. Kept apart from the functions that exist,
//! so that no flood of names can push those out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::error::ScaleError;
use crate::name::{FunctionRef, Namespace};

/// The answers, bounded in number.
pub(super) struct Negative {
    entries: Mutex<HashMap<FunctionRef, (Instant, ScaleError)>>,
    most: usize,
}

impl Negative {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    /// Remembers until `until` that `function` is answered with `error`.
    pub(super) fn insert(&self, function: FunctionRef, until: Instant, error: ScaleError) {
        let now = Instant::now();
        if until <= now {
            return;
        }
        let mut entries = self.entries();
        if entries.len() >= self.most {
            entries.retain(|_, (until, _)| *until > now);
        }
        if entries.len() >= self.most
            && let Some(any) = entries.keys().next().cloned()
        {
            entries.remove(&any);
        }
        entries.insert(function, (until, error));
    }

    /// The answer that is remembered, and until when.
    pub(super) fn get(&self, function: &FunctionRef) -> Option<(Instant, ScaleError)> {
        let mut entries = self.entries();
        let (until, error) = entries.get(function)?;
        if *until > Instant::now() {
            return Some((*until, error.clone()));
        }
        entries.remove(function);
        None
    }

    /// Forgets one name.
    pub(super) fn remove(&self, function: &FunctionRef) {
        self.entries().remove(function);
    }

    /// Forgets the names of all namespaces for which `gone` holds.
    pub(super) fn remove_of(&self, gone: impl Fn(&Namespace) -> bool) {
        self.entries().retain(|function, _| !gone(&function.namespace));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<FunctionRef, (Instant, ScaleError)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn function(name: &str) -> FunctionRef {
        FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() }
    }

    fn answer(name: &str) -> ScaleError {
        ScaleError::NoProvider { function: function(name) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_when_its_time_is_over() {
        let negative = Negative::new(8);
        negative.insert(function("a"), Instant::now() + Duration::from_secs(2), answer("a"));
        assert!(negative.get(&function("a")).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(negative.get(&function("a")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_stays_within_the_bound_and_expired_ones_go_first() {
        let negative = Negative::new(8);
        negative.insert(function("old"), Instant::now() + Duration::from_secs(1), answer("old"));
        tokio::time::advance(Duration::from_secs(1)).await;
        for i in 0..100 {
            let name = format!("f{i}");
            negative.insert(function(&name), Instant::now() + Duration::from_secs(1), answer(&name));
        }
        assert_eq!(negative.entries().len(), 8);
        assert!(negative.get(&function("f99")).is_some());
    }
}
