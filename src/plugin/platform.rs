//! What tells one platform from another.

use std::collections::BTreeSet;

use crate::host::grant::{Auth, Grant};
use crate::provider::{PlatformWord, ProviderConfig};

/// The platform that a plugin speaks to, as far as its configuration shows it.
#[derive(Clone, Debug)]
pub(super) struct Platform {
    /// Where its requests go: address, base path and, where requests are signed, the region.
    places: BTreeSet<String>,
    /// What it reads as its configuration, which may name a cluster or a data centre.
    config: serde_json::Value,
    /// What it calls itself: all there is to go by without a grant.
    plugin: String,
    /// What the operator says of it.
    word: PlatformWord,
}

impl Platform {
    pub(super) fn new(config: &ProviderConfig, plugin: &str) -> Self {
        Self {
            places: config.grants.values().map(place).collect(),
            config: config.config.clone(),
            plugin: plugin.to_owned(),
            word: config.swap.platform,
        }
    }

    /// Whether the plugin of this platform would take over the one that `old`'s speaks to.
    ///
    /// The operator's word counts where grants or configuration say something new; it does not make another
    /// build of a plugin move. Without a word it is one platform where all places of one of both are places of
    /// the other too: a grant may come or go.
    pub(super) fn is_same_as(&self, old: &Self) -> bool {
        let is_moved = self.places != old.places || self.config != old.config;
        match self.word {
            PlatformWord::Same => true,
            PlatformWord::Other if is_moved => false,
            PlatformWord::Other | PlatformWord::Compared => {
                if self.places.is_empty() && old.places.is_empty() {
                    return self.plugin == old.plugin;
                }
                let is_within =
                    |one: &BTreeSet<String>, other: &BTreeSet<String>| !one.is_empty() && one.is_subset(other);
                is_within(&self.places, &old.places) || is_within(&old.places, &self.places)
            }
        }
    }
}

/// A place as a text, for comparison only.
fn place(grant: &Grant) -> String {
    let region = match &grant.auth {
        Auth::Aws(aws) => aws.region.as_str(),
        Auth::None | Auth::Basic { .. } | Auth::Header { .. } | Auth::Bearer { .. } => "",
    };
    format!("{}{} {region}", grant.connect, grant.base)
}

#[cfg(test)]
mod tests {
    use super::super::registry::tests::{Bench, limits};
    use super::*;
    use crate::host::grant::{AwsAuth, AwsKeys};

    fn grant(connect: &str, base: &str, region: Option<&str>) -> Grant {
        let keys = AwsKeys::Profile { path: "/keys".into(), name: "default".into() };
        let aws = |region: &str| Auth::Aws(Box::new(AwsAuth { region: region.into(), service: "ecs".into(), keys }));
        Grant {
            base: base.parse().unwrap(),
            auth: region.map_or(Auth::None, aws),
            ..Grant::new(connect.parse().unwrap())
        }
    }

    fn platform(grants: &[Grant], cluster: &str, word: PlatformWord) -> Platform {
        let mut config = Bench::new().config("good", limits());
        config.grants =
            grants.iter().enumerate().map(|(number, grant)| (format!("g{number}"), grant.clone())).collect();
        config.config = serde_json::json!({ "cluster": cluster });
        config.swap.platform = word;
        Platform::new(&config, "acme")
    }

    #[test]
    fn places_are_compared_with_base_and_region_and_a_shared_one_is_not_enough() {
        let compared = |new: &[Grant], old: &[Grant]| {
            platform(new, "a", PlatformWord::Compared).is_same_as(&platform(old, "a", PlatformWord::Compared))
        };
        let ecs = |region| grant("https://ecs.example", "", Some(region));
        let registry = || grant("https://registry.example", "", None);
        assert!(compared(&[ecs("eu")], &[ecs("eu")]));
        assert!(!compared(&[ecs("us")], &[ecs("eu")]), "another region");
        assert!(!compared(&[grant("http://p", "/b", None)], &[grant("http://p", "/a", None)]), "another base");
        assert!(!compared(&[ecs("us"), registry()], &[ecs("eu"), registry()]), "a shared place is not enough");
        assert!(compared(&[ecs("eu"), registry()], &[ecs("eu")]), "a grant more");
        assert!(compared(&[ecs("eu")], &[ecs("eu"), registry()]), "a grant less");
        assert!(!compared(&[ecs("eu")], &[]), "from this machine to another");
        assert!(compared(&[], &[]), "one plugin without grants");
    }

    #[test]
    fn the_operators_word_counts_where_something_moved() {
        let here = || [grant("http://p", "", None)];
        let old = platform(&here(), "a", PlatformWord::Other);
        let says = |cluster, word| platform(&here(), cluster, word).is_same_as(&old);
        assert!(says("b", PlatformWord::Compared), "a cluster that only the plugin knows of");
        assert!(!says("b", PlatformWord::Other));
        assert!(says("a", PlatformWord::Other), "another build of the same plugin has not moved");
        let moved = [grant("http://q", "", None)];
        assert!(!platform(&moved, "a", PlatformWord::Compared).is_same_as(&old));
        assert!(platform(&moved, "a", PlatformWord::Same).is_same_as(&old), "the same under another name");
    }
}
