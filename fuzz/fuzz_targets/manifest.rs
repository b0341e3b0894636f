//! The manifest of a component.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wicketgate_fuzz::manifest(input));
