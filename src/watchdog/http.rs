//! `mode = "http"`: one process that serves HTTP itself.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::health::Probe;
use super::{End, Gateway, pass_on, report, shim, sweep};
use crate::host::processes::launch::Launch;

/// The first and the longest pause between two looks whether the process answers for the first time.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// How long what the process printed may take to be read after it ended: a child of its own may hold the pipe.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs the process until it ends or the gateway asks for the end.
pub(super) async fn serve(launch: &Launch, gateway: Gateway) -> Result<(), String> {
    let port = free_port()?;
    let mut command = shim::command(launch)?;
    command.env("PORT", port.to_string()).env("HOST", Ipv4Addr::LOCALHOST.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Command::from(command).spawn().map_err(|error| format!("the process was not started: {error}"))?;
    let _own = sweep::Own::new(&child);
    let printed = [
        child.stdout.take().map(|pipe| tokio::spawn(pass_on("out", pipe))),
        child.stderr.take().map(|pipe| tokio::spawn(pass_on("err", pipe))),
    ];
    let outcome = tokio::select! {
        outcome = watch(&mut child, launch, port) => outcome,
        end = gateway.end_asked() => {
            sweep::end_group(&mut child, end.grace(launch)).await;
            Ok(())
        }
    };
    for task in printed.into_iter().flatten() {
        let _read_or_held = tokio::time::timeout(DRAIN, task).await;
    }
    outcome
}

/// Says when the process answers, then looks after it until it ends or answers no more: a failure either way.
async fn watch(child: &mut Child, launch: &Launch, port: u16) -> Result<(), String> {
    let probe = Probe::new(&launch.health, port);
    let deadline = Instant::now() + Duration::from_millis(launch.start_timeout_ms);
    let (mut pause, longest) = LOOK;
    loop {
        let looked = tokio::select! {
            looked = probe.look() => looked,
            status = child.wait() => return Err(ended(status)),
        };
        let Err(reason) = looked else { break };
        if Instant::now() >= deadline {
            sweep::kill_group(child).await;
            let limit = launch.start_timeout_ms;
            return Err(format!("the process was not ready within {limit} ms (start-timeout): {reason}"));
        }
        if let Ok(status) = tokio::time::timeout(pause, child.wait()).await {
            return Err(ended(status));
        }
        pause = (pause * 3 / 2).min(longest);
    }
    report("ready", &port.to_string());
    tokio::select! {
        reason = probe.watch() => {
            report("sick", &reason);
            sweep::end_group(child, End::Asked.grace(launch)).await;
            Err(reason)
        }
        status = child.wait() => Err(ended(status)),
    }
}

fn ended(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("the process ended by itself: {status}"),
        Err(error) => format!("the process cannot be waited for: {error}"),
    }
}

/// A port that nobody listens on. Somebody else may take it before the process does; then the process
/// fails to bind, ends, and is started again with another.
fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
