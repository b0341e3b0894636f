//! Lines for the gateway's log: [`info!`](crate::info) and its sisters.

pub use crate::bindings::imports::wicketgate::host::log::Level;

/// Writes one line with `fields` beside its text. No secrets.
///
/// The host cuts long lines (default 4096 bytes) and drops lines beyond 64 a call.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::imports::wicketgate::host::log::write(level, message, fields);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::record_line(level, message, fields);
}

/// Writes a line of a level: `log!(Level::Info, "scaled {name}"; count = 3, asked = text)`.
#[macro_export]
macro_rules! log {
    ($level:expr, $format:literal $(, $argument:expr)* $(; $($key:ident = $value:expr),+ $(,)?)?) => {
        $crate::log::write(
            $level,
            &::std::format!($format $(, $argument)*),
            &[$($((::std::string::String::from(::core::stringify!($key)), ::std::string::ToString::to_string(&$value))),+)?],
        )
    };
}

/// A line for the plugin's author.
#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::log!($crate::log::Level::Debug, $($line)+) }; }

/// A line for the operator when all is well.
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::log!($crate::log::Level::Info, $($line)+) }; }

/// A line for the operator, who may have to act.
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::log!($crate::log::Level::Warn, $($line)+) }; }

/// A line for the operator, who has to act.
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::log!($crate::log::Level::Error, $($line)+) }; }
