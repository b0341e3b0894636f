//! From the request for another generation to its publish, with warm requests beside it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Bench;
use crate::measure::{Report, median, percentile};
use crate::process::Program;

/// From the request to the answer that a cached component serves, in milliseconds.
const CACHED_LIMIT: f64 = 20.0;
/// The same for one that has to be compiled, of about 200 KB.
const UNCACHED_LIMIT: f64 = 2000.0;
/// Swaps of one round, one after another, so that there are requests enough for a percentile.
const SWAPS: u8 = 20;
/// How long one exchange may take.
const EXCHANGE: Duration = Duration::from_secs(60);

/// Swaps a provider's plugin while its function is called: how long that takes, and what the calls notice
/// of it.
pub(crate) fn run(bench: &Bench, upstream: SocketAddr, report: &mut Report) -> Result<(), String> {
    let directory = bench.directory.join("swap");
    let _first_time = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let component = read(&bench.plugins.join("tests/constant.wasm"))?;
    let large = read(&bench.plugins.join("tests/wasip2-sockets.wasm"))?;
    let gateway = Program::gateway(&bench.binary, &directory, &configuration(&directory, &bench.plugins, upstream))?;
    let socket = directory.join("admin.sock");

    let (stop, warm) = (AtomicBool::new(false), Warm::default());
    let times = std::thread::scope(|scope| {
        let caller = scope.spawn(|| call(gateway.address, &stop, &warm));
        let times = rounds(bench.rounds, &socket, &component, &large, &warm);
        stop.store(true, Ordering::SeqCst);
        caller.join().map_err(|_panic| "the caller panicked".to_owned())??;
        times
    })?;
    let [cached, uncached, quiet, swapping, compiling] = times;
    report.hold("swap: request to publish, cached", median(&cached), "ms", CACHED_LIMIT);
    report.hold("swap: request to publish, compiled", median(&uncached), "ms", UNCACHED_LIMIT);
    let over = |busy: &[f64]| median(&busy.iter().zip(&quiet).map(|(busy, quiet)| busy / quiet).collect::<Vec<_>>());
    report.show("swap: warm requests without one, p99", median(&quiet), "ms");
    report.show("swap: warm requests beside cached swaps, p99", median(&swapping), "ms");
    report.show("swap: warm requests beside a compiler, p99", median(&compiling), "ms");
    // Not held: on few cores the work of a swap takes its share of them, which is no request's waiting.
    report.show("swap: warm requests beside cached swaps over without, p99", over(&swapping), "x");
    let (calls, waited) = warm.requests(|requests| (requests.calls, requests.waited));
    report.show("swap: warm requests in all", f64::from(calls), "");
    report.hold("swap: of those, requests that waited for a platform", f64::from(waited), "", 0.0);
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

/// The warm requests so far.
#[derive(Default)]
struct Warm(Mutex<Requests>);

#[derive(Default)]
struct Requests {
    calls: u32,
    /// Those that say that they waited for a platform.
    waited: u32,
    /// Milliseconds of each since they were taken last.
    times: Vec<f64>,
}

impl Warm {
    /// The 99th percentile of the requests while `work` runs.
    fn beside<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<(T, f64), String> {
        self.requests(|requests| requests.times.clear());
        let done = work()?;
        Ok((done, self.requests(|requests| percentile(&requests.times, 99.0))))
    }

    fn requests<T>(&self, work: impl FnOnce(&mut Requests) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// In turns: nothing, swaps of a cached component for as long, and one that is compiled. Milliseconds: of the two
/// kinds of swaps, and of the warm requests beside each of the three.
fn rounds(rounds: usize, socket: &Path, component: &[u8], large: &[u8], warm: &Warm) -> Result<[Vec<f64>; 5], String> {
    let [mut cached, mut uncached, mut quiet, mut swapping, mut compiling] = [const { Vec::new() }; 5];
    // The first one of each variant compiles; from then on its code is there.
    let cached_swaps = || {
        let begun = Instant::now();
        let times: Result<Vec<_>, _> =
            (0..SWAPS).map(|number| swap(socket, "bench", &variant(component, number % 2))).collect();
        times.map(|times| (times, begun.elapsed()))
    };
    let (_first, mut took) = cached_swaps()?;
    for round in 0..rounds {
        let number = u8::try_from(round).unwrap_or(u8::MAX);
        let pause = took;
        #[expect(clippy::disallowed_methods, reason = "this thread has no runtime, and nothing is to happen meanwhile")]
        let ((), time) = warm.beside(|| {
            std::thread::sleep(pause);
            Ok(())
        })?;
        quiet.push(time);
        let ((times, span), time) = warm.beside(cached_swaps)?;
        cached.extend(times);
        swapping.push(time);
        took = span;
        let (swapped, time) = warm.beside(|| swap(socket, "large", &variant(large, number)))?;
        uncached.push(swapped);
        compiling.push(time);
    }
    Ok([cached, uncached, quiet, swapping, compiling])
}

/// Calls a function until it is told to stop. Whatever waited for a platform says so in its answer.
fn call(gateway: SocketAddr, stop: &AtomicBool, warm: &Warm) -> Result<(), String> {
    let text = |error: std::io::Error| format!("gateway: {error}");
    let mut first = true;
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(gateway).map_err(text)?;
        stream.set_read_timeout(Some(EXCHANGE)).map_err(text)?;
        write!(stream, "GET /function/bench HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").map_err(text)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(text)?;
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(format!("a warm request failed: {}", head.lines().next().unwrap_or_default()));
        }
        // The very first one is cold.
        if !std::mem::take(&mut first) {
            warm.requests(|requests| {
                requests.calls = requests.calls.saturating_add(1);
                requests.waited += u32::from(head.contains("\r\nserver-timing:"));
                requests.times.push(took);
            });
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
