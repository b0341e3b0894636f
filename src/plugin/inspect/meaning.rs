//! What interfaces mean, for people who do not know them.

use super::Kind;

/// What every plugin's exports are called, without their versions.
const EXPORTS: [(&str, &str); 11] = [
    ("wicketgate:provider/service-query", "scales functions: says how many instances there are and sets their number"),
    ("wicketgate:provider/scaling", "raises a function's instances without undoing another writer's higher number"),
    ("wicketgate:provider/watch", "reports changes as they happen, so that nobody has to poll"),
    ("wicketgate:provider/endpoints", "says where a function's instances listen"),
    ("wicketgate:provider/functions", "lists, deploys, updates and deletes functions"),
    ("wicketgate:provider/namespaces", "lists, creates, changes and deletes namespaces"),
    ("wicketgate:provider/secrets", "lists, creates, changes and deletes secrets of the platform"),
    ("wicketgate:provider/logs", "reads the log lines of functions"),
    ("wicketgate:provider/about", "says which platform it speaks to"),
    ("wicketgate:provider/health", "checks that the platform answers"),
    ("wicketgate:provider/types", "shares the types of the contract; does nothing"),
];

/// When this gateway has an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Always.
    Always,
    /// Only for a provider with commands.
    WithCommands,
}

/// The imports that this gateway has, each with the version track that it has it on: names match within a
/// track (`wasmtime::component::Linker`, "Names and Semver").
pub(super) const IMPORTS: [(&str, &str, Offer, &str); 34] = [
    ("wicketgate:host/log", "0.1.", Offer::Always, "writes log lines"),
    ("wicketgate:host/config", "0.1.", Offer::Always, "reads its settings in the configuration"),
    ("wicketgate:host/state", "0.1.", Offer::Always, "keeps values that outlive a restart, within its quota"),
    (
        "wicketgate:host/processes",
        "0.1.",
        Offer::WithCommands,
        "starts processes: the commands that were declared for it",
    ),
    ("wasi:http/outgoing-handler", "0.2.", Offer::Always, "sends HTTP requests through grants"),
    ("wasi:http/types", "0.2.", Offer::Always, "builds HTTP requests and reads the answers"),
    ("wasi:io/error", "0.2.", Offer::Always, "reads why reading or writing failed"),
    ("wasi:io/poll", "0.2.", Offer::Always, "waits for answers and for time to pass"),
    ("wasi:io/streams", "0.2.", Offer::Always, "reads and writes the bodies of requests"),
    ("wasi:clocks/monotonic-clock", "0.2.", Offer::Always, "measures time"),
    ("wasi:clocks/wall-clock", "0.2.", Offer::Always, "reads the date and time"),
    ("wasi:random/random", "0.2.", Offer::Always, "gets random numbers"),
    ("wasi:random/insecure", "0.2.", Offer::Always, "gets random numbers"),
    ("wasi:random/insecure-seed", "0.2.", Offer::Always, "gets random numbers"),
    ("wasi:cli/environment", "0.2.", Offer::Always, "asks for environment variables and arguments; there are none"),
    ("wasi:cli/exit", "0.2.", Offer::Always, "can end itself, which counts as a fault"),
    ("wasi:cli/stdin", "0.2.", Offer::Always, "reads standard input, which is empty"),
    ("wasi:cli/stdout", "0.2.", Offer::Always, "prints lines, which go to the log"),
    ("wasi:cli/stderr", "0.2.", Offer::Always, "prints lines, which go to the log"),
    ("wasi:cli/terminal-input", "0.2.", Offer::Always, "asks for a terminal; there is none"),
    ("wasi:cli/terminal-output", "0.2.", Offer::Always, "asks for a terminal; there is none"),
    ("wasi:cli/terminal-stdin", "0.2.", Offer::Always, "asks for a terminal; there is none"),
    ("wasi:cli/terminal-stdout", "0.2.", Offer::Always, "asks for a terminal; there is none"),
    ("wasi:cli/terminal-stderr", "0.2.", Offer::Always, "asks for a terminal; there is none"),
    ("wasi:filesystem/types", "0.2.", Offer::Always, "asks for files; there are none"),
    ("wasi:filesystem/preopens", "0.2.", Offer::Always, "asks for files; there are none"),
    ("wasi:sockets/network", "0.2.", Offer::Always, "asks for the network; every use is refused"),
    ("wasi:sockets/instance-network", "0.2.", Offer::Always, "asks for the network; every use is refused"),
    ("wasi:sockets/ip-name-lookup", "0.2.", Offer::Always, "asks to look up names; every use is refused"),
    ("wasi:sockets/tcp", "0.2.", Offer::Always, "asks for connections of its own; every use is refused"),
    ("wasi:sockets/tcp-create-socket", "0.2.", Offer::Always, "asks for connections of its own; every use is refused"),
    ("wasi:sockets/udp", "0.2.", Offer::Always, "asks for the network; every use is refused"),
    ("wasi:sockets/udp-create-socket", "0.2.", Offer::Always, "asks for the network; every use is refused"),
    ("wicketgate:provider/types", "0.1.", Offer::Always, "shares the types of the contract; does nothing"),
];

/// Name and version of `package:namespace/interface@version`.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// When this gateway has the import, as far as its name says. A version that is not final (`0.2.0-rc.1`) is on
/// no track.
pub(super) fn offer(name: &str) -> Option<Offer> {
    let (name, version) = split(name);
    let is_on = |track: &str| {
        version.strip_prefix(track).is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
    };
    IMPORTS.iter().find(|(known, track, ..)| *known == name && is_on(track)).map(|(_, _, offer, _)| *offer)
}

pub(super) fn of_import(name: &str, kind: Kind, has_only_types: bool) -> &'static str {
    let (known, _version) = split(name);
    let sentence = IMPORTS.iter().find(|(import, ..)| *import == known).map(|(.., sentence)| *sentence);
    match (sentence, kind) {
        (Some(sentence), Kind::Interface) if offer(name).is_some() => sentence,
        (Some(_), Kind::Interface) => "this gateway has another version of it",
        (_, Kind::Interface) if has_only_types => "shares types; does nothing",
        (_, Kind::Type) => "shares a type; does nothing",
        _ => "unknown: no gateway has it",
    }
}

pub(super) fn of_export(name: &str) -> &'static str {
    let (known, _version) = split(name);
    match EXPORTS.iter().find(|(export, _)| *export == known) {
        Some((_, sentence)) if known == "wicketgate:provider/types" || is_current(name) => sentence,
        Some(_) => "this gateway speaks another version of it, so it is not used",
        None => "unknown to this gateway, so it is not used",
    }
}

/// Whether an export has exactly the contract's name: exports are looked up by it.
pub(super) fn is_current(name: &str) -> bool {
    let interface = split(name).0.strip_prefix("wicketgate:provider/");
    interface.is_some_and(|interface| crate::plugin::interfaces::full_name(interface) == name)
}
