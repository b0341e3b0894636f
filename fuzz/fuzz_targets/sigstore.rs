//! A trusted root and a sigstore bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wicketgate_fuzz::sigstore(&String::from_utf8_lossy(input)));
