//! Points in time as RFC 3339 texts and milliseconds since the Unix epoch, as Go's `time.Time`
//! writes and reads them in JSON. A leaf.

use std::fmt::Write as _;

/// Go's zero time, which the faas-provider API writes where a time is not known.
pub(super) const ZERO: &str = "0001-01-01T00:00:00Z";

/// The first millisecond that has no year of four digits any more: 10000-01-01T00:00:00Z.
const END_MS: u64 = 253_402_300_800_000;

const MS_PER_DAY: u64 = 86_400_000;

/// The time in UTC, e.g. `2026-11-24T00:17:21.5Z`; [`ZERO`] for one that no clock of today shows.
pub(super) fn show(ms: u64) -> String {
    if ms >= END_MS {
        return ZERO.to_owned();
    }
    let (year, month, day) = date(ms / MS_PER_DAY);
    let within = ms % MS_PER_DAY;
    let (seconds, fraction) = (within / 1000, within % 1000);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let digits = format!("{fraction:03}");
        let written = write!(text, ".{}", digits.trim_end_matches('0'));
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    text.push('Z');
    text
}

/// Reads an RFC 3339 time (`2026-11-24T01:17:21.5+01:00`). Times before 1970 are 1970.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(zone)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.split(':');
    let (hour, minute, second) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let whole = date.next().is_none() && clock.next().is_none();
    if !whole || !(1..=12).contains(&month) || !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let local = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let ms = (local - offset(zone)?) * 1000 + milliseconds(fraction)?;
    Some(u64::try_from(ms).unwrap_or(0))
}

/// The first three digits of a fraction of a second.
fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let first: String = fraction.chars().chain("000".chars()).take(3).collect();
    first.parse().ok()
}

/// `Z`, `+01:00` or `-01:00` in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let seconds = hours * 3600 + minutes * 60;
    (hours <= 23 && minutes <= 59).then_some(if sign == "-" { -seconds } else { seconds })
}

fn number(text: &str, digits: usize) -> Option<i64> {
    if text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar; years before 1 do not occur.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469
}

/// The date of a day after 1970-01-01: the year by a guess that is at most one too high.
fn date(day: u64) -> (i64, i64, i64) {
    let day = i64::try_from(day).unwrap_or(0);
    let mut year = 1970 + day / 365;
    while days(year, 1, 1) > day {
        year -= 1;
    }
    let month = (2..=12).rev().find(|&month| days(year, month, 1) <= day).unwrap_or(1);
    (year, month, day - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_shown_and_read() {
        // From `date -u -d @... +%FT%TZ`.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_479_441_500, "2026-11-24T00:17:21.5Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(show(ms), text);
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        assert_eq!(show(u64::MAX), ZERO);
    }

    #[test]
    fn offsets_and_long_fractions_are_read() {
        assert_eq!(parse("2026-11-24T01:17:21.500999999+01:00"), Some(1_795_479_441_500));
        assert_eq!(parse("2026-11-23T23:47:21-00:30"), Some(1_795_479_441_000));
        assert_eq!(parse("0001-01-01T00:00:00Z"), Some(0));
    }

    #[test]
    fn other_texts_are_no_times() {
        for bad in [
            "",
            "now",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T00:00:00",
            "2026-11-24T00:00:00.Z",
            "2026-11-24T00:00:00+1",
            "26-11-24T00:00:00Z",
            "2026-11-24T00:00:00Zx",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_shown_time_is_read_back(ms in 0..END_MS) {
            prop_assert_eq!(parse(&show(ms)), Some(ms));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}|[0-9TZ:+. -]{0,40}") {
            let _ = parse(&text);
        }
    }
}
