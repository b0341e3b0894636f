//! What a provider was asked last, and what it answered: the questions that a candidate is tried with.
//!
//! One entry for each function, so that one that is asked about all the time does not crowd out the
//! others. Bounded in number ([`SwapConfig::shadow`](crate::provider::SwapConfig::shadow)) and in size.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::name::FunctionRef;
use crate::query::{Pairs, QueryError, ServiceStatus};

/// Labels and annotations of a remembered answer have at most so many bytes; of a longer answer only the
/// counts are kept.
const PAIRS_MAX_BYTES: usize = 16 << 10;

/// What the platform said of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It exists, with this status; its pairs are missing where they were too long to keep.
    Status(Box<ServiceStatus>),
    /// It does not exist.
    NotFound,
}

impl Known {
    fn is_still(&self, answer: &Result<ServiceStatus, QueryError>) -> bool {
        match (self, answer) {
            (Self::Status(known), Ok(status)) => **known == *status,
            (Self::NotFound, Err(_)) => true,
            (Self::Status(_), Err(_)) | (Self::NotFound, Ok(_)) => false,
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) function: FunctionRef,
    pub(super) asked: Instant,
    pub(super) known: Known,
}

/// The last answers of one provider, over all its generations.
pub(super) struct Recorder {
    most: usize,
    entries: Mutex<HashMap<FunctionRef, (Instant, Known)>>,
}

impl Recorder {
    /// One that remembers `most` functions.
    pub(super) fn new(most: u32) -> Self {
        Self { most: most as usize, entries: Mutex::default() }
    }

    /// Remembers an answer. Errors say nothing about a function, but for the one that there is none.
    pub(super) fn note(&self, function: &FunctionRef, answer: &Result<ServiceStatus, QueryError>) {
        if self.most == 0 {
            return;
        }
        if answer.as_ref().is_err_and(|error| !error.is_not_found()) {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Most answers are what they were.
        if let Some((asked, known)) = entries.get_mut(function)
            && known.is_still(answer)
        {
            *asked = Instant::now();
            return;
        }
        let known = match answer {
            Ok(status) => Known::Status(Box::new(kept(status))),
            Err(_) => Known::NotFound,
        };
        if !entries.contains_key(function) && entries.len() >= self.most {
            // Names that do not exist go first: anybody can ask about those.
            let oldest = entries.iter().min_by_key(|(_, (asked, known))| (*known != Known::NotFound, *asked));
            if let Some(oldest) = oldest.map(|(function, _)| function.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(function.clone(), (Instant::now(), known));
    }

    /// Everything that is remembered, what was asked last first.
    pub(super) fn all(&self) -> Vec<Recorded> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = entries
            .iter()
            .map(|(function, (asked, known))| Recorded {
                function: function.clone(),
                asked: *asked,
                known: known.clone(),
            })
            .collect();
        drop(entries);
        all.sort_by(|one, other| other.asked.cmp(&one.asked).then_with(|| one.function.cmp(&other.function)));
        all
    }

    /// The functions that were asked about within `span`, and exist.
    pub(super) fn existing(&self, span: Duration) -> Vec<FunctionRef> {
        let now = Instant::now();
        let is_recent = |recorded: &Recorded| {
            recorded.known != Known::NotFound && now.saturating_duration_since(recorded.asked) <= span
        };
        self.all().into_iter().filter(is_recent).map(|recorded| recorded.function).collect()
    }
}

/// The status as it is kept.
fn kept(status: &ServiceStatus) -> ServiceStatus {
    let size = |pairs: &Pairs| pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if size(&status.labels) + size(&status.annotations) <= PAIRS_MAX_BYTES {
        return status.clone();
    }
    ServiceStatus { labels: Pairs::new(), annotations: Pairs::new(), version: status.version.clone(), ..*status }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::ErrorKind;

    fn function(name: &str) -> FunctionRef {
        FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() }
    }

    fn names(recorder: &Recorder) -> Vec<String> {
        recorder.all().iter().map(|recorded| recorded.function.name.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_of_each_function_is_kept_and_unknown_names_go_first() {
        let recorder = Recorder::new(3);
        let not_found = Err(QueryError::platform(ErrorKind::NotFound, "none"));
        for (name, answer) in
            [("a", &Ok(ServiceStatus::default())), ("ghost", &not_found), ("b", &Ok(ServiceStatus::default()))]
        {
            recorder.note(&function(name), answer);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(names(&recorder), ["b", "ghost", "a"]);
        recorder.note(&function("c"), &Ok(ServiceStatus::default()));
        assert_eq!(names(&recorder), ["c", "b", "a"]);
        recorder.note(&function("a"), &Ok(ServiceStatus { replicas: 3, ..ServiceStatus::default() }));
        tokio::time::advance(Duration::from_secs(1)).await;
        recorder.note(&function("d"), &Ok(ServiceStatus::default()));
        assert_eq!(names(&recorder), ["d", "a", "c"], "the one that was asked about longest ago makes room");
        assert_eq!(recorder.existing(Duration::ZERO).len(), 1);
        // An outage tells nothing of a function.
        recorder.note(&function("a"), &Err(QueryError::platform(ErrorKind::Unavailable, "down")));
        assert!(matches!(&recorder.all()[1].known, Known::Status(status) if status.replicas == 3));
    }

    #[test]
    fn answers_of_any_size_cost_little() {
        let recorder = Recorder::new(1);
        let labels = (0..10).map(|number| (number.to_string(), "x".repeat(8192))).collect();
        recorder.note(&function("a"), &Ok(ServiceStatus { replicas: 2, labels, ..ServiceStatus::default() }));
        let Known::Status(status) = &recorder.all()[0].known else { panic!("a status") };
        assert_eq!((status.replicas, status.labels.len()), (2, 0));
        Recorder::new(0).note(&function("a"), &Ok(ServiceStatus::default()));
    }
}
