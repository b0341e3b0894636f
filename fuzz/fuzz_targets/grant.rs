//! A rule of a grant, and a target under it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| wicketgate_fuzz::grant(input));
