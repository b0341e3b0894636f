//! Rules for platforms that many have, by name: `profile = "faas-provider"` in a grant.

/// All of them.
pub(super) const NAMES: [&str; 2] = ["faas-provider", "faas-provider-scale-only"];

/// What scaling needs of a faas-provider, and nothing else.
const SCALE_ONLY: [&str; 6] = [
    "GET /healthz",
    "GET /system/info",
    "GET /system/namespaces",
    "GET /system/functions?namespace?=NAMESPACE",
    "GET /system/function/*?namespace?=NAMESPACE&usage=*",
    "POST /system/scale-function/*?namespace?=NAMESPACE",
];

/// The rest of its API, for `faas-cli` through the gateway.
const MANAGE: [&str; 14] = [
    "POST /system/functions?namespace?=NAMESPACE",
    "PUT /system/functions?namespace?=NAMESPACE",
    "DELETE /system/functions?namespace?=NAMESPACE&functionName=*",
    "GET /system/secrets?namespace?=NAMESPACE",
    "POST /system/secrets?namespace?=NAMESPACE",
    "PUT /system/secrets?namespace?=NAMESPACE",
    "DELETE /system/secrets?namespace?=NAMESPACE",
    "GET /system/logs?name=*&namespace?=NAMESPACE&tail=*&follow=*&since=*&instance=*",
    "GET /system/namespace/{namespace}",
    "POST /system/namespace/{namespace}",
    "PUT /system/namespace/{namespace}",
    "DELETE /system/namespace/{namespace}",
    "POST /system/namespace/",
    "PUT /system/namespace/",
];

/// The path below which the platform of a profile forwards requests to its functions.
pub(super) fn functions(profile: &str) -> Option<&'static str> {
    NAMES.contains(&profile).then_some("/function")
}

/// The rules of a profile, in their short form; `None` if there is no such profile. A provider that
/// serves every namespace may name every namespace, another one only its own.
pub(super) fn rules(profile: &str, is_default: bool) -> Option<Vec<String>> {
    let texts: Vec<&str> = match profile {
        "faas-provider" => SCALE_ONLY.into_iter().chain(MANAGE).collect(),
        "faas-provider-scale-only" => SCALE_ONLY.to_vec(),
        _ => return None,
    };
    let (query, path) = if is_default { ("*", "*") } else { ("{namespace}", "{namespace}") };
    let expand = |text: &str| text.replace("NAMESPACE", query).replace("{namespace}", path);
    Some(texts.into_iter().map(expand).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::grant::Rule;

    #[test]
    fn every_rule_of_every_profile_is_one() {
        for profile in NAMES {
            for is_default in [false, true] {
                for text in rules(profile, is_default).unwrap() {
                    assert!(text.parse::<Rule>().is_ok(), "{profile}: {text}: {:?}", text.parse::<Rule>());
                }
            }
        }
    }

    #[test]
    fn a_provider_with_namespaces_of_its_own_may_name_no_others() {
        assert!(rules("faas-provider", false).unwrap().iter().all(|rule| !rule.contains("namespace?=*")));
    }
}
