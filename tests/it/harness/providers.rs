//! Providers that many suites have, as lines of a configuration.

use super::{Gateway, Platform};

/// That of this machine, as `[provider.local]`. Its commands come behind it.
pub const LOCAL: &str = r#"
[provider.local]
component = "builtin:local"
namespaces = ["openfaas-fn"]
default = true
[provider.local.endpoints]
allow = ["127.0.0.0/8"]
"#;

/// A provider that speaks to `platform` by the bundled plugin, as `[provider.platform]`. `grant` is
/// more of its grant, `tables` are more tables.
pub fn faas_provider(platform: &Platform, grant: &str, tables: &str) -> String {
    format!(
        "[provider.platform]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.platform.grant.provider]\nconnect = \"http://{}\"\nprofile = \"faas-provider\"\n{grant}\n{tables}\n",
        platform.address()
    )
}

/// A gateway before an open platform.
pub fn gateway(platform: &Platform, tables: &str) -> Gateway {
    Gateway::with(&faas_provider(platform, "", tables))
}
