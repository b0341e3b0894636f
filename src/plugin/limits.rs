//! How large an instance may grow.

use wasmtime::ResourceLimiter;

/// What an element of a table costs: a pointer.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// One bound over *all* memories and tables of an instance; wasmtime's own is for each memory.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    used: usize,
    max: usize,
    was_refused: bool,
}

impl MemoryLimit {
    pub(super) fn new(max: usize) -> Self {
        Self { used: 0, max, was_refused: false }
    }

    /// Bytes in use. Memories never shrink, so this is also the most that there was.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether the guest asked for more than it may have. A guest usually traps then, and the trap
    /// alone would not say why.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused
    }

    fn grow(&mut self, by: usize) -> bool {
        match self.used.checked_add(by) {
            Some(used) if used <= self.max => {
                self.used = used;
                true
            }
            Some(_) | None => {
                self.was_refused = true;
                false
            }
        }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // What the module itself forbids is not our refusal.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut limit = MemoryLimit::new(100_000);
        assert!(limit.memory_growing(0, 65_536, None).unwrap());
        assert!(limit.table_growing(0, 1_000, None).unwrap());
        assert_eq!(limit.used(), 65_536 + 8_000);
        assert!(!limit.memory_growing(65_536, 131_072, None).unwrap());
        assert!(limit.was_refused());
        assert_eq!(limit.used(), 65_536 + 8_000, "a refused growth is not counted");
    }

    #[test]
    fn a_bound_of_the_module_itself_is_no_broken_budget() {
        let mut limit = MemoryLimit::new(1 << 20);
        assert!(!limit.memory_growing(0, 131_072, Some(65_536)).unwrap());
        assert!(!limit.was_refused());
    }
}
