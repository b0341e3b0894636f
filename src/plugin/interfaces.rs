//! The exports of a component, bound one by one: only an absent name means "not exported", a wrong
//! type refuses the plugin.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{AsContextMut, Result};

use super::bindings::guest;
use super::imports::HostState;
use super::metrics::Slot;
use crate::query::Interface;

/// What every exported interface's name begins with.
const PACKAGE: &str = "wicketgate:provider/";
/// The version of the contract.
const VERSION: &str = "@0.1.0";

/// The full name of an interface of the contract.
pub(super) fn full_name(interface: &str) -> String {
    format!("{PACKAGE}{interface}{VERSION}")
}

/// Why an exported interface cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("export {name:?} does not have the contract's type: {problem}")]
pub struct WrongType {
    /// The interface's full name.
    pub name: String,
    /// What the engine says.
    pub problem: String,
}

impl WrongType {
    fn new(interface: &str, error: &wasmtime::Error) -> Self {
        Self { name: full_name(interface), problem: format!("{error:#}") }
    }
}

macro_rules! interfaces {
    ($($field:ident $name:literal $(=> $has:path)?,)*) => {
        /// Where a component's exports are: looked up once for each generation.
        pub(super) struct Exports {
            $(pub(super) $field: Option<guest::$field::GuestIndices>,)*
        }

        impl Exports {
            /// Looks up the interfaces whose full names `has` knows.
            pub(super) fn find(pre: &InstancePre<HostState>, has: impl Fn(&str) -> bool) -> Result<Self, WrongType> {
                Ok(Self {
                    $($field: if has(&full_name($name)) {
                        Some(guest::$field::GuestIndices::new(pre).map_err(|error| WrongType::new($name, &error))?)
                    } else {
                        None
                    },)*
                })
            }

            /// Loads every exported interface of an instance, which is when types are compared.
            pub(super) fn load_all(
                &self,
                mut store: impl AsContextMut<Data = HostState>,
                instance: &Instance,
            ) -> Result<(), WrongType> {
                $(if let Some(indices) = &self.$field {
                    indices.load(&mut store, instance).map_err(|error| WrongType::new($name, &error))?;
                })*
                Ok(())
            }

            /// Whether an optional interface is there.
            pub(super) fn has(&self, interface: Interface) -> bool {
                match interface {
                    $($($has => self.$field.is_some(),)?)*
                }
            }
        }

        /// What the metrics call each interface, by the name of its field.
        #[expect(non_upper_case_globals, reason = "named as the fields are")]
        pub(super) mod slot {
            use super::Slot;
            use crate::query::Interface;

            $(pub(in crate::plugin) const $field: Slot = [$(Some($has),)? None][0];)*
        }

        /// An instance's functions, loaded when an interface is first asked.
        #[derive(Default)]
        pub(super) struct Guests {
            $($field: Option<guest::$field::Guest>,)*
        }

        impl Guests {
            $(
                /// The functions of this interface; `None` if it is not exported.
                pub(super) fn $field(
                    &mut self,
                    exports: &Exports,
                    store: impl AsContextMut<Data = HostState>,
                    instance: &Instance,
                ) -> Result<Option<guest::$field::Guest>> {
                    if self.$field.is_none()
                        && let Some(indices) = &exports.$field
                    {
                        self.$field = Some(indices.load(store, instance)?);
                    }
                    Ok(self.$field.clone())
                }
            )*
        }
    };
}

interfaces! {
    service_query "service-query",
    scaling "scaling" => Interface::Scaling,
    watch "watch" => Interface::Watch,
    endpoints "endpoints" => Interface::Endpoints,
    functions "functions" => Interface::Functions,
    namespaces "namespaces" => Interface::Namespaces,
    secrets "secrets" => Interface::Secrets,
    logs "logs" => Interface::Logs,
    about "about" => Interface::About,
    health "health" => Interface::Health,
}
