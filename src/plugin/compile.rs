//! Compiling a component, in a process of its own.
//!
//! The compiler reads bytes of third parties, and what it needs for some of them nobody can foresee. So
//! the gateway runs itself again as `wicketgate compile-plugin`, with limits on memory, processor time
//! and open files, without an environment, without files to write, and without sockets, other programs
//! and other processes ([`sandbox`]). The component goes in by the standard input, the machine code comes
//! back by the standard output; the gateway bounds both, ends the process when its time is over, and puts
//! its own MAC on what it keeps.

mod sandbox;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::set_no_new_privs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use super::cache::FromChild;
use super::engine::{self, Engine};
use super::refuse::Refusal;
use super::trap::shown;

pub use sandbox::Sandbox;

/// The word that makes a gateway the compiler. Not among the commands that `--help` shows.
pub const COMMAND: &str = "compile-plugin";

/// The most machine code that is taken from a compiler, in bytes: code is several times its component.
const CODE_MAX_BYTES: u64 = 1 << 30;
/// The most that a compiler may say of what went wrong, in bytes.
const MESSAGE_MAX_BYTES: u64 = 4096;
/// Files that a compiler has open at once: three, and what the system's libraries need.
const OPEN_FILES: u64 = 32;
/// Threads that compile the functions of one component. More would only need more address space.
const THREADS: usize = 4;
/// Compilers at once, over all providers: each may use all that one may.
const AT_ONCE: usize = 2;

/// What one compiler may use. Keys of the `engine` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// `compile-memory`: address space in bytes. Default 2 GiB, 128 MiB to 64 GiB.
    pub memory: u64,
    /// `compile-cpu-time`: processor time over all its threads, in whole seconds. Default 60 s, 1 s to 1 h.
    pub cpu_time: Duration,
    /// `compile-timeout`: until the code is there. Default 2 min, 100 ms to 1 h.
    pub timeout: Duration,
    /// `compile-sandbox`: whether it is compiled where the system cannot forbid the compiler sockets.
    pub sandbox: Sandbox,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu_time: Duration::from_secs(60),
            timeout: Duration::from_secs(120),
            sandbox: Sandbox::default(),
        }
    }
}

/// Where components are compiled.
pub(super) enum Compiler {
    /// In this process: for tests and benches, whose program is not a gateway.
    Here,
    /// In a child process.
    Child(Child),
}

/// How a child process is started.
pub(super) struct Child {
    program: PathBuf,
    limits: CompileLimits,
    places: Semaphore,
    /// What a compiler could not give up was told.
    is_told: AtomicBool,
}

/// Machine code, fresh from a compiler.
pub(super) enum Code {
    /// It is loaded already.
    Component(Component),
    /// What `Component::serialize` would answer, from our own child.
    Bytes(FromChild),
}

impl Compiler {
    /// One that runs `program`, which is this program.
    pub(super) fn child(program: PathBuf, limits: CompileLimits) -> Self {
        Self::Child(Child { program, limits, places: Semaphore::new(AT_ONCE), is_told: AtomicBool::new(false) })
    }

    /// Compiles a component.
    ///
    /// # Cancel safety
    /// Dropping the future ends the child.
    pub(super) async fn compile(&self, engine: &Arc<Engine>, bytes: Vec<u8>) -> Result<Code, Refusal> {
        match self {
            Self::Child(child) => child.compile(bytes).await.map(|code| Code::Bytes(FromChild(code))),
            Self::Here => {
                let engine = Arc::clone(engine);
                let work = move || Component::new(engine.wasmtime(), &bytes);
                let component =
                    tokio::task::spawn_blocking(work).await.map_err(|_panicked| Refusal::CompilerPanicked)?;
                component.map(Code::Component).map_err(|error| refused(format!("{error:#}")))
            }
        }
    }
}

fn refused(problem: String) -> Refusal {
    Refusal::Compile { problem }
}

impl Child {
    async fn compile(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let Ok(_place) = self.places.acquire().await else { return Err(Refusal::CompilerPanicked) };
        let limits = &self.limits;
        match tokio::time::timeout(limits.timeout, self.run(bytes)).await {
            Ok(code) => code,
            Err(_elapsed) => Err(refused(format!(
                "the compiler was not ready within {:?}; raise `engine.compile-timeout` if the component is that large",
                limits.timeout
            ))),
        }
    }

    async fn run(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let limits = &self.limits;
        let failed = |what: &str, error: std::io::Error| refused(format!("the compiler's process {what}: {error}"));
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS);
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(limits.memory.to_string())
            .arg(limits.cpu_time.as_secs().max(1).to_string())
            .arg(limits.sandbox.as_str())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("cannot be started", error))?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(refused("the compiler's process has no pipes".into()));
        };
        let feed = async move {
            // One that ended early is told of below, by its status.
            let _broken_pipe = input.write_all(&bytes).await;
        };
        let (mut code, mut said) = (Vec::new(), Vec::new());
        let mut output = output.take(CODE_MAX_BYTES + 1);
        let mut errors_taken = errors.take(MESSAGE_MAX_BYTES);
        let ((), read, _said) = tokio::join!(feed, output.read_to_end(&mut code), errors_taken.read_to_end(&mut said));
        read.map_err(|error| failed("cannot be read from", error))?;
        if code.len() as u64 > CODE_MAX_BYTES {
            return Err(refused(format!("its machine code has more than {CODE_MAX_BYTES} bytes")));
        }
        // It has nothing more to say; what it still holds is closed with it.
        drop((output, errors_taken));
        let status = child.wait().await.map_err(|error| failed("cannot be waited for", error))?;
        let said = shown(String::from_utf8_lossy(&said).trim());
        if status.success() {
            if !said.is_empty() && !self.is_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "components are compiled, but {said}; engine.compile-sandbox = \"required\" would refuse them"
                );
            }
            return Ok(code);
        }
        if status.code() == Some(i32::from(EXIT_REFUSED)) {
            return Err(refused(said));
        }
        Err(refused(format!(
            "the compiler ended with {status}, having at most {} bytes of memory and {:?} of processor time; raise \
             `engine.compile-memory` or `engine.compile-cpu-time` if the component is that large ({said})",
            limits.memory, limits.cpu_time
        )))
    }
}

/// The compiler's exit status when it is the component that is wrong.
const EXIT_REFUSED: u8 = 3;

/// What follows `wicketgate compile-plugin`, if that is what was called.
pub fn arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let is_compiler = arguments.nth(1).is_some_and(|word| word == COMMAND);
    is_compiler.then(|| arguments.collect())
}

/// Runs the compiler: a component from the standard input, its machine code to the standard output. To be
/// called before the process has a second thread.
#[must_use]
#[expect(clippy::print_stderr, reason = "the gateway reads it")]
pub fn run(arguments: &[OsString]) -> ExitCode {
    let outcome = confine(arguments).map_err(|problem| (problem, 1)).and_then(|()| {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| (error.to_string(), 1))?;
        let code = engine::for_compiling()
            .map_err(|error| (error.to_string(), 1))?
            .precompile_component(&bytes)
            .map_err(|error| (format!("{error:#}"), EXIT_REFUSED))?;
        std::io::stdout().write_all(&code).map_err(|error| (error.to_string(), 1))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((problem, status)) => {
            eprintln!("{problem}");
            ExitCode::from(status)
        }
    }
}

/// Takes from this process what compiling does not need.
#[expect(clippy::print_stderr, reason = "the gateway reads it")]
fn confine(arguments: &[OsString]) -> Result<(), String> {
    let text = |index: usize| arguments.get(index)?.to_str();
    let number = |index: usize| text(index)?.parse::<u64>().ok();
    let is_required = text(2).map(|word| word == Sandbox::Required.as_str());
    let (Some(memory), Some(cpu_seconds), Some(is_required)) = (number(0), number(1), is_required) else {
        return Err(format!("usage: wicketgate {COMMAND} MEMORY CPU-SECONDS SANDBOX (only the gateway starts it)"));
    };
    for (resource, most) in [
        (Resource::As, memory),
        (Resource::Cpu, cpu_seconds),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, OPEN_FILES),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("limit {resource:?} of {most}: {error}"))?;
    }
    set_no_new_privs(true).map_err(|error| format!("no new privileges: {error}"))?;
    let Err(error) = sandbox::enter() else { return Ok(()) };
    let problem = format!("this system cannot forbid a compiler sockets and other processes: {error}");
    if is_required {
        return Err(problem);
    }
    eprintln!("{problem}");
    Ok(())
}
