//! From the request for another generation to its publish, with warm requests beside it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::Bench;
use crate::measure::{Report, median};
use crate::process::Program;

/// From the request to the answer that a cached component serves, in milliseconds.
const CACHED_LIMIT: f64 = 20.0;
/// The same for one that has to be compiled, of about 200 KB.
const UNCACHED_LIMIT: f64 = 2000.0;
/// How long one exchange may take.
const EXCHANGE: Duration = Duration::from_secs(60);

/// Swaps a provider's plugin while its function is called: how long that takes, and how many of the calls
/// waited for a platform.
pub(crate) fn run(bench: &Bench, upstream: SocketAddr, report: &mut Report) -> Result<(), String> {
    let directory = bench.directory.join("swap");
    let _first_time = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let component = read(&bench.plugins.join("tests/constant.wasm"))?;
    let large = read(&bench.plugins.join("tests/wasip2-sockets.wasm"))?;
    let gateway = Program::gateway(&bench.binary, &directory, &configuration(&directory, &bench.plugins, upstream))?;
    let socket = directory.join("admin.sock");

    let (stop, calls, waited) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (cached, uncached) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| call(gateway.address, &stop, &calls, &waited));
        let swapped = || -> Result<_, String> {
            let (mut cached, mut uncached) = (Vec::new(), Vec::new());
            // The first one of each variant compiles; from then on its code is there.
            for number in [0, 1, 0, 1] {
                swap(&socket, "bench", &variant(&component, number))?;
            }
            for round in 0..bench.rounds {
                let number = u8::try_from(round % 2).unwrap_or(0);
                cached.push(swap(&socket, "bench", &variant(&component, number))?);
                let number = u8::try_from(round).unwrap_or(u8::MAX);
                uncached.push(swap(&socket, "large", &variant(&large, number))?);
            }
            Ok((cached, uncached))
        };
        let swapped = swapped();
        stop.store(true, Ordering::SeqCst);
        caller.join().map_err(|_panic| "the caller panicked".to_owned())??;
        swapped
    })?;
    report.hold("swap: request to publish, cached", median(&cached), "ms", CACHED_LIMIT);
    report.hold("swap: request to publish, compiled", median(&uncached), "ms", UNCACHED_LIMIT);
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let (calls, waited) = (calls.into_inner() as f64, waited.into_inner() as f64);
    report.show("swap: warm requests beside it", calls, "");
    report.hold("swap: of those, requests that waited", waited, "", 0.0);
    Ok(())
}

/// The same component with other bytes: a custom section more.
fn variant(component: &[u8], number: u8) -> Vec<u8> {
    let mut bytes = component.to_vec();
    bytes.extend_from_slice(&[0, 7, 5, b'b', b'e', b'n', b'c', b'h', number]);
    bytes
}

/// Uploads a component; milliseconds until it serves.
fn swap(socket: &Path, provider: &str, component: &[u8]) -> Result<f64, String> {
    let begun = Instant::now();
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(EXCHANGE))?;
        write!(
            stream,
            "PUT /providers/{provider} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            component.len()
        )?;
        stream.write_all(component)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("admin socket: {error}"))?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    if answer.starts_with("HTTP/1.1 200") { Ok(took) } else { Err(format!("swap of {provider}: {answer}")) }
}

/// Calls a function until it is told to stop. Whatever waited for a platform says so in its answer.
fn call(gateway: SocketAddr, stop: &AtomicBool, calls: &AtomicU64, waited: &AtomicU64) -> Result<(), String> {
    let text = |error: std::io::Error| format!("gateway: {error}");
    let mut first = true;
    while !stop.load(Ordering::SeqCst) {
        let mut stream = TcpStream::connect(gateway).map_err(text)?;
        stream.set_read_timeout(Some(EXCHANGE)).map_err(text)?;
        write!(stream, "GET /function/bench HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").map_err(text)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(text)?;
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(format!("a warm request failed: {}", head.lines().next().unwrap_or_default()));
        }
        // The very first one is cold.
        if !std::mem::take(&mut first) {
            calls.fetch_add(1, Ordering::Relaxed);
            waited.fetch_add(u64::from(head.contains("\r\nserver-timing:")), Ordering::Relaxed);
        }
    }
    Ok(())
}

fn configuration(directory: &Path, plugins: &Path, upstream: SocketAddr) -> String {
    format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{dir}/admin.sock\"\n\
         [state]\ndirectory = \"{dir}/state\"\n[log]\nlevel = \"warn\"\n\
         [provider.bench]\ncomponent = \"{plugins}/tests/constant.wasm\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.bench.endpoints]\nallow = [\"127.0.0.0/8\"]\ntemplate = \"http://{upstream}/{{name}}\"\n\
         [provider.large]\ncomponent = \"{plugins}/tests/wasip2-sockets.wasm\"\nnamespaces = [\"large\"]\n",
        dir = directory.display(),
        plugins = plugins.display(),
    )
}
