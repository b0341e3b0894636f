//! The lock file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wicketgate_fuzz::lock(&String::from_utf8_lossy(input)));
