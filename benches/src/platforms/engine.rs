//! A Docker engine for the measurement, as the tests start theirs: in namespaces of its own, gone with us.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sched::{CloneFlags, setns};

use super::{IMAGE, until};

const KEEPER: &str = include_str!("../../../tests/fixtures/docker-engine.sh");

/// Compiles the function of the tests: one static program.
pub(super) fn function(directory: &Path) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/function.rs");
    let folder = directory.join("function");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = folder.join("function");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(&source);
    output(compile).map(|_nothing| program)
}

/// A running engine. Dropping it ends it.
pub(super) struct Engine {
    folder: PathBuf,
    network: File,
    keeper: Child,
    /// Its closing is the engine's end.
    pipe: Option<ChildStdin>,
}

impl Engine {
    /// Starts an engine that has the function as an image, and makes it a swarm of its own.
    pub(super) fn start(function: &Path) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("wicketgate-bench-docker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let cgroup = format!("wicketgate-bench-{}", std::process::id());
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", KEEPER, "keeper"]);
        command.arg(&folder).arg(&cgroup).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let missing = "it needs root, and Debian's docker.io and busybox-static";
        let mut keeper = command.spawn().map_err(|error| format!("unshare: {error}; {missing}"))?;
        let network = File::open(format!("/proc/{}/ns/net", keeper.id()));
        let pipe = keeper.stdin.take();
        let network = network.map_err(|error| format!("no network namespace: {error}; {missing}"))?;
        let mut engine = Self { folder, network, keeper, pipe };
        until("the engine answers", || engine.docker(&["version"]).is_ok())
            .map_err(|error| format!("{error}; {missing}"))?;
        // The namespace of now: right after the start it was still ours.
        engine.network =
            File::open(format!("/proc/{}/ns/net", engine.keeper.id())).map_err(|error| error.to_string())?;
        let tar = engine.folder.join("function.tar");
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(function.parent().unwrap_or(function)).arg("-cf").arg(&tar).arg("function");
        output(pack)?;
        let tar = tar.display().to_string();
        engine.docker(&["import", "--change", "CMD [\"/function\"]", &tar, IMAGE])?;
        engine.docker(&["swarm", "init", "--listen-addr", "127.0.0.1:2377", "--advertise-addr", "127.0.0.1"])?;
        Ok(engine)
    }

    /// Moves the calling thread, and what it starts from now on, into the engine's network.
    pub(super) fn enter(&self) -> Result<(), String> {
        setns(&self.network, CloneFlags::CLONE_NEWNET).map_err(|error| format!("enter the engine's network: {error}"))
    }

    /// The engine's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Runs the platform's own client, and answers what it says.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        output(command)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ended = self.keeper.wait();
    }
}

fn output(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
