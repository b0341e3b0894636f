//! How far a function may be scaled: its labels, then what the platform says, then OpenFaaS's
//! defaults.

use crate::query::{Pairs, ServiceStatus};

/// The label with the least number of instances.
pub const MIN: &str = "com.openfaas.scale.min";
/// The label with the greatest number of instances.
pub const MAX: &str = "com.openfaas.scale.max";
/// The label with the step of automatic scaling in percent of the greatest number.
pub const FACTOR: &str = "com.openfaas.scale.factor";

/// Least number of instances where nobody says one (OpenFaaS).
pub const MIN_DEFAULT: u64 = 1;
/// Greatest number of instances where nobody says one (OpenFaaS).
pub const MAX_DEFAULT: u64 = 5;
/// Step in percent where nobody says one (OpenFaaS).
pub const FACTOR_DEFAULT: u32 = 10;
/// The most instances that a label or a platform can make the gateway ask for.
pub const REPLICAS_MAX: u64 = 1000;

/// How far a function may be scaled. `min <= max`, `max` is 1 to [`REPLICAS_MAX`], `factor` 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleSettings {
    /// Least number of instances; 0 lets the function sleep.
    pub min: u64,
    /// Greatest number of instances.
    pub max: u64,
    /// Step of automatic scaling (alerts) in percent of `max`; 0 means none. A function with 0 stays
    /// invokable: a request still starts its first instance.
    pub factor: u32,
}

impl Default for ScaleSettings {
    fn default() -> Self {
        Self { min: MIN_DEFAULT, max: MAX_DEFAULT, factor: FACTOR_DEFAULT }
    }
}

/// A label whose value was not taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("label {label} is {value:?}, expected a whole number from {least} to {most}; {instead} is used")]
pub struct BadLabel {
    /// Its name.
    pub label: &'static str,
    /// What it says.
    pub value: String,
    /// The least value that it may have.
    pub least: u64,
    /// The greatest value that it may have.
    pub most: u64,
    /// What is used in its place.
    pub instead: u64,
}

impl ScaleSettings {
    /// The settings of a function with this status, and the labels that could not be taken: one
    /// that is no number gives way to the platform's number or the default, one outside its range
    /// is brought into it.
    #[must_use]
    pub fn of(status: &ServiceStatus) -> (Self, Vec<BadLabel>) {
        let mut bad = Vec::new();
        let min_asked = number(&status.labels, MIN, 0, REPLICAS_MAX, status.min_replicas, MIN_DEFAULT, &mut bad);
        let max_asked = number(&status.labels, MAX, 1, REPLICAS_MAX, status.max_replicas, MAX_DEFAULT, &mut bad);
        let platform_factor = status.scaling_factor.map(u64::from);
        let factor = number(&status.labels, FACTOR, 0, 100, platform_factor, u64::from(FACTOR_DEFAULT), &mut bad);
        let max = if max_asked.said {
            max_asked.value
        } else {
            // Nobody set a greatest number: the default must not undercut what somebody set as the least.
            max_asked.value.max(min_asked.value)
        };
        let mut min = min_asked.value;
        if min > max {
            if min_asked.said {
                let value = min.to_string();
                bad.push(BadLabel { label: MIN, value, least: 0, most: max, instead: max });
            }
            min = max;
        }
        let factor = u32::try_from(factor.value).unwrap_or(FACTOR_DEFAULT);
        (Self { min, max, factor }, bad)
    }

    /// How many instances a request for a sleeping function asks for: the least number, and at least one.
    #[must_use]
    pub fn wake(&self) -> u64 {
        self.min.max(1)
    }
}

struct Number {
    value: u64,
    /// Whether a label or the platform said it.
    said: bool,
}

fn number(
    labels: &Pairs,
    label: &'static str,
    least: u64,
    most: u64,
    platform: Option<u64>,
    default: u64,
    bad: &mut Vec<BadLabel>,
) -> Number {
    let platform = platform.map(|value| value.clamp(least, most));
    let fallback = Number { value: platform.unwrap_or(default), said: platform.is_some() };
    // OpenFaaS takes an empty label for a missing one.
    let Some(text) = labels.get(label).filter(|text| !text.is_empty()) else { return fallback };
    // Rust reads "+1" as a number too; a label has digits only.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = match text.parse::<u64>() {
        Ok(value) if digits && (least..=most).contains(&value) => return Number { value, said: true },
        Ok(value) if digits => Number { value: value.clamp(least, most), said: true },
        // All digits and still no u64: too great for one.
        Err(_too_great) if digits => Number { value: most, said: true },
        Ok(_) | Err(_) => fallback,
    };
    let value = text.chars().take(64).collect();
    bad.push(BadLabel { label, value, least, most, instead: number.value });
    number
}

#[cfg(test)]
mod tests;
