//! What a component says of itself, before anything of it runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate::plugin::Manifest;

fuzz_target!(|component: &[u8]| {
    let _manifest = Manifest::read(component);
});
