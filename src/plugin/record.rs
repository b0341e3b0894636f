//! What a provider was asked last, and what it answered: the questions that a candidate is tried with.
//!
//! One entry for each function, so that one that is asked about all the time does not crowd out the
//! others. Answers are bounded in number ([`SwapConfig::shadow`]) and in size; beside them is remembered when each
//! function was asked about last, for many more functions ([`SwapConfig::functions`]).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::name::FunctionRef;
use crate::provider::SwapConfig;
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
pub(super) struct Recorder(Mutex<Memory>);

struct Memory {
    /// So many answers are kept.
    most: usize,
    /// And the times of so many functions; of more, a tenth is forgotten, that which was asked about longest ago.
    functions: usize,
    answers: HashMap<FunctionRef, (Instant, Known)>,
    /// When each function that exists was asked about last; of those with an answer above, the time there counts,
    /// so that a call whose answer is what it was looks up one name and no more.
    existing: HashMap<FunctionRef, Instant>,
}

impl Recorder {
    /// One that remembers as much as a provider's settings say.
    pub(super) fn new(swap: &SwapConfig) -> Self {
        Self(Mutex::new(Memory {
            most: swap.shadow as usize,
            functions: swap.functions as usize,
            answers: HashMap::new(),
            existing: HashMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers as much as other settings say from now on.
    pub(super) fn keep(&self, swap: &SwapConfig) {
        let mut memory = self.lock();
        memory.most = swap.shadow as usize;
        memory.functions = swap.functions as usize;
        while memory.answers.len() > memory.most {
            memory.forget_one();
        }
    }

    /// Remembers an answer. Errors say nothing about a function, but for the one that there is none.
    pub(super) fn note(&self, function: &FunctionRef, answer: &Result<ServiceStatus, QueryError>) {
        if answer.as_ref().is_err_and(|error| !error.is_not_found()) {
            return;
        }
        let now = Instant::now();
        let mut memory = self.lock();
        // Most answers are what they were.
        if let Some((asked, known)) = memory.answers.get_mut(function)
            && known.is_still(answer)
        {
            *asked = now;
            return;
        }
        memory.see(function, answer.is_ok(), now);
        if memory.most == 0 {
            return;
        }
        let known = match answer {
            Ok(status) => Known::Status(Box::new(kept(status))),
            Err(_) => Known::NotFound,
        };
        if !memory.answers.contains_key(function) && memory.answers.len() >= memory.most {
            memory.forget_one();
        }
        memory.answers.insert(function.clone(), (now, known));
    }

    /// Everything that is remembered, what was asked last first.
    pub(super) fn all(&self) -> Vec<Recorded> {
        let memory = self.lock();
        let mut all: Vec<_> = memory
            .answers
            .iter()
            .map(|(function, (asked, known))| Recorded {
                function: function.clone(),
                asked: *asked,
                known: known.clone(),
            })
            .collect();
        drop(memory);
        all.sort_by(|one, other| other.asked.cmp(&one.asked).then_with(|| one.function.cmp(&other.function)));
        all
    }

    /// The functions that were asked about within `span`, and exist; however few answers are remembered.
    pub(super) fn existing(&self, span: Duration) -> Vec<FunctionRef> {
        let now = Instant::now();
        let mut memory = self.lock();
        memory.catch_up();
        let recent = memory.existing.iter().filter(|(_, asked)| now.saturating_duration_since(**asked) <= span);
        let mut recent: Vec<FunctionRef> = recent.map(|(function, _)| function.clone()).collect();
        drop(memory);
        recent.sort();
        recent
    }
}

impl Memory {
    /// Makes room for an answer. Names that do not exist go first: anybody can ask about those.
    fn forget_one(&mut self) {
        let oldest = self.answers.iter().min_by_key(|(_, (asked, known))| (*known != Known::NotFound, *asked));
        if let Some(oldest) = oldest.map(|(function, _)| function.clone())
            && let Some((asked, Known::Status(_))) = self.answers.remove(&oldest)
        {
            self.see(&oldest, true, asked);
        }
    }

    /// Takes over the times of the answers.
    fn catch_up(&mut self) {
        for (function, (asked, known)) in &self.answers {
            if *known != Known::NotFound
                && let Some(seen) = self.existing.get_mut(function)
            {
                *seen = *asked;
            }
        }
    }

    /// Notes that a function was asked about.
    fn see(&mut self, function: &FunctionRef, exists: bool, now: Instant) {
        if !exists {
            self.existing.remove(function);
        } else if let Some(asked) = self.existing.get_mut(function) {
            *asked = now;
        } else {
            if self.existing.len() >= self.functions {
                self.forget_a_tenth();
            }
            self.existing.insert(function.clone(), now);
        }
    }

    /// Makes room for functions: for one more at least, and for a tenth so that it is rarely done.
    fn forget_a_tenth(&mut self) {
        self.catch_up();
        let mut times: Vec<Instant> = self.existing.values().copied().collect();
        // Another setting may have lowered the bound.
        let surplus = times.len().saturating_sub(self.functions) + self.functions / 10;
        if surplus < times.len() {
            let (_, limit, _) = times.select_nth_unstable(surplus);
            let limit = *limit;
            self.existing.retain(|_, asked| *asked > limit);
        } else {
            self.existing.clear();
        }
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

    fn keeping(shadow: u32) -> SwapConfig {
        SwapConfig { shadow, functions: 100, ..SwapConfig::default() }
    }

    fn names(recorder: &Recorder) -> Vec<String> {
        recorder.all().iter().map(|recorded| recorded.function.name.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_of_each_function_is_kept_and_unknown_names_go_first() {
        let recorder = Recorder::new(&keeping(3));
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

    #[tokio::test(start_paused = true)]
    async fn what_exists_is_remembered_beyond_the_answers_and_both_are_bounded() {
        let recorder = Recorder::new(&keeping(2));
        let status = Ok(ServiceStatus::default());
        for number in 0..=100 {
            recorder.note(&function(&format!("f{number}")), &status);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(recorder.all().len(), 2);
        let existing = recorder.existing(Duration::from_secs(900));
        assert!((89..100).contains(&existing.len()), "{}", existing.len());
        assert!(existing.contains(&function("f50")) && !existing.contains(&function("f0")));
        recorder.note(&function("f50"), &Err(QueryError::platform(ErrorKind::NotFound, "deleted")));
        assert!(!recorder.existing(Duration::from_secs(900)).contains(&function("f50")));
        // A lower bound holds from the next function on.
        recorder.keep(&SwapConfig { functions: 20, ..keeping(2) });
        recorder.note(&function("new"), &status);
        let existing = recorder.existing(Duration::from_secs(900));
        assert!((1..=20).contains(&existing.len()) && existing.contains(&function("new")), "{existing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_number_of_answers_holds_at_once() {
        let recorder = Recorder::new(&keeping(3));
        for name in ["a", "b", "c"] {
            recorder.note(&function(name), &Ok(ServiceStatus::default()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        recorder.keep(&keeping(1));
        assert_eq!(names(&recorder), ["c"]);
        recorder.keep(&keeping(2));
        recorder.note(&function("d"), &Ok(ServiceStatus::default()));
        assert_eq!(names(&recorder), ["d", "c"]);
        recorder.keep(&keeping(0));
        recorder.note(&function("e"), &Ok(ServiceStatus::default()));
        assert!(names(&recorder).is_empty());
        assert_eq!(recorder.existing(Duration::from_secs(60)).len(), 5);
    }

    #[test]
    fn answers_of_any_size_cost_little() {
        let recorder = Recorder::new(&keeping(1));
        let labels = (0..10).map(|number| (number.to_string(), "x".repeat(8192))).collect();
        recorder.note(&function("a"), &Ok(ServiceStatus { replicas: 2, labels, ..ServiceStatus::default() }));
        let Known::Status(status) = &recorder.all()[0].known else { panic!("a status") };
        assert_eq!((status.replicas, status.labels.len()), (2, 0));
        Recorder::new(&keeping(0)).note(&function("a"), &Ok(ServiceStatus::default()));
    }
}
