//! A kubeconfig file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| wicketgate_fuzz::kubeconfig(input));
