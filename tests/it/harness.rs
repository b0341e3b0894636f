//! The gateway as a child process, and what stands around it. Nothing here knows the library.
//!
//! No test sleeps: whoever waits, waits for an event, with a deadline. A test that fails shows what
//! the gateway said.

pub mod contest;
pub mod docker;
pub mod http;
pub mod life_cycle;
pub mod platform;
pub mod played;
mod providers;
pub mod replay;

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

pub use http::{Connection, Reply};
pub use platform::Platform;
pub use played::Played;
pub use providers::{LOCAL, faas_provider, gateway};

/// How long anything may take before a test gives up. Long, since a loaded machine compiles plugins
/// in a debug build; a test that passes never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often something is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where cargo and its tasks build.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// The component of a bundled plugin.
pub fn bundled(name: &str) -> Vec<u8> {
    let path = target().join(format!("plugins/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", path.display()))
}

/// The same plugin with other bytes: a custom section more.
pub fn variant_of(name: &str, number: u8) -> Vec<u8> {
    let mut bytes = bundled(name);
    bytes.extend_from_slice(&[0, 6, 4, b't', b'e', b's', b't', number]);
    bytes
}

/// The component of a guest of the tests.
pub fn guest(name: &str) -> Vec<u8> {
    let path = target().join(format!("plugins/tests/{name}.wasm"));
    let run = "run `cargo xtask plugins --tests`";
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; {run}", path.display()))
}

/// The text that a process has written so far, and a bell for whoever waits for more.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<String>, Condvar)>);

impl Output {
    /// Reads a pipe to its end on a thread of its own, so that the child never waits for us.
    pub fn drain(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = self.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                output.0.0.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                output.0.1.notify_all();
                line.clear();
            }
        })
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }

    /// What follows `mark` on a line, as soon as a line has it; `None` after the deadline.
    pub fn wait_for(&self, mark: &str) -> Option<String> {
        self.wait_while(mark, || true)
    }

    /// The same; also `None` when the process that writes has ended without it.
    fn wait_while(&self, mark: &str, mut lives: impl FnMut() -> bool) -> Option<String> {
        let end = Instant::now() + DEADLINE;
        let mut text = self.0.0.lock().unwrap();
        let mut is_last = false;
        loop {
            if let Some((_, rest)) = text.split_once(mark)
                && let Some((found, _)) = rest.split_once('\n')
            {
                return Some(found.trim().to_owned());
            }
            if is_last || Instant::now() >= end {
                return None;
            }
            // Nobody rings for an end, so it is asked for; what was written before it is read once more.
            is_last = !lives();
            text = self.0.1.wait_timeout(text, LOOK_EVERY).unwrap().0;
        }
    }
}

/// What a gateway is started with.
#[derive(Clone)]
pub struct GatewayBuilder {
    folder: Arc<TempDir>,
    config: String,
    http: String,
    variables: Vec<(String, String)>,
}

impl GatewayBuilder {
    /// A gateway whose configuration is `config` behind what every test needs: free ports, and
    /// folders of its own. `{folder}` in it is the folder of the test.
    pub fn new(config: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self { folder, config: config.to_owned(), http: "127.0.0.1:0".to_owned(), variables: Vec::new() }
    }

    /// Sets a variable of its environment, which is empty otherwise.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file beside the configuration.
    /// Nobody else can read it, since it may be a secret.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration.
    pub fn config(mut self, config: &str) -> Self {
        config.clone_into(&mut self.config);
        self
    }

    /// Listens on this address instead of a free port.
    pub fn listening_on(mut self, address: &str) -> Self {
        address.clone_into(&mut self.http);
        self
    }

    fn write(&self) -> PathBuf {
        let path = self.folder.path().join("wicketgate.toml");
        let folder = self.folder.path().display();
        // A test may say more of `[listen]` and of no other table of these.
        let (config, listen) = match self.config.split_once("[listen]\n") {
            Some((before, rest)) => {
                let end = rest.find("\n[").map_or(rest.len(), |end| end + 1);
                let (listen, after) = rest.split_at(end);
                (format!("{before}{after}"), listen)
            }
            None => (self.config.clone(), ""),
        };
        let head = format!(
            "[listen]\nhttp = \"{}\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{folder}/admin.sock\"\n{listen}\n\
             [state]\ndirectory = \"{folder}/state\"\n",
            self.http
        );
        // Keys of the root come before all tables.
        let (root, tables) = match config.find('[') {
            Some(first) => config.split_at(first),
            None => (config.as_str(), ""),
        };
        // What tests change on purpose would have to be accepted; a test of the lock says so.
        let lock = if root.contains("lock =") { "" } else { "lock = \"off\"\n" };
        let text = format!("{lock}{root}\n{head}\n{tables}").replace("{folder}", &folder.to_string());
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Gateway {
        let path = self.write();
        let arguments = ["serve", "--config", path.to_str().unwrap()];
        let mut gateway = Gateway::spawn(&arguments, &self.variables, Arc::clone(&self.folder));
        gateway.wait_until_it_listens();
        gateway
    }

    /// Runs it to its end, for configurations that it must refuse: exit status and all it said.
    pub fn run(self, command: &str) -> (ExitStatus, String) {
        let path = self.write();
        let arguments = [command, "--config", path.to_str().unwrap()];
        let mut gateway = Gateway::spawn(&arguments, &self.variables, Arc::clone(&self.folder));
        let status = gateway.wait_for_exit();
        for reader in gateway.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, gateway.output.text())
    }
}

/// A running gateway. Dropping it kills it, and shows what it said if the test is failing.
pub struct Gateway {
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
    folder: Arc<TempDir>,
    http: String,
    metrics: String,
}

impl Gateway {
    /// A gateway with this configuration.
    pub fn with(config: &str) -> Self {
        GatewayBuilder::new(config).start()
    }

    /// A gateway without a configuration file: what the environment says counts. `{folder}` in a value
    /// is the folder of the test, where `files` are put, readable for everybody as some set-ups of OpenFaaS
    /// leave them.
    pub fn with_environment(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let place = folder.path().to_str().unwrap().to_owned();
        let environment: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{folder}", &place))).collect();
        let state = folder.path().join("state");
        let arguments = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--state-directory",
            state.to_str().unwrap(),
        ];
        let mut gateway = Self::spawn(&arguments, &environment, folder);
        gateway.wait_until_it_listens();
        gateway
    }

    fn spawn(arguments: &[&str], environment: &[(String, String)], folder: Arc<TempDir>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wicketgate"));
        command.args(arguments).current_dir(folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder.path());
        command.envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Output::default();
        let readers = vec![output.drain(child.stdout.take().unwrap()), output.drain(child.stderr.take().unwrap())];
        Self { child, output, readers, folder, http: String::new(), metrics: String::new() }
    }

    fn wait_until_it_listens(&mut self) {
        let Self { child, output, http, metrics, .. } = self;
        for (mark, address) in [("listening on http://", http), ("metrics on http://", metrics)] {
            match output.wait_while(mark, || child.try_wait().unwrap().is_none()) {
                Some(found) => *address = found.split(['/', ' ']).next().unwrap().to_owned(),
                None => match child.try_wait().unwrap() {
                    Some(status) => panic!("the gateway ended with {status} and without a line with {mark:?}"),
                    None => panic!("no line with {mark:?} within {DEADLINE:?}"),
                },
            }
        }
    }

    /// The address of the main port.
    pub fn address(&self) -> &str {
        &self.http
    }

    /// The folder of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has said so far.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// A connection to the main port.
    pub fn connect(&self) -> Connection {
        Connection::tcp(&self.http)
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.connect().send(method, target, headers, body.as_ref())
    }

    /// A GET.
    pub fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], "")
    }

    /// A POST.
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", target, &[], body)
    }

    /// A GET to the metrics port.
    pub fn metrics(&self, target: &str) -> Reply {
        Connection::tcp(&self.metrics).send("GET", target, &[], b"")
    }

    /// The value of a series, as `/metrics` writes it; 0 if there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A GET to the admin socket.
    pub fn admin(&self, target: &str) -> Reply {
        Connection::unix(&self.folder.path().join("admin.sock")).send("GET", target, &[], b"")
    }

    /// A request to the admin socket.
    pub fn admin_send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        Connection::unix(&self.folder.path().join("admin.sock")).send(method, target, headers, body)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes its configuration file anew; takes effect when it is read again.
    pub fn rewrite(&self, config: &str) {
        let folder = Arc::clone(&self.folder);
        let http = "127.0.0.1:0".to_owned();
        GatewayBuilder { folder, config: config.to_owned(), http, variables: Vec::new() }.write();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.wait_for_exit();
        assert_eq!(status.signal(), Some(9));
    }

    /// Starts it again with the same configuration file, after it ended.
    pub fn restart(&mut self) {
        let path = self.folder.path().join("wicketgate.toml");
        let again = Self::spawn(&["serve", "--config", path.to_str().unwrap()], &[], Arc::clone(&self.folder));
        drop(std::mem::replace(self, again));
        self.wait_until_it_listens();
    }

    /// Waits for its end.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the gateway ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// The processes that descend from it, itself left out: their ids and command lines.
    pub fn descendants(&self) -> Vec<(u32, String)> {
        let mut known = vec![self.child.id()];
        let mut found = Vec::new();
        let all = processes();
        // A child has not always a higher id than its parent, so this goes round until nothing is new.
        loop {
            let before = found.len();
            for (pid, parent, line) in &all {
                if known.contains(parent) && !known.contains(pid) {
                    known.push(*pid);
                    found.push((*pid, line.clone()));
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("{:-^100}\n{}{:-^100}", " the gateway said ", self.output.text(), "");
        }
    }
}

/// All processes: id, parent's id, command line. Those that ended while it was read are left out.
fn processes() -> Vec<(u32, u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // "pid (name) state parent ...", where the name may have anything in it.
        let Some((_, after)) = stat.rsplit_once(") ") else { continue };
        let mut fields = after.split(' ');
        let (state, parent) = (fields.next().unwrap(), fields.next().unwrap().parse().unwrap());
        // A zombie has ended; only its parent has not looked yet.
        if state != "Z" {
            found.push((pid, parent, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Whether a process lives.
pub fn lives(pid: u32) -> bool {
    processes().iter().any(|(other, _, _)| *other == pid)
}

/// Asks again and again, with a short pause, until `is_so`; for states that nobody announces.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "waited {DEADLINE:?} until {what}");
        // Not a sleep for luck: the state is asked for again, and the deadline is above.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
