//! How a provider's plugin is replaced: what a candidate has to show, and how it takes over.

use std::time::Duration;

/// The `swap` table of a provider. Each field is a key of it, in kebab-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapConfig {
    /// `shadow`: functions about which a candidate is asked before it may take over, those that were
    /// asked about last first; as many answers are remembered. 0 asks nothing. Default 64, at most 1000.
    pub shadow: u32,
    /// `shadow-timeout`: for how long; a candidate that needs longer is refused. Default 30 s, 100 ms to
    /// 10 min.
    pub shadow_timeout: Duration,
    /// `tolerance`: instances by which a count may differ from the active generation's. Default 0, at
    /// most 10000.
    pub tolerance: u64,
    /// `ignore`: fields that are not compared, e.g. `annotations`, or `labels.KEY` for one label.
    pub ignore: Vec<String>,
    /// `swap-lookback`: functions that were called within this time must exist on the platform of the
    /// next generation, if it is another. Default 15 min, at most 7 d.
    pub swap_lookback: Duration,
    /// `functions`: functions of which it is remembered when they were asked about last, for `swap-lookback`, and
    /// that are set to no instances; of more, those that were asked about longest ago are forgotten. Default 10000,
    /// 64 to 1000000.
    pub functions: u32,
    /// `warm-timeout`: for how long functions with instances may take to have one on another platform,
    /// before the swap is refused. Default 60 s, 1 s to 30 min.
    pub warm_timeout: Duration,
    /// `platform`: whether the provider's next generation, where its grants or its configuration are others,
    /// speaks to the same platform. Default: compared.
    pub platform: PlatformWord,
    /// `retire`: what becomes of the instances on the platform from before, after another one took over and
    /// the last call ended. Default: they are left.
    pub retire: Retire,
    /// `retire-timeout`: for how long functions are set to no instances; those that were not come to are left.
    /// Default 5 min, 1 s to 1 h.
    pub retire_timeout: Duration,
    /// `retire-problems`: functions that could not be set to no instances which are told one by one; the others are
    /// counted. Default 16, at most 1000.
    pub retire_problems: u32,
    /// `canary`: how the next generation begins with a share of the functions. Default: with all.
    pub canary: CanaryConfig,
}

/// What the operator says of the platform of a changed provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlatformWord {
    /// Nothing: addresses, base paths and signing regions of the grants are compared.
    #[default]
    Compared,
    /// `"same"`: it is the platform from before, under another address.
    Same,
    /// `"other"`: it is another one, though the address may be the same.
    Other,
}

/// What becomes of the instances on a platform that was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retire {
    /// `"leave"`: nothing.
    #[default]
    Leave,
    /// `"scale-to-zero"`: its plugin sets 0 for all functions of the provider's namespaces.
    ScaleToZero,
}

impl Default for SwapConfig {
    fn default() -> Self {
        Self {
            shadow: 64,
            shadow_timeout: Duration::from_secs(30),
            tolerance: 0,
            ignore: Vec::new(),
            swap_lookback: Duration::from_secs(900),
            functions: 10_000,
            warm_timeout: Duration::from_secs(60),
            platform: PlatformWord::default(),
            retire: Retire::default(),
            retire_timeout: Duration::from_secs(300),
            retire_problems: 16,
            canary: CanaryConfig::default(),
        }
    }
}

impl SwapConfig {
    /// Whether a field is compared: neither it nor the table that it is in is in `ignore`.
    #[must_use]
    pub fn compares(&self, field: &str) -> bool {
        let table = field.split_once('.').map_or(field, |(table, _)| table);
        !self.ignore.iter().any(|ignored| ignored == field || ignored == table)
    }
}

/// The `swap.canary` table of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// `canary.share`: percent of the functions that go to the next generation first, by a hash of their
    /// names, so that a function stays where it is. Default 0 (no canary), at most 99.
    pub share: u8,
    /// `canary.time`: for how long, before all follow. Default 60 s, 100 ms to 1 d.
    pub time: Duration,
    /// `canary.calls`: calls of the canary that a judgement needs; with fewer nothing is rolled back.
    /// Default 20, 1 to 1000000.
    pub calls: u32,
    /// `canary.errors`: percentage points by which its error rate may be above that of the old
    /// generation. Default 5, at most 100.
    pub errors: u8,
    /// `canary.slower`: percent of the old generation's mean latency that its own may reach. Default
    /// 200, 100 to 10000.
    pub slower: u32,
    /// `canary.slack`: a latency below the old one's plus this is never too slow. Default 20 ms, at most
    /// 1 min.
    pub slack: Duration,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self {
            share: 0,
            time: Duration::from_secs(60),
            calls: 20,
            errors: 5,
            slower: 200,
            slack: Duration::from_millis(20),
        }
    }
}
