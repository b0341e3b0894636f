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

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::Level;
    use crate::testing::take_lines;

    #[test]
    fn a_line_has_its_text_and_its_facts() {
        let name = "figlet";
        crate::info!("scaled {name}, {} more", 2; count = 3, by = "hand");
        crate::warn!("plain");
        let lines = take_lines();
        assert_eq!((lines[0].level, lines[0].message.as_str()), (Level::Info, "scaled figlet, 2 more"));
        let facts = [("count".to_owned(), "3".to_owned()), ("by".to_owned(), "hand".to_owned())];
        assert_eq!(lines[0].fields, facts);
        assert_eq!((lines[1].level, lines[1].fields.len()), (Level::Warn, 0));
    }
}
