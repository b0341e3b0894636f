//! The room of one replica: a task that keeps a process in it until it is asked to stop.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
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

/// What a room's process shall do. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Wish {
    /// Run.
    Stay,
    /// End, after requests on their way had the time to arrive.
    Leave,
    /// End now.
    End,
}

/// Keeps a process running until `wish` is another one. Ends when the process has.
pub(super) async fn keep(room: Room, launch: Launch, stop_delay: Duration, mut wish: watch::Receiver<Wish>) {
    let mut pause = PAUSE_FIRST;
    while *wish.borrow() == Wish::Stay {
        let begun = Instant::now();
        let reason = run(&room, &launch, stop_delay, &mut wish).await;
        if *wish.borrow() != Wish::Stay {
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
        let _stopped_or_waited = tokio::time::timeout(pause, wished(&mut wish, Wish::Leave)).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
    room.supervisor.left(&room);
}

/// Runs one process to its end; why it ended.
async fn run(room: &Room, launch: &Launch, stop_delay: Duration, wish: &mut watch::Receiver<Wish>) -> String {
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
        let mut lines = Lines { pipe: BufReader::new(output), line: Vec::new() };
        // When to say stop; known once the room shall be left.
        let mut leave_at: Option<Instant> = None;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => hear(room, &instance, &line, &mut reason),
                    None => break,
                },
                () = next_step(wish, leave_at), if input.is_some() => match leave_at {
                    None => leave_at = Some(Instant::now() + leave(room, stop_delay)),
                    Some(_now) => say_stop(&mut input).await,
                },
            }
        }
    }
    let ended = end(child, Duration::from_millis(launch.stop_grace_ms) + WATCHDOG_GRACE).await;
    if reason.is_empty() { ended } else { reason }
}

/// Ends when the room's wish is at least `least`. Without a sender the group is gone, which is the same wish.
async fn wished(wish: &mut watch::Receiver<Wish>, least: Wish) {
    let _asked_or_alone = wish.wait_for(|wish| *wish >= least).await.map(drop);
}

/// Ends when the room shall be left; once that is known, when the word to stop is due.
async fn next_step(wish: &mut watch::Receiver<Wish>, leave_at: Option<Instant>) {
    match leave_at {
        None => wished(wish, Wish::Leave).await,
        Some(at) => drop(tokio::time::timeout_at(at, wished(wish, Wish::End)).await),
    }
}

/// Takes the replica out of the endpoints; how long requests on their way to it may take to arrive.
fn leave(room: &Room, stop_delay: Duration) -> Duration {
    let mut was_ready = false;
    room.supervisor.update(room, |replica| {
        was_ready = replica.state == ReplicaState::Ready;
        replica.state = ReplicaState::Stopping;
        replica.address = None;
    });
    if was_ready { stop_delay } else { Duration::ZERO }
}

/// Starts a watchdog and hands it its launch. Its own watch over the pipe ends it if this task is dropped.
async fn start(program: &Path, launch: &Launch) -> Result<Child, String> {
    let mut spec = serde_json::to_vec(launch).map_err(|error| error.to_string())?;
    spec.push(b'\n');
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut child = Command::new(program)
        // What lists of processes show, whatever the path is.
        .arg0("wicketgate")
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
        Some(Report::Sick(text)) => {
            tracing::warn!(provider = %room.supervisor.provider, group = room.group, instance, reason = text, "a function's process does not answer");
            room.supervisor.update(room, |replica| {
                if replica.state == ReplicaState::Ready {
                    replica.state = ReplicaState::Waiting;
                    replica.address = None;
                }
            });
        }
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

/// Lines of a pipe, cut at [`LINE_BYTES`].
struct Lines<R> {
    pipe: BufReader<R>,
    /// What of a line was read so far: a call that is dropped loses nothing.
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line without its end; `None` at the end of the output. Cancel safe.
    async fn next(&mut self) -> Option<String> {
        loop {
            let buffer = self.pipe.fill_buf().await.unwrap_or_default();
            if buffer.is_empty() {
                return (!self.line.is_empty()).then(|| text(&std::mem::take(&mut self.line)));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = LINE_BYTES.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or_default());
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.pipe.consume(used);
            if end.is_some() {
                return Some(text(&std::mem::take(&mut self.line)));
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned()
}
