//! What is generated from `wit/`, and nothing else.
//!
//! The world is the largest one, and no component needs to have all of it: optional exports are
//! bound one by one through each interface's own `GuestIndices`, never through the world's.

mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "wicketgate:provider/local-provider",
        imports: {
            "wicketgate:host/log": trappable,
            "wicketgate:host/config": trappable,
            "wicketgate:host/state": trappable,
            default: async | trappable,
        },
        exports: { default: async },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:random": wasmtime_wasi::p2::bindings::random,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        },
        require_store_data_send: true,
    });
}

pub(super) use generated::exports::wicketgate::provider as guest;
pub(super) use generated::wicketgate::host;
pub(super) use generated::wicketgate::provider::types;
