//! A guest of the tests that knows nothing of our SDK: std of `wasm32-wasip2`, `wit-bindgen`, and
//! the contract in `wit/`. Its component therefore imports what any third party's does, files,
//! sockets, environment and standard streams included.
//!
//! `get-replicas` tries what its service's name says and counts as a replica each thing that it
//! could do, so a tight sandbox answers 0 for every name:
//!
//! | service | tried |
//! | --- | --- |
//! | `tcp` | connect to 127.0.0.1, listen |
//! | `udp` | bind, send |
//! | `dns` | look up `localhost` |
//! | `files` | read `/etc/passwd`, list `/` and `.`, write a file |
//! | `environment` | any variable, any argument |
//! | `stdin` | read a byte |
//! | `all` | everything above |
//! | `nothing` | nothing: the guest only answers |
//! | `says` | nothing: the guest logs a line, and prints one to each of its standard streams |
//!
//! `labels` has an entry for each attempt: its name, and `done` or what refused it. `set-replicas`
//! panics, for the tests of traps.
#![cfg(all(target_os = "wasi", target_env = "p2"))]
#![expect(unsafe_code, clippy::mem_forget, reason = "generated: exports have fixed symbol names and give away memory")]

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::{env, fs, io};

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service-query-provider", generate_all });
}

use bindings::exports::wicketgate::provider::service_query::Guest;
use bindings::wicketgate::host::log::{Level, write};
use bindings::wicketgate::provider::types::{ErrorKind, ProviderError, ServiceStatus};

struct Sockets;

bindings::export!(Sockets with_types_in bindings);

/// An attempt: its service, its name, and what is tried.
type Attempt = (&'static str, &'static str, fn() -> io::Result<()>);

const ATTEMPTS: [Attempt; 11] = [
    ("tcp", "tcp-connect", || TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 80))).map(drop)),
    ("tcp", "tcp-listen", || TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map(drop)),
    ("udp", "udp-bind", || UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map(drop)),
    ("udp", "udp-send", || {
        UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", SocketAddr::from(([127, 0, 0, 1], 53))).map(drop)
    }),
    ("dns", "dns-lookup", || some(("localhost", 80).to_socket_addrs()?.next())),
    ("files", "file-read", || fs::read("/etc/passwd").map(drop)),
    ("files", "file-list-root", || fs::read_dir("/").map(drop)),
    ("files", "file-list-here", || fs::read_dir(".").map(drop)),
    ("files", "file-write", || fs::write("/tmp/wicketgate-guest", b"x")),
    ("environment", "environment", || some(env::vars().next().map(drop).or_else(|| env::args().next().map(drop)))),
    ("stdin", "stdin-read", || io::stdin().read_exact(&mut [0; 1])),
];

impl Guest for Sockets {
    fn get_replicas(service: String, _namespace: String) -> Result<ServiceStatus, ProviderError> {
        let known = |name: &str| {
            matches!(name, "all" | "nothing" | "says") || ATTEMPTS.iter().any(|(service, _, _)| *service == name)
        };
        if !known(&service) {
            return Err(ProviderError {
                kind: ErrorKind::NotFound,
                message: format!("this guest has no attempt {service:?}"),
                retry_after_ms: None,
                platform_status: None,
                extra: Vec::new(),
            });
        }
        if service == "says" {
            say();
        }
        let tried: Vec<(String, io::Result<()>)> = ATTEMPTS
            .iter()
            .filter(|(of, _, _)| service == "all" || service == *of)
            .map(|(_, name, attempt)| ((*name).to_owned(), attempt()))
            .collect();
        let done = tried.iter().filter(|(_, outcome)| outcome.is_ok()).count() as u64;
        let say = |outcome: io::Result<()>| outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        Ok(ServiceStatus {
            replicas: done,
            available_replicas: done,
            min_replicas: None,
            max_replicas: None,
            scaling_factor: None,
            labels: tried.into_iter().map(|(name, outcome)| (name, say(outcome))).collect(),
            annotations: Vec::new(),
            version: None,
            extra: Vec::new(),
        })
    }

    #[expect(clippy::panic, reason = "what this guest is for")]
    fn set_replicas(_service: String, _namespace: String, _count: u64) -> Result<(), ProviderError> {
        panic!("this guest cannot be scaled")
    }
}

/// A line in each way that there is.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what a third party's library does")]
fn say() {
    write(Level::Warn, "said to the log", &[("to".to_owned(), "the operator".to_owned())]);
    println!("said to the output");
    eprintln!("said to the error");
}

/// Something is a success.
fn some<T>(value: Option<T>) -> io::Result<()> {
    value.map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}
