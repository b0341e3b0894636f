//! A minisign key and a signature.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wicketgate_fuzz::signature(&String::from_utf8_lossy(input)));
