//! The warm path beside nginx and haproxy: processor time of the proxy for one request.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::measure::{Report, median, process_cpu_ns};
use crate::process::Program;
use crate::{Bench, scrape};

/// Connections that the load keeps busy.
const CONNECTIONS: &str = "-c32";
/// How long one sample lasts.
const SAMPLE: &str = "-d1s";

/// One kilobyte up and down over 32 connections, through each proxy in turn, in an order that is
/// reversed every round.
pub(crate) fn run(bench: &Bench, upstream: SocketAddr, report: &mut Report) -> Result<(), String> {
    let directory = bench.directory.join("warm");
    let gateway = Program::gateway(&bench.binary, &directory, &configuration(&directory, &bench.plugins, upstream))?;
    let nginx = Program::from_template("nginx", &["-c"], include_str!("../nginx.conf"), &directory, upstream)?;
    let haproxy = Program::from_template("haproxy", &["-f"], include_str!("../haproxy.cfg"), &directory, upstream)?;
    let script = directory.join("post.lua");
    std::fs::write(&script, include_str!("../post.lua")).map_err(|error| format!("{}: {error}", script.display()))?;

    let subjects = [("wicketgate", &gateway), ("nginx", &nginx), ("haproxy", &haproxy)];
    for (_, program) in &subjects {
        load(program, &script)?;
    }
    let before = gateway.metrics.map(scrape).transpose()?.unwrap_or_default();
    let begun = tokio::time::Instant::now();
    let mut samples = [const { Vec::new() }; 3];
    for round in 0..bench.rounds {
        let mut order = [0, 1, 2];
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if let (Some((_, program)), Some(sample)) = (subjects.get(index), samples.get_mut(index)) {
                sample.push(load(program, &script)?);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = gateway.metrics.map(scrape).transpose()?.unwrap_or_default();

    let [ours, nginxs, haproxys] = samples;
    let paired = |base: &[f64]| -> Vec<f64> { ours.iter().zip(base).map(|(ours, base)| ours / base).collect() };
    report.show("warm path: wicketgate, CPU per request", median(&ours), "us");
    report.show("warm path: nginx, CPU per request", median(&nginxs), "us");
    report.show("warm path: haproxy, CPU per request", median(&haproxys), "us");
    report.hold("warm path: CPU per request / nginx", median(&paired(&nginxs)), "x", 1.15);
    report.show("warm path: CPU per request / haproxy", median(&paired(&haproxys)), "x");
    let grown = |name: &str| after.sum(name) - before.sum(name);
    report.hold(
        "warm path: requests that waited for a plugin",
        grown("wicketgate_cold_start_wait_seconds_count"),
        "",
        0.0,
    );
    report.hold("warm path: get-replicas per second", grown("wicketgate_plugin_calls_total") / seconds, "/s", 4.0);
    Ok(())
}

fn configuration(directory: &Path, plugins: &Path, upstream: SocketAddr) -> String {
    let constant = plugins.join("tests/constant.wasm");
    format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{dir}/admin.sock\"\n\
         [state]\ndirectory = \"{dir}/state\"\n[log]\nlevel = \"warn\"\n\
         [provider.bench]\ncomponent = \"{component}\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.bench.endpoints]\nallow = [\"127.0.0.0/8\"]\ntemplate = \"http://{upstream}/{{name}}\"\n",
        dir = directory.display(),
        component = constant.display(),
    )
}

/// Runs the load once; the proxy's processor time per request in microseconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of one second fit")]
fn load(program: &Program, script: &Path) -> Result<f64, String> {
    let url = format!("http://{}/function/bench", program.address);
    let before = process_cpu_ns(program.pid());
    let output = Command::new("wrk")
        .args(["-t1", CONNECTIONS, SAMPLE, "-s"])
        .arg(script)
        .arg(&url)
        .output()
        .map_err(|error| format!("wrk: {error}; install it (Debian: apt-get install wrk)"))?;
    let used = process_cpu_ns(program.pid()) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("{url} did not answer all requests:\n{text}"));
    }
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .ok_or_else(|| format!("wrk printed no count:\n{text}"))?;
    Ok(used as f64 / requests / 1000.0)
}
