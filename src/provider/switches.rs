//! The checks that no setting turns off, turned off one at a time. For tests only: an attack that a check stops has
//! to succeed without that check, or the test would show something else. The table is `tests/fixtures/README.md`.

use std::cell::Cell;

/// A check of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// How deep a guest may call.
    Stack,
    /// Which proposals of WebAssembly a component may use.
    Features,
    /// How many memories a component may have.
    Memories,
    /// Whether every import is one that this gateway has.
    Imports,
    /// Whether a plugin runs and has the contract's types before it serves.
    Types,
    /// An instance that trapped is dropped.
    Discard,
    /// An instance that holds handles after its call is dropped.
    Leftovers,
    /// What is not published yet writes to a copy of the plugin's state.
    Overlay,
    /// A plugin that keeps trapping is stopped for a while.
    Quarantine,
    /// How many random bytes are made at once.
    Random,
    /// What the contract allows in an answer.
    Contract,
    /// Whether an answer is about what was asked, and not about another namespace.
    Confined,
    /// Which paths may be matched at all.
    Paths,
    /// Which header fields pass to the platform.
    Fields,
    /// Addresses that are never dialled.
    NeverDialled,
    /// The gateway's own listeners are not dialled.
    OwnListeners,
}

thread_local! {
    static OFF: Cell<Option<Check>> = const { Cell::new(None) };
}

/// Whether a check is off on this thread.
pub(crate) fn is_off(check: Check) -> bool {
    OFF.get() == Some(check)
}

/// Keeps a check off until it is dropped.
pub(crate) struct Off(());

impl Off {
    pub(crate) fn of(check: Check) -> Self {
        OFF.set(Some(check));
        Self(())
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        OFF.set(None);
    }
}
