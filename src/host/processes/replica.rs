//! The room of one replica: a task that keeps a process in it until it is asked to stop.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::launch::{Launch, Report};
use super::output::LINE_BYTES;
use super::{ReplicaState, Supervisor};

/// The first pause before a process that ended by itself is started again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause: each one is twice the one before.
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// A process that ran for so long begins again with the first pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How much longer than its own grace a watchdog may take to end before it is killed.
const WATCHDOG_GRACE: Duration = Duration::from_secs(2);

/// Which room of which group.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) group: String,
    pub(super) id: u64,
}

/// Keeps a process running until `stop` says true. Ends when the process has.
pub(super) async fn keep(room: Room, launch: Launch, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSE_FIRST;
    while !*stop.borrow() {
        let begun = Instant::now();
        let reason = run(&room, &launch, &mut stop).await;
        if *stop.borrow() {
            break;
        }
        if begun.elapsed() >= STABLE_AFTER {
            pause = PAUSE_FIRST;
        }
        tracing::warn!(provider = %room.supervisor.provider, group = room.group, reason, ?pause, "a function's process ended; it is started again");
        room.supervisor.update(&room, |replica| {
            replica.state = ReplicaState::Waiting;
            replica.address = None;
            replica.restarts += 1;
        });
        let _stopped_or_waited = tokio::time::timeout(pause, asked(&mut stop)).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
    room.supervisor.left(&room);
}

/// Runs one process to its end; why it ended.
async fn run(room: &Room, launch: &Launch, stop: &mut watch::Receiver<bool>) -> String {
    let mut child = match start(&room.supervisor.program, launch).await {
        Ok(child) => child,
        Err(error) => return error,
    };
    let instance = room.supervisor.instance(child.id());
    room.supervisor.update(room, |replica| {
        replica.state = ReplicaState::Starting;
        replica.instance.clone_from(&instance);
        replica.started_at_ms = super::now_ms();
    });
    let mut input = child.stdin.take();
    let mut reason = String::new();
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output);
        let mut stopping = false;
        loop {
            tokio::select! {
                line = bounded_line(&mut lines) => match line {
                    Some(line) => hear(room, &instance, &line, &mut reason),
                    None => break,
                },
                // Without a sender the supervisor is gone, which is the same wish.
                () = asked(stop), if !stopping => {
                    stopping = true;
                    room.supervisor.update(room, |replica| {
                        replica.state = ReplicaState::Stopping;
                        replica.address = None;
                    });
                    say_stop(&mut input).await;
                }
            }
        }
    }
    let ended = end(child, Duration::from_millis(launch.stop_grace_ms) + WATCHDOG_GRACE).await;
    if reason.is_empty() { ended } else { reason }
}

/// Ends when the room is asked to stop.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _asked_or_alone = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Starts a watchdog and hands it its launch. Its own watch over the pipe ends it if this task is dropped.
async fn start(program: &Path, launch: &Launch) -> Result<Child, String> {
    let mut spec = serde_json::to_vec(launch).map_err(|error| error.to_string())?;
    spec.push(b'\n');
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut child = Command::new(program)
        .arg("watchdog")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    if let Some(input) = &mut child.stdin {
        input.write_all(&spec).await.map_err(failed)?;
    }
    Ok(child)
}

fn hear(room: &Room, instance: &str, line: &str, reason: &mut String) {
    match Report::parse(line) {
        Some(Report::Ready(port)) => room.supervisor.update(room, |replica| {
            if replica.state == ReplicaState::Starting {
                replica.state = ReplicaState::Ready;
                replica.address = Some(format!("127.0.0.1:{port}"));
            }
        }),
        Some(Report::Printed(text)) => room.supervisor.printed(room, instance, text),
        Some(Report::Ended(text)) => *reason = text,
        None => {}
    }
}

/// Asks with the full grace. The pipe is closed afterwards, which a watchdog that reads no line also understands.
async fn say_stop(input: &mut Option<ChildStdin>) {
    if let Some(mut input) = input.take() {
        let _already_gone = input.write_all(b"stop\n").await;
    }
}

async fn end(mut child: Child, limit: Duration) -> String {
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) => shown(status),
        Ok(Err(error)) => error.to_string(),
        Err(_still_there) => {
            let _gone = child.kill().await;
            "its watchdog did not end and was killed".to_owned()
        }
    }
}

fn shown(status: ExitStatus) -> String {
    format!("its watchdog ended with {status}")
}

/// The next line without its end, cut at [`LINE_BYTES`]; `None` at the end of the output.
async fn bounded_line(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let Ok(buffer) = lines.fill_buf().await else { return None };
        if buffer.is_empty() {
            return any.then(|| text(&line));
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let room = LINE_BYTES.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(part.get(..room).unwrap_or_default());
        let used = end.map_or(buffer.len(), |end| end + 1);
        lines.consume(used);
        if end.is_some() {
            return Some(text(&line));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned()
}
