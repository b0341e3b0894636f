//! The path of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| wicketgate_fuzz::route(input));
