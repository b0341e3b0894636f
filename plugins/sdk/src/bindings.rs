//! What `wit-bindgen` makes of `wit/`, and nothing else.
//!
//! Each exported interface has a world of its own, because a component must define every export
//! of the worlds that it was built for: [`export_provider!`](crate::export_provider) expands the
//! export macros of the interfaces that a plugin names, and only their worlds reach the component.
//! Imports need no such care, since `wit-component` drops what is not used.

/// Imports: the host's interfaces and WASI.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wicketgate:sdk;
            world imports {
                include wicketgate:provider/imports@0.1.0;
                import wicketgate:host/processes@0.1.0;
            }",
        generate_all,
    });
}

/// The types that the interfaces share.
pub mod types {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wicketgate:sdk;
            world shared-types { import wicketgate:provider/types@0.1.0; }",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        additional_type_attributes: {
            "wicketgate:provider/types@0.1.0/function-ref": [#[derive(Default)]],
            "wicketgate:provider/types@0.1.0/service-status": [#[derive(Default)]],
        },
    });
}

/// Declares the module of one exported interface, with `Default` for the types that are named.
macro_rules! exported {
    ($(#[$doc:meta])* $module:ident, $world:literal, [$($defaulted:literal),*]) => {
        $(#[$doc])*
        #[expect(clippy::mem_forget, reason = "the host frees what a call answered")]
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $world,
                pub_export_macro: true,
                with: { "wicketgate:provider/types@0.1.0": crate::bindings::types::wicketgate::provider::types },
                additional_derives: [PartialEq],
                additional_type_attributes: { $($defaulted: [#[derive(Default)]]),* },
            });
        }
    };
}

exported!(
    /// `service-query`.
    service_query,
    "package wicketgate:sdk; world service-query-export { export wicketgate:provider/service-query@0.1.0; }",
    []
);
exported!(
    /// `scaling`.
    scaling,
    "package wicketgate:sdk; world scaling-export { export wicketgate:provider/scaling@0.1.0; }",
    []
);
exported!(
    /// `watch`.
    watch,
    "package wicketgate:sdk; world watch-export { export wicketgate:provider/watch@0.1.0; }",
    ["wicketgate:provider/watch@0.1.0/change-set"]
);
exported!(
    /// `endpoints`.
    endpoints,
    "package wicketgate:sdk; world endpoints-export { export wicketgate:provider/endpoints@0.1.0; }",
    []
);
exported!(
    /// `functions`.
    functions,
    "package wicketgate:sdk; world functions-export { export wicketgate:provider/functions@0.1.0; }",
    ["wicketgate:provider/functions@0.1.0/function-resources", "wicketgate:provider/functions@0.1.0/function-deployment", "wicketgate:provider/functions@0.1.0/function-usage", "wicketgate:provider/functions@0.1.0/function-status", "wicketgate:provider/functions@0.1.0/function-page"]
);
exported!(
    /// `namespaces`.
    namespaces,
    "package wicketgate:sdk; world namespaces-export { export wicketgate:provider/namespaces@0.1.0; }",
    ["wicketgate:provider/namespaces@0.1.0/namespace-entry", "wicketgate:provider/namespaces@0.1.0/namespace-page"]
);
exported!(
    /// `secrets`.
    secrets,
    "package wicketgate:sdk; world secrets-export { export wicketgate:provider/secrets@0.1.0; }",
    ["wicketgate:provider/secrets@0.1.0/secret-page"]
);
exported!(
    /// `logs`.
    logs,
    "package wicketgate:sdk; world logs-export { export wicketgate:provider/logs@0.1.0; }",
    ["wicketgate:provider/logs@0.1.0/log-request", "wicketgate:provider/logs@0.1.0/log-message", "wicketgate:provider/logs@0.1.0/log-batch"]
);
exported!(
    /// `about`.
    about,
    "package wicketgate:sdk; world about-export { export wicketgate:provider/about@0.1.0; }",
    ["wicketgate:provider/about@0.1.0/platform"]
);
exported!(
    /// `health`.
    health,
    "package wicketgate:sdk; world health-export { export wicketgate:provider/health@0.1.0; }",
    []
);
