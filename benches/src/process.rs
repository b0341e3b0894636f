//! Programs under measurement: started with a configuration of their own, ended when dropped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A running program.
pub(crate) struct Program {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where its metrics are, if it said so.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Program {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts the gateway with a configuration and waits for the lines that name its ports.
    pub(crate) fn gateway(binary: &Path, directory: &Path, configuration: &str) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let file = directory.join("wicketgate.toml");
        fs::write(&file, configuration).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let (lines, ready) = mpsc::channel();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn std::io::Read + Send>),
        ];
        for stream in streams.into_iter().flatten() {
            let lines = lines.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| {
                    let _gone = lines.send(line);
                });
            });
        }
        let (mut listening, mut metrics) = (None, None);
        let mut seen = String::new();
        loop {
            let Ok(line) = ready.recv_timeout(START) else {
                let _ended = child.kill();
                return Err(format!("the gateway did not start:\n{seen}"));
            };
            if let Some(address) = address_after(&line, "metrics on http://") {
                metrics = Some(address);
            }
            listening = listening.or_else(|| address_after(&line, "listening on http://"));
            if let (Some(address), Some(metrics)) = (listening, metrics) {
                return Ok(Self { child, address, metrics: Some(metrics) });
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    /// Starts a program that is told its port, with a configuration made from a template.
    pub(crate) fn from_template(
        program: &str,
        arguments: &[&str],
        template: &str,
        directory: &Path,
        upstream: SocketAddr,
    ) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.map_err(|error| format!("no free port: {error}"))?;
        let text = template
            .replace("{{listen}}", &address.to_string())
            .replace("{{upstream}}", &upstream.to_string())
            .replace("{{dir}}", &directory.display().to_string());
        let file: PathBuf = directory.join(format!("{program}.conf"));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{program}: {error}; install it (Debian: apt-get install nginx-light haproxy wrk)")
            })?;
        let started = Self { child, address, metrics: None };
        wait_until_it_accepts(address).map_err(|error| format!("{program}: {error}"))?;
        Ok(started)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if asked.is_err() {
            let _ended = self.child.kill();
        }
        let _reaped = self.child.wait();
    }
}

/// The address in a line like `... listening on http://127.0.0.1:8080`.
fn address_after(line: &str, mark: &str) -> Option<SocketAddr> {
    let rest = line.split_once(mark)?.1;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']'))).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

fn wait_until_it_accepts(address: SocketAddr) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + START;
    while tokio::time::Instant::now() < deadline {
        if std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("does not accept on {address}"))
}
