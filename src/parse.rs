//! Texts of a configuration into values: spans of time, sizes, switches, addresses, commands.
//! A leaf: pure functions whose errors say what to write instead.

mod address;
mod argv;

pub use address::{Address, InvalidAddress, UNIX_PATH_MAX_BYTES};
pub use argv::{InvalidArgv, argv};

use std::time::Duration;

/// Why a text is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// A number without a unit; what was meant cannot be guessed.
    #[error("{0:?} has no unit; write {0}s or {0}ms")]
    NoUnit(String),
    /// A unit that is none.
    #[error("{unit:?} is no unit of time in {text:?}; write ms, s, m, h or d, e.g. \"5s\" or \"1m30s\"")]
    Unit {
        /// The whole text.
        text: String,
        /// What stands where a unit should.
        unit: String,
    },
    /// It has no number where one should be.
    #[error("{0:?} is not a span of time; write e.g. \"250ms\", \"5s\" or \"1m30s\"")]
    Malformed(String),
    /// It does not fit.
    #[error("{0:?} is too long a time; at most 584 years fit")]
    TooLong(String),
}

/// Reads a span of time: whole numbers with `ms`, `s`, `m`, `h` or `d`, one or several of them
/// (`1m30s`). `0` needs no unit, any other bare number is refused.
///
/// # Errors
/// [`InvalidDuration`] says what to write.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    spans(text, false)
}

/// Reads a span of time as OpenFaaS's environment writes it: a whole number of seconds, or a Go
/// duration (`1m30s`, `1.5h`, `100ms`, units `ns us µs ms s m h`), not negative.
///
/// # Errors
/// [`InvalidDuration`] says what to write.
pub fn openfaas_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return spans(&format!("{text}s"), true);
    }
    spans(text, true)
}

fn spans(text: &str, go: bool) -> Result<Duration, InvalidDuration> {
    let malformed = || InvalidDuration::Malformed(text.into());
    let too_long = || InvalidDuration::TooLong(text.into());
    let mut total: u128 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) if go => digits(after),
            Some(_) | None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(malformed());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or_else(malformed)?;
        let Some(nanos) = nanoseconds(unit, go) else {
            return Err(if unit.is_empty() && after.is_empty() && fraction.is_empty() && whole.len() == text.len() {
                InvalidDuration::NoUnit(text.into())
            } else if unit.is_empty() {
                malformed()
            } else {
                InvalidDuration::Unit { text: text.into(), unit: unit.into() }
            });
        };
        let number: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_overflow| too_long())? };
        total = total.saturating_add(u128::from(number) * u128::from(nanos)).saturating_add(part(fraction, nanos));
        rest = after;
    }
    let nanos = u64::try_from(total).map_err(|_overflow| too_long())?;
    Ok(Duration::from_nanos(nanos))
}

/// The first digits of a text, and what follows.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `0.fraction` of `nanos`, cut off; digits beyond the twelfth are below a nanosecond of every unit.
fn part(fraction: &str, nanos: u64) -> u128 {
    let mut scale: u128 = 1;
    let mut value: u128 = 0;
    for digit in fraction.bytes().take(16) {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    value * u128::from(nanos) / scale
}

fn nanoseconds(unit: &str, go: bool) -> Option<u64> {
    Some(match unit {
        "ns" if go => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" if go => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" if !go => 86_400 * 1_000_000_000,
        _ => return None,
    })
}

/// Shows a span of time in the form that [`duration`] reads, in its largest exact unit.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// It has no number in front.
    #[error("{0:?} is not a size; write bytes or e.g. \"64KiB\", \"10MB\", \"1GiB\"")]
    Malformed(String),
    /// A unit that is none.
    #[error("{unit:?} is no unit of size in {text:?}; write B, kB, MB, GB, KiB, MiB or GiB")]
    Unit {
        /// The whole text.
        text: String,
        /// What stands where a unit should.
        unit: String,
    },
    /// It does not fit.
    #[error("{0:?} is too large a size; at most 2^64 - 1 bytes fit")]
    TooLarge(String),
}

/// Reads a number of bytes: a whole number and nothing (bytes), `B`, a power of 1000 (`kB` or
/// `KB`, `MB`, `GB`, `TB`) or of 1024 (`KiB`, `MiB`, `GiB`, `TiB`); a space may stand between.
///
/// # Errors
/// [`InvalidSize`] says what to write.
pub fn size(text: &str) -> Result<u64, InvalidSize> {
    let text = text.trim();
    let (number, unit) = digits(text);
    if number.is_empty() {
        return Err(InvalidSize::Malformed(text.into()));
    }
    let unit = unit.trim_start();
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(InvalidSize::Unit { text: text.into(), unit: unit.into() }),
    };
    let too_large = || InvalidSize::TooLarge(text.into());
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(too_large)
}

/// Shows a number of bytes in the form that [`size`] reads, in its largest exact unit of 1024.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A text that is neither `true` nor `false`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither \"true\" nor \"false\"")]
pub struct InvalidSwitch(pub String);

/// Reads a switch of OpenFaaS's environment: exactly `true` or `false`; empty is `false`.
///
/// # Errors
/// [`InvalidSwitch`]; OpenFaaS itself takes everything but `true` for `false`.
pub fn switch(text: &str) -> Result<bool, InvalidSwitch> {
    match text {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        other => Err(InvalidSwitch(other.into())),
    }
}

#[cfg(test)]
mod tests;
