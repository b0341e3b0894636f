//! The process between the gateway and a function's process: `wicketgate watchdog`.
//!
//! It ends when its standard input does, which happens however the gateway ends, and takes the
//! function's processes with it: their group, and whatever they left behind, since orphans below a
//! *child subreaper* become its children. The protocol is [`crate::host::processes::launch`]'s.
//!
//! Each command is started through `wicketgate watchdog --exec ...`, which sets limits and the *parent death
//! signal* on itself and becomes the command: so even a killed watchdog leaves nothing behind, and no code
//! runs between `fork` and `exec`, where hardly any is safe.

mod fork;
mod health;
mod http;
mod shim;
mod sweep;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::host::processes::Mode;
use crate::host::processes::launch::Launch;

/// The word that makes `watchdog` the shim.
const EXEC: &str = "--exec";

/// How long processes have to end by themselves when the gateway is gone without having asked.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);

/// The longest launch, in bytes: variables are bounded well below it.
const LAUNCH_BYTES: u64 = 1 << 20;

/// The longest line of a function's output that is passed on, in bytes.
const LINE_BYTES: usize = 8 << 10;

/// Runs the watchdog, or the shim, to its end.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // The gateway writes them itself, and only text.
    let arguments: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let outcome = match arguments.as_slice() {
        [exec, arguments @ ..] if exec == EXEC => shim::become_command(arguments),
        [] => watch(),
        _other => Err("usage: wicketgate watchdog (only the gateway starts it)".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report("exit", &message);
            ExitCode::FAILURE
        }
    }
}

fn watch() -> Result<(), String> {
    sweep::adopt_orphans();
    // One thread: the parent death signal of a child is bound to the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let outcome = runtime.block_on(async {
        let mut gateway = Gateway::new();
        let launch = gateway.launch().await?;
        tokio::spawn(sweep::reap_orphans());
        let ended = match launch.mode {
            Mode::Http => http::serve(&launch, gateway).await,
            Mode::Fork => fork::serve(&launch, gateway).await,
        };
        sweep::kill_descendants();
        ended
    });
    // The thread that reads standard input waits for the gateway, perhaps for ever.
    runtime.shutdown_background();
    outcome
}

/// How the gateway asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It said so.
    Asked,
    /// It is gone.
    Orphaned,
}

impl End {
    /// How long the processes have from TERM to KILL.
    fn grace(self, launch: &Launch) -> Duration {
        let grace = Duration::from_millis(launch.stop_grace_ms);
        match self {
            Self::Asked => grace,
            Self::Orphaned => grace.min(ORPHAN_GRACE),
        }
    }
}

/// The gateway, as this process hears it: its standard input.
struct Gateway(BufReader<tokio::io::Stdin>);

impl Gateway {
    fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()))
    }

    /// The first line: what to run.
    async fn launch(&mut self) -> Result<Launch, String> {
        let mut line = String::new();
        (&mut self.0).take(LAUNCH_BYTES).read_line(&mut line).await.map_err(|error| format!("no launch: {error}"))?;
        serde_json::from_str(&line).map_err(|error| format!("the launch cannot be read: {error}"))
    }

    /// Waits for it to ask for the end, or to be gone.
    async fn end_asked(mut self) -> End {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(read) if read > 0 => End::Asked,
            _closed => End::Orphaned,
        }
    }
}

/// Writes a line to the gateway. If it is gone the end of its pipe says so too.
fn report(word: &str, text: &str) {
    let mut output = std::io::stdout().lock();
    let _gone = writeln!(output, "{word} {text}").and_then(|()| output.flush());
}

/// Passes on what a process prints, line by line, until it closes the pipe.
async fn pass_on(word: &'static str, pipe: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(pipe);
    let mut line: Vec<u8> = Vec::new();
    loop {
        let Ok(buffer) = lines.fill_buf().await else { return };
        if buffer.is_empty() {
            if !line.is_empty() {
                report(word, &String::from_utf8_lossy(&line));
            }
            return;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let room = LINE_BYTES.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(part.get(..room).unwrap_or_default());
        let used = end.map_or(buffer.len(), |end| end + 1);
        lines.consume(used);
        if end.is_some() {
            report(word, &String::from_utf8_lossy(&line));
            line.clear();
        }
    }
}
