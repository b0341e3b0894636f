//! The bench: each figure is a ratio to a baseline in the same interleaved run, or a count. Times
//! are shown, since machines differ, and held only with `--gate`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a report is what this program is for")]

mod cold;
mod egress;
#[path = "../../tests/fixtures/fixtures.rs"]
#[expect(clippy::panic, reason = "a fixture that is no component is a mistake of ours")]
mod fixtures;
mod hostile;
mod measure;
mod platforms;
mod plugin;
mod process;
mod server;
mod start;
mod swap;
mod warm;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use measure::Report;

/// The gateway's own, for both sides of a comparison.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo xtask bench [-- [--gate] [--rounds N] [GROUP ...]]

Groups: warm (beside nginx and haproxy), plugin (calls through the host),
egress (a guest's request to its platform), hostile (calls beside an attack), cold (cold starts),
platforms (cold starts beside the platform's own client), swap (another generation), start (start, memory, size).
Without a group all of them run. Needs nginx, haproxy and wrk (Debian: nginx-light haproxy wrk).

  --gate      exit with 1 if a figure is over its limit
  --rounds N  interleaved rounds of each measurement (default 11, and with --gate not fewer)";

/// The fewest rounds whose median counts.
const LEAST_ROUNDS: usize = 11;

/// What every group needs to know.
struct Bench {
    binary: PathBuf,
    plugins: PathBuf,
    directory: PathBuf,
    rounds: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let mut gate = false;
    let mut rounds = LEAST_ROUNDS;
    let mut groups = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--gate" => gate = true,
            "--rounds" => {
                let number = arguments.next().unwrap_or_default();
                rounds = number.parse().map_err(|_not_a_number| format!("--rounds {number:?}: write a number"))?;
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            "warm" | "plugin" | "egress" | "hostile" | "cold" | "platforms" | "swap" | "start" => groups.push(argument),
            other => return Err(format!("unknown argument {other:?}\n{USAGE}")),
        }
    }
    let wanted = |group: &str| groups.is_empty() || groups.iter().any(|named| named == group);
    if gate && rounds < LEAST_ROUNDS {
        return Err(format!("--gate --rounds {rounds}: a median of fewer than {LEAST_ROUNDS} rounds decides nothing"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from);
    let target = target.canonicalize().map_err(|error| format!("{}: {error}", target.display()))?;
    let bench = Bench {
        binary: target.join("release/wicketgate"),
        plugins: target.join("plugins"),
        directory: target.join("bench"),
        rounds,
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut report = Report::default();
    let upstream = runtime.block_on(server::serve(server::kilobyte)).map_err(|error| error.to_string())?;
    if wanted("warm") {
        warm::run(&bench, upstream, &mut report)?;
    }
    if wanted("plugin") {
        plugin::run(&bench, &mut report)?;
    }
    if wanted("egress") {
        egress::run(&bench, &runtime, &mut report)?;
    }
    if wanted("hostile") {
        hostile::run(&bench, &runtime, &mut report)?;
    }
    if wanted("cold") {
        runtime.block_on(cold::run(&bench, &mut report))?;
    }
    if wanted("platforms") {
        platforms::run(&bench, &mut report)?;
    }
    if wanted("swap") {
        swap::run(&bench, upstream, &mut report)?;
    }
    if wanted("start") {
        runtime.block_on(start::run(&bench, upstream, &mut report))?;
    }
    print!("{}", report.table());
    let missed = report.missed();
    if gate && !missed.is_empty() {
        eprintln!("bench: over the limit: {}", missed.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The metrics of a gateway at one moment.
#[derive(Default)]
struct Metrics(String);

impl Metrics {
    /// The sum of a metric over all its labels; NaN if there is no such metric, so that a figure made of it is
    /// over any limit.
    fn sum(&self, name: &str) -> f64 {
        let values: Vec<f64> = self
            .0
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if values.is_empty() { f64::NAN } else { values.iter().sum() }
    }
}

/// Reads `/metrics`.
fn scrape(address: SocketAddr) -> Result<Metrics, String> {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    read().map(Metrics).map_err(|error| format!("metrics on {address}: {error}"))
}
