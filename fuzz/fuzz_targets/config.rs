//! A configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| wicketgate_fuzz::config(input));
