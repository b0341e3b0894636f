//! [`export_provider!`](crate::export_provider) and the manifest.

/// Makes a type the provider of this component, and writes the component's manifest.
///
/// ```text
/// export_provider! {
///     Acme,                                     // the type; it implements Provider
///     exports: [Endpoints, Health],             // the sister traits it implements
///     name: "acme",
///     description: "Apps on Acme",
///     grants: { "acme": "the Acme API" },       // which grants it asks the operator for
///     config: { "region": "where apps run" },   // which keys it reads from `config`
/// }
/// ```
///
/// A sister trait that `exports` does not name is absent from the component, and its operations
/// are answered with *not implemented*. Texts are plain string literals (neither raw strings nor
/// `\u{...}`), since they are copied into JSON as they stand. Version, licence and source come
/// from `Cargo.toml`.
///
/// The manifest is a custom section `wicketgate:manifest` of the core module, so it lies nested in
/// the component: `{"name", "version", "description", "licence", "source", "grants": {name:
/// description}, "config": {key: description}}`. It also becomes the constant `MANIFEST`.
#[macro_export]
macro_rules! export_provider {
    (
        $provider:ident,
        exports: [$($interface:ident),* $(,)?],
        name: $name:literal,
        description: $description:literal,
        grants: { $($grant:literal : $grant_text:literal),* $(,)? },
        config: { $($key:literal : $key_text:literal),* $(,)? } $(,)?
    ) => {
        /// What the plugin says of itself, as JSON.
        pub const MANIFEST: &str = ::core::concat!(
            "{\"name\":", ::core::stringify!($name),
            ",\"version\":\"", ::core::env!("CARGO_PKG_VERSION"),
            "\",\"description\":", ::core::stringify!($description),
            ",\"licence\":\"", ::core::env!("CARGO_PKG_LICENSE"),
            "\",\"source\":\"", ::core::env!("CARGO_PKG_REPOSITORY"),
            "\",\"grants\":{", $crate::__json_pairs!($($grant : $grant_text),*),
            "},\"config\":{", $crate::__json_pairs!($($key : $key_text),*),
            "}}"
        );

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(link_section = "wicketgate:manifest")]
            #[used]
            static SECTION: [u8; MANIFEST.len()] = $crate::run::section(MANIFEST);
        };

        $crate::__export!(ServiceQuery, $provider);
        $($crate::__export!($interface, $provider);)*
    };
}

/// `"a":"b","c":"d"` from pairs of literals.
#[doc(hidden)]
#[macro_export]
macro_rules! __json_pairs {
    () => { "" };
    ($key:literal : $value:literal $(, $more:literal : $text:literal)*) => {
        ::core::concat!(
            ::core::stringify!($key), ":", ::core::stringify!($value)
            $(, ",", ::core::stringify!($more), ":", ::core::stringify!($text))*
        )
    };
}

/// Exports one interface: the symbols for a component, a check of the trait for anything else.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (ServiceQuery, $provider:ident) => { $crate::__export!(@ service_query, Provider, __export_service_query_export_impl, $provider); };
    (Scaling, $provider:ident) => { $crate::__export!(@ scaling, Scaling, __export_scaling_export_impl, $provider); };
    (Watch, $provider:ident) => { $crate::__export!(@ watch, Watch, __export_watch_export_impl, $provider); };
    (Endpoints, $provider:ident) => { $crate::__export!(@ endpoints, Endpoints, __export_endpoints_export_impl, $provider); };
    (Functions, $provider:ident) => { $crate::__export!(@ functions, Functions, __export_functions_export_impl, $provider); };
    (Namespaces, $provider:ident) => { $crate::__export!(@ namespaces, Namespaces, __export_namespaces_export_impl, $provider); };
    (Secrets, $provider:ident) => { $crate::__export!(@ secrets, Secrets, __export_secrets_export_impl, $provider); };
    (Logs, $provider:ident) => { $crate::__export!(@ logs, Logs, __export_logs_export_impl, $provider); };
    (About, $provider:ident) => { $crate::__export!(@ about, About, __export_about_export_impl, $provider); };
    (Health, $provider:ident) => { $crate::__export!(@ health, Health, __export_health_export_impl, $provider); };
    (@ $module:ident, $trait:ident, $export:ident, $provider:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::$export!($provider with_types_in $crate::bindings::$module);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn implements<P: $crate::$trait>() {}
            implements::<$provider>();
        };
    };
}
