//! The path of a request, as a client sends it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate::name::{FunctionRef, Namespace};
use wicketgate::router;

fuzz_target!(|path: &str| {
    let default: Namespace = "openfaas-fn".parse().unwrap();
    let _route = router::route(path);
    if let Ok(function) = router::function(path, &default) {
        // What is shown names the same function again.
        assert_eq!(FunctionRef::parse(&function.to_string(), &default).unwrap(), function);
    }
});
