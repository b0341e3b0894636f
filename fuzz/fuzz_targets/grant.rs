//! A rule of a grant, and a request that a plugin sends under it.
#![no_main]

use http::{HeaderMap, Method, Uri};
use libfuzzer_sys::fuzz_target;
use wicketgate::host::grant::{Connect, Rule};

fuzz_target!(|input: (&str, &str, &str)| {
    let (rule, connect, uri) = input;
    let _connect = connect.parse::<Connect>();
    if let (Ok(rule), Ok(uri)) = (rule.parse::<Rule>(), uri.parse::<Uri>()) {
        let _matches = rule.matches(&Method::GET, &uri, &HeaderMap::new(), &[]);
    }
});
