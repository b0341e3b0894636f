//! A configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate::config::Config;

fuzz_target!(|text: &str| {
    let _config = Config::from_toml(text, "fuzz", std::path::Path::new("/"), &["local", "faas-provider"]);
});
