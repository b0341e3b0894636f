//! `limits` of a deployment: they lower what the operator declared, and never raise it.

use wicketgate_sdk::processes::ProcessLimits;
use wicketgate_sdk::{FunctionResources, Pairs};

/// The suffixes of a quantity and what they stand for.
const SUFFIXES: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// No limits.
pub(crate) fn none() -> ProcessLimits {
    ProcessLimits { memory: None, cpu_seconds: None, open_files: None, processes: None }
}

/// Whether two say the same.
pub(crate) fn are_same(one: &ProcessLimits, other: &ProcessLimits) -> bool {
    let all = |limits: &ProcessLimits| [limits.memory, limits.cpu_seconds, limits.open_files, limits.processes];
    all(one) == all(other)
}

/// What a deployment wrote, as pairs.
pub(crate) fn texts(limits: Option<FunctionResources>) -> Pairs {
    let FunctionResources { memory, cpu, extra } = limits.unwrap_or_default();
    let named = [("memory", memory), ("cpu", cpu)];
    let named = named.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
    named.chain(extra).filter(|(_name, text)| !text.is_empty()).collect()
}

/// The same for whoever asks what is deployed.
pub(crate) fn resources(texts: &Pairs) -> Option<FunctionResources> {
    let mut resources = FunctionResources::default();
    for (name, text) in texts {
        match name.as_str() {
            "memory" => resources.memory = Some(text.clone()),
            _ => resources.extra.push((name.clone(), text.clone())),
        }
    }
    (!texts.is_empty()).then_some(resources)
}

/// What the pairs mean, or which of them means nothing here.
pub(crate) fn read(texts: &Pairs) -> Result<ProcessLimits, String> {
    let mut limits = none();
    for (name, text) in texts {
        let limit = match name.as_str() {
            "memory" => &mut limits.memory,
            "cpu-seconds" => &mut limits.cpu_seconds,
            "open-files" => &mut limits.open_files,
            "processes" => &mut limits.processes,
            "cpu" => {
                return Err("limits.cpu is a share of a processor, and processes here have none; \
                            write cpu-seconds, the processor time of one process"
                    .to_owned());
            }
            other => {
                return Err(format!(
                    "limits.{other} is unknown; there are memory, cpu-seconds, open-files and processes"
                ));
            }
        };
        let quantity = quantity(text).filter(|quantity| *quantity > 0);
        *limit =
            Some(quantity.ok_or_else(|| format!("limits.{name} {text:?} is no quantity; write e.g. 64Mi or 100"))?);
    }
    Ok(limits)
}

/// Whether the pairs stay within what the operator declared.
pub(crate) fn within(texts: &Pairs, declared: &ProcessLimits) -> Result<(), String> {
    let asked = read(texts)?;
    for (name, asked, most) in [
        ("memory", asked.memory, declared.memory),
        ("cpu-seconds", asked.cpu_seconds, declared.cpu_seconds),
        ("open-files", asked.open_files, declared.open_files),
        ("processes", asked.processes, declared.processes),
    ] {
        if let (Some(asked), Some(most)) = (asked, most)
            && asked > most
        {
            return Err(format!("limits.{name} of {asked} is more than the {most} that the operator declared"));
        }
    }
    Ok(())
}

/// A whole number with one of the suffixes, or none.
fn quantity(text: &str) -> Option<u64> {
    let (digits, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor))).unwrap_or((text, 1));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_numbers_with_the_usual_suffixes() {
        for (text, bytes) in [("64Mi", 64 << 20), ("1k", 1000), ("2G", 2_000_000_000), ("17", 17), ("0", 0)] {
            assert_eq!(quantity(text), Some(bytes), "{text}");
        }
        for bad in ["", "Mi", "-1", "+1", "1.5Gi", "1m", "64MiB", "99999999Ti", "18446744073709551616"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_unknown_or_more_than_declared_is_refused_by_name() {
        let pairs = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
        let declared = ProcessLimits { memory: Some(64 << 20), ..none() };
        within(&pairs("memory", "64Mi"), &declared).unwrap();
        within(&pairs("open-files", "100"), &declared).unwrap();
        for (name, text, part) in [
            ("memory", "65Mi", "operator"),
            ("memory", "much", "no quantity"),
            ("memory", "0", "no quantity"),
            ("cpu", "100m", "cpu-seconds"),
            ("gpu", "1", "unknown"),
        ] {
            let refused = within(&pairs(name, text), &declared).unwrap_err();
            assert!(refused.contains(part) && refused.contains(name), "{refused}");
        }
    }
}
