//! Random bytes.

/// `len` bytes fit for secrets and identifiers. On the host, for tests, a fixed sequence.
#[must_use]
pub fn bytes(len: usize) -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wasi::random::random::get_random_bytes(len as u64);
    #[cfg(not(target_arch = "wasm32"))]
    (0..len).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect()
}

/// A seed for a hash table, not fit for secrets.
pub(crate) fn seed() -> (u64, u64) {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wasi::random::insecure_seed::insecure_seed();
    #[cfg(not(target_arch = "wasm32"))]
    (0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
}
