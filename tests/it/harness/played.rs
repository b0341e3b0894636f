//! A platform that is played by one of the Python programs in `tests/it`, as a child process.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Connection, Output};

/// A running one. Dropping it ends it.
pub struct Played {
    child: Child,
    address: String,
    facts: Value,
    errors: Output,
}

impl Played {
    /// Nomad, empty. `arguments` are those of `fake.py`: `--token TOKEN` lets in only who has it.
    pub fn nomad(arguments: &[&str]) -> Self {
        Self::script("nomad", arguments)
    }

    /// A Kubernetes cluster with the namespace `fns`; `arguments` as above.
    pub fn kubernetes(arguments: &[&str]) -> Self {
        Self::script("kubernetes", arguments)
    }

    /// The platform of the README's plugin, with the app `scratch`.
    pub fn acme() -> Self {
        Self::script("acme", &[])
    }

    fn script(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.arg("-u").arg(path(name)).args(arguments);
        Self::spawn(command, &format!("{name} on http://"))
    }

    /// Starts a program that prints `MARK HOST:PORT {facts}` on a line, and ends with its standard input.
    pub fn spawn(mut command: Command, mark: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (output, errors) = (Output::default(), Output::default());
        output.drain(child.stdout.take().unwrap());
        errors.drain(child.stderr.take().unwrap());
        let line = output.wait_for(mark).unwrap_or_else(|| panic!("{mark} did not start:\n{}", errors.text()));
        let (address, facts) = line.split_once(' ').unwrap();
        Self { child, address: address.to_owned(), facts: serde_json::from_str(facts).unwrap(), errors }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it said of itself when it started.
    pub fn facts(&self) -> &Value {
        &self.facts
    }

    /// Tells it something, past any gateway, and answers what it says to that.
    pub fn control(&self, path: &str, body: &Value) -> Value {
        let reply = Connection::tcp(&self.address).send("POST", path, &[], body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// The requests that came so far, as it keeps them.
    pub fn log(&self) -> Vec<Value> {
        self.list("/_log")
    }

    /// The requests that came to the instances of functions: `INSTANCE got PATH`.
    pub fn received(&self) -> Vec<String> {
        self.list("/_received").iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let list = Connection::tcp(&self.address).send("GET", path, &[], b"").json();
        list.as_array().unwrap().clone()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("{:-^100}\n{}{:-^100}", " the platform said ", self.errors.text(), "");
        }
    }
}

fn path(name: &str) -> String {
    format!("{}/tests/it/{name}.py", env!("CARGO_MANIFEST_DIR"))
}

/// Fails unless a play answers what the real platform was recorded to answer; `at_least` so many exchanges.
pub fn is_as_recorded(name: &str, recordings: &str, at_least: u32) {
    let folder = format!("{}/tests/recordings/{recordings}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3").arg(path(name)).args(["--check", &folder]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let count: u32 = said.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= at_least, "{said}");
}
