//! What a rule demands of a body, and a body.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| wicketgate_fuzz::body(input));
