//! How far a log was delivered.
//!
//! Docker tells times in nanoseconds, Podman in whole seconds. So a place is a time and, for each instance,
//! how many of its lines from then on were delivered: lines of one instance come in order.

use wicketgate_sdk::time::parse_rfc3339;

use super::SOURCES;

const SECOND: u64 = 1_000_000_000;

/// When a line was printed, as exactly as the engine says it: nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The earliest that it may have been.
    pub(super) first: u64,
    /// The latest.
    last: u64,
}

/// A line of a log.
pub(super) struct Line {
    pub(super) at: Moment,
    pub(super) instance: String,
    pub(super) text: String,
}

/// How far a batch came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) nanos: u64,
    /// How many lines of that time were delivered, by instance.
    delivered: Vec<(String, u32)>,
}

impl Moment {
    /// Reads an RFC 3339 time. One without a fraction stands for its whole second.
    pub(super) fn parse(time: &str) -> Option<Self> {
        let seconds = (parse_rfc3339(time)? / 1000).checked_mul(SECOND)?;
        let Some((_, fraction)) = time.split_once('.') else {
            return Some(Self { first: seconds, last: seconds.checked_add(SECOND - 1)? });
        };
        let digits: String =
            fraction.chars().take_while(char::is_ascii_digit).chain("000000000".chars()).take(9).collect();
        let nanos = seconds.checked_add(digits.parse().ok()?)?;
        Some(Self { first: nanos, last: nanos })
    }

    /// Whether other lines, printed earlier and later, can have this very moment.
    pub(super) fn is_coarse(self) -> bool {
        self.first != self.last
    }
}

impl Place {
    /// The place before all lines from a time on.
    pub(super) fn at(nanos: u64) -> Self {
        Self { nanos, delivered: Vec::new() }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (nanos, delivered) = text.split_once('.')?;
        let read = |entry: &str| {
            let (instance, count) = entry.rsplit_once(':')?;
            Some((instance.to_owned(), count.parse().ok()?))
        };
        let delivered = delivered.split(',').filter(|entry| !entry.is_empty()).map(read).collect::<Option<_>>()?;
        Some(Self { nanos: nanos.parse().ok()?, delivered })
    }

    /// Whether a line was delivered before. Each line is asked about once, those of an instance in their order.
    pub(super) fn takes_back(&mut self, line: &Line) -> bool {
        if line.at.last < self.nanos || line.at.first > self.nanos {
            return line.at.last < self.nanos;
        }
        let counted = self.delivered.iter_mut().find(|(instance, count)| *instance == line.instance && *count > 0);
        counted.map(|(_, count)| *count -= 1).is_some()
    }

    /// Takes note of a line; lines come in order.
    pub(super) fn pass(&mut self, line: &Line) {
        if line.at.first > self.nanos {
            *self = Self::at(line.at.first);
        }
        let has_room = self.delivered.len() < SOURCES;
        match self.delivered.iter_mut().find(|(instance, _)| *instance == line.instance) {
            Some((_, count)) => *count = count.saturating_add(1),
            None if has_room => self.delivered.push((line.instance.clone(), 1)),
            None => {}
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.", self.nanos)?;
        self.delivered.iter().try_for_each(|(instance, count)| write!(f, "{instance}:{count},"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_fraction_is_a_whole_second() {
        let moment = |text: &str| Moment::parse(text).map(|moment| (moment.first, moment.last));
        let second = 1_795_490_051_000_000_000;
        assert_eq!(moment("2026-11-24T03:14:11Z"), Some((second, second + 999_999_999)));
        assert_eq!(moment("2026-11-24T04:14:11+01:00"), Some((second, second + 999_999_999)));
        assert_eq!(moment("2026-11-24T03:14:11.000000007Z"), Some((second + 7, second + 7)));
        assert_eq!(moment("2026-11-24T03:14:11.25Z"), Some((second + 250_000_000, second + 250_000_000)));
        assert_eq!(moment("yesterday"), None);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let mut place = Place::at(5);
        assert_eq!(Place::parse(&place.to_string()), Some(place.clone()));
        for instance in ["a", "b", "a"] {
            place.pass(&Line { at: Moment { first: 7, last: 7 }, instance: instance.to_owned(), text: String::new() });
        }
        assert_eq!(place.to_string(), "7.a:2,b:1,");
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        for text in ["", "7", "x.", "7.a", "7.a:x,"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
