//! What happens around each exported call.

use std::sync::Once;

use crate::{Provider, Result, log};

/// Opens the provider and runs one call on it.
pub(crate) fn call<P: Provider, T>(body: impl FnOnce(&P) -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(report_panics);
    body(&P::open()?)
}

/// A panic ends the instance as a bare trap; the hook says where it came from before that.
fn report_panics() {
    if cfg!(target_arch = "wasm32") {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            let text = panic.payload_as_str().unwrap_or("panic without a text");
            log::write(log::Level::Error, text, &[("panic_at".to_owned(), place)]);
        }));
    }
}

/// The bytes of a text, as a static of a custom section wants them; evaluated while compiling.
#[must_use]
#[expect(clippy::panic, reason = "a wrong length is an error of compilation")]
pub const fn section<const N: usize>(text: &str) -> [u8; N] {
    match text.as_bytes().as_chunks::<N>() {
        ([whole], []) => *whole,
        _ => panic!("the array is as long as the text"),
    }
}
