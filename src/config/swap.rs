//! `[provider.NAME.swap]`: how its plugin is replaced.

use std::time::Duration;

use super::section::Section;
use super::value::as_text;
use crate::provider::{CanaryConfig, PlatformWord, Retire, SwapConfig};

/// What a candidate's answers are compared by; `labels.KEY` and `annotations.KEY` name one entry.
const FIELDS: [&str; 7] =
    ["replicas", "available-replicas", "min-replicas", "max-replicas", "scaling-factor", "labels", "annotations"];

pub(super) fn read(section: &Section<'_>) -> SwapConfig {
    let default = SwapConfig::default();
    let second = Duration::from_secs;
    SwapConfig {
        shadow: section.count("shadow", default.shadow, 0..=1000),
        shadow_timeout: section.duration(
            "shadow-timeout",
            default.shadow_timeout,
            Duration::from_millis(100)..=second(600),
        ),
        tolerance: section.count("tolerance", default.tolerance, 0..=10_000),
        ignore: section.list("ignore", |value| field(as_text(value)?)).unwrap_or_default(),
        swap_lookback: section.duration("swap-lookback", default.swap_lookback, Duration::ZERO..=second(7 * 86_400)),
        functions: section.count("functions", default.functions, 64..=1_000_000),
        warm_timeout: section.duration("warm-timeout", default.warm_timeout, second(1)..=second(1800)),
        platform: section
            .choice("platform", &[("same", PlatformWord::Same), ("other", PlatformWord::Other)])
            .unwrap_or_default(),
        retire: section
            .choice("retire", &[("leave", Retire::Leave), ("scale-to-zero", Retire::ScaleToZero)])
            .unwrap_or_default(),
        retire_timeout: section.duration("retire-timeout", default.retire_timeout, second(1)..=second(3600)),
        retire_problems: section.count("retire-problems", default.retire_problems, 0..=1000),
        canary: canary(&section.section("canary")),
    }
}

fn field(text: &str) -> Result<String, String> {
    let is_entry =
        ["labels.", "annotations."].iter().any(|table| text.strip_prefix(table).is_some_and(|key| !key.is_empty()));
    if is_entry || FIELDS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("is no field; there is {}, labels.KEY and annotations.KEY", FIELDS.join(", ")))
}

fn canary(section: &Section<'_>) -> CanaryConfig {
    let default = CanaryConfig::default();
    let (least, second) = (Duration::from_millis(100), Duration::from_secs);
    CanaryConfig {
        share: section.count("share", default.share, 0..=99),
        time: section.duration("time", default.time, least..=second(86_400)),
        calls: section.count("calls", default.calls, 1..=1_000_000),
        errors: section.count("errors", default.errors, 0..=100),
        slower: section.count("slower", default.slower, 100..=10_000),
        slack: section.duration("slack", default.slack, Duration::ZERO..=second(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_compared_must_be_one() {
        for good in ["replicas", "labels", "labels.com.acme.x", "annotations.a"] {
            assert_eq!(field(good).as_deref(), Ok(good));
        }
        for bad in ["", "label", "labels.", "version"] {
            assert!(field(bad).unwrap_err().contains("labels.KEY"), "{bad}");
        }
    }
}
