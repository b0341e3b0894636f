//! Why a plugin was refused, and what to do about it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::interfaces::{WrongType, full_name};
use super::manifest::ManifestError;
use crate::name::{Digest, ProviderName};
use crate::trust::lock::LockError;
use crate::trust::signature::SignatureError;

/// A provider's plugin was not loaded. Nothing that runs has changed.
#[derive(Debug, thiserror::Error)]
#[error("provider {provider}: {component} refused at step {}", refusal.step())]
pub struct LoadError {
    /// Whose plugin.
    pub provider: ProviderName,
    /// What was to be loaded.
    pub component: String,
    /// Why not.
    #[source]
    pub refusal: Refusal,
}

/// What a step of loading found. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no bundled plugin of this name.
    #[error(
        "there is no builtin:{name}; this binary has: {}",
        if known.is_empty() { "none (build it with `cargo xtask build`)" } else { known }
    )]
    UnknownBuiltin {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are too many bytes.
    #[error("it has more than {max_bytes} bytes; raise `limits.component-bytes` if that is right")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// These are not the pinned bytes.
    #[error("its digest is {found}, and `digest` says {pinned}; if the change is meant, write the new one")]
    Digest {
        /// What the operator wrote.
        pinned: Digest,
        /// What it is.
        found: Digest,
    },
    /// Nobody whom the operator trusts vouches for it.
    #[error(transparent)]
    Signature(SignatureError),
    /// It is no WebAssembly.
    #[error("it is not WebAssembly")]
    NotWasm,
    /// It is a core module.
    #[error("it is a core module, and a plugin is a component; make one with `wasm-tools component new`")]
    CoreModule,
    /// Its bytes are not those of a component.
    #[error("it is damaged, or needs a newer gateway: {problem} (at byte {offset})")]
    Damaged {
        /// What does not fit.
        problem: String,
        /// Where.
        offset: u64,
    },
    /// Its manifest cannot be read.
    #[error("its manifest cannot be read; build it again with the SDK")]
    Manifest(#[source] ManifestError),
    /// It does not compile.
    #[error("it does not compile: {problem}")]
    Compile {
        /// What the compiler says.
        problem: String,
    },
    /// The compiler panicked, or the gateway is ending.
    #[error("the compiler did not finish")]
    CompilerPanicked,
    /// It imports what there is not.
    #[error("it imports {import:?}, {hint}")]
    Import {
        /// The import.
        import: String,
        /// What that means.
        hint: String,
    },
    /// It cannot be linked for another reason.
    #[error("it cannot be linked: {problem}")]
    Link {
        /// What the linker says.
        problem: String,
    },
    /// It lacks the one export that every plugin has.
    #[error("it does not export {:?}, which every plugin does; {hint}", full_name("service-query"))]
    NoServiceQuery {
        /// What it has instead.
        hint: String,
    },
    /// It wants more than it did when the operator last said yes.
    #[error(transparent)]
    Lock(LockError),
    /// An export is not what the contract says.
    #[error("build it against the contract of this gateway")]
    Type(#[source] WrongType),
    /// It needs more memory to begin with than it may have.
    #[error("it needs {needed} bytes of memory to start, and may have {allowed}; raise `limits.memory`")]
    Memory {
        /// What it declares.
        needed: u64,
        /// The limit.
        allowed: usize,
    },
    /// It failed when it was started.
    #[error("it failed while it was started: {0}")]
    Start(String),
}

impl Refusal {
    /// The step that was not passed, by the word that a [`LoadStep`](super::LoadStep) has for it.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self {
            Self::UnknownBuiltin { .. } | Self::Read { .. } | Self::TooLarge { .. } => "fetched",
            Self::Digest { .. } | Self::Signature(_) => "verified",
            Self::NotWasm
            | Self::CoreModule
            | Self::Damaged { .. }
            | Self::Manifest(_)
            | Self::Compile { .. }
            | Self::CompilerPanicked => "compiled",
            Self::Import { .. } | Self::Link { .. } | Self::NoServiceQuery { .. } => "linked",
            Self::Lock(_) => "locked",
            Self::Type(_) | Self::Memory { .. } | Self::Start(_) => "typed",
        }
    }

    /// `problem` is what the linker says, if it was asked.
    pub(super) fn import(import: &str, problem: &str, has_commands: bool, provider: &str) -> Self {
        let told = if problem.is_empty() { String::new() } else { format!(" ({problem})") };
        let hint = if import.starts_with("wicketgate:host/processes") && !has_commands {
            format!(
                "and the operator declared no command for it; write [provider.{provider}.command.NAME] if it shall run processes"
            )
        } else if import.starts_with("wicketgate:host/") || import.starts_with("wicketgate:provider/") {
            format!("which this gateway has in another version or form; build it against this gateway's contract{told}")
        } else if import.starts_with("wasi:") {
            format!("and this gateway has WASI 0.2 with `wasi:http`; build it for wasm32-wasip2{told}")
        } else {
            "which no gateway has; a plugin may import `wicketgate:host`, `wasi:http` and WASI 0.2".into()
        };
        Self::Import { import: import.into(), hint }
    }

    pub(super) fn no_service_query(exported: &BTreeSet<String>) -> Self {
        let other = exported.iter().find(|name| name.starts_with("wicketgate:provider/service-query"));
        let hint = match other {
            Some(other) => format!("it has {other:?}, another version"),
            None if exported.is_empty() => "it exports nothing".into(),
            None => {
                let names: Vec<&str> = exported.iter().take(8).map(String::as_str).collect();
                format!("it exports {}", names.join(", "))
            }
        };
        Self::NoServiceQuery { hint }
    }
}
