//! A Docker Engine and a Podman of the tests' own, each in a network and a process namespace of its own: nothing
//! of them can be left behind, and no engine of the machine is touched.
//!
//! One engine of each kind serves all tests of a run. It lives as long as the test process: the engine's first
//! process reads a pipe of ours and takes everything down when the pipe closes, however we ended.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};

use super::{Connection, Output, Reply, wait_until};

/// The image of all functions: one static program.
pub const IMAGE: &str = "function:1";

/// The first process of each engine: it starts the engine, waits until our pipe closes, and cleans up.
const DOCKER: &str = include_str!("../../fixtures/docker-engine.sh");
const PODMAN: &str = include_str!("../../fixtures/podman-engine.sh");

/// A running engine.
pub struct Engine {
    folder: PathBuf,
    /// The process whose mounts are the engine's.
    keeper: u32,
    network: File,
    output: Output,
    /// Its closing is the engine's end.
    _pipe: std::process::ChildStdin,
}

/// Runs a test within the engine's network, where its published ports are on the loopback.
pub fn with_engine(test: impl FnOnce(&'static Engine) + Send) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let missing = "these tests run a real Docker Engine: they need root, and Debian's docker.io and busybox-static \
                   (`cargo xtask test` installs them)";
    let engine = ENGINE.get_or_init(|| {
        let engine = Engine::start(DOCKER, missing);
        engine.import("repo=function&tag=1");
        let address = json!({ "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1" });
        engine.post("/swarm/init", &address);
        engine
    });
    within(engine, test);
}

/// The same with Podman's service, which speaks the same API.
pub fn with_podman(test: impl FnOnce(&'static Engine) + Send) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let missing = "these tests run a real Podman: they need root, and Debian's podman, runc, catatonit, iptables and \
                   busybox-static (`cargo xtask test` installs them)";
    let engine = ENGINE.get_or_init(|| {
        let engine = Engine::start(PODMAN, missing);
        engine.import("repo=function:1");
        engine
    });
    within(engine, test);
}

fn within(engine: &'static Engine, test: impl FnOnce(&'static Engine) + Send) {
    if let Err(panic) = in_network(&engine.network, || test(engine)) {
        eprintln!("{:-^100}\n{}{:-^100}", " the engine said ", tail(&engine.output.text()), "");
        std::panic::resume_unwind(panic);
    }
}

/// Runs something, and what it starts, in a network namespace.
fn in_network(network: &File, work: impl FnOnce() + Send) -> std::thread::Result<()> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            // Of this thread only, and of what it starts.
            setns(network, CloneFlags::CLONE_NEWNET).expect("enter the engine's network");
            work();
        });
        inside.join()
    })
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].iter().map(|line| format!("{line}\n")).collect()
}

impl Engine {
    fn start(script: &str, missing: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("wicketgate-engine-").tempdir().unwrap().keep();
        let cgroup = format!("wicketgate-test-{}", std::process::id());
        let mut keeper = Command::new("unshare");
        keeper.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "keeper"]);
        keeper.arg(&folder).arg(&cgroup).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Not ended by the terminal's ctrl-C: it ends after us, by the pipe.
        std::os::unix::process::CommandExt::process_group(&mut keeper, 0);
        let mut child = keeper.spawn().unwrap_or_else(|error| panic!("unshare: {error}; {missing}"));
        let output = Output::default();
        drop(output.drain(child.stdout.take().unwrap()));
        drop(output.drain(child.stderr.take().unwrap()));
        let pipe = child.stdin.take().unwrap();
        let socket = folder.join("docker.sock");
        wait_until("the engine answers", || {
            let ended = child.try_wait().unwrap();
            let said = output.text();
            assert!(ended.is_none() && !said.contains("the engine ended"), "no engine: {missing}\n{}", tail(&said));
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
                && Connection::unix(&socket).send("GET", "/_ping", &[], b"").status == 200
        });
        let keeper = child.id();
        let network = File::open(format!("/proc/{keeper}/ns/net")).unwrap();
        Self { folder, keeper, network, output, _pipe: pipe }
    }

    /// Makes the image from the one program that it holds; `name` is how the engine wants its name.
    fn import(&self, name: &str) {
        let folder = super::life_cycle::program().parent().unwrap();
        let tar = Command::new("tar").arg("-C").arg(folder).args(["-c", "function"]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let target = format!("/v1.41/images/create?fromSrc=-&{name}&changes=CMD%20%5B%22/function%22%5D");
        let mut connection = Connection::unix(&self.socket());
        let reply = connection.send("POST", &target, &[("content-type", "application/x-tar")], &tar.stdout);
        assert!(reply.status == 200 && !reply.text().contains("error"), "{}", reply.text());
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// A request to the engine, past any gateway.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        Connection::unix(&self.socket()).send(method, &format!("/v1.41{path}"), &headers, text.as_bytes())
    }

    /// What the engine holds at a path.
    pub fn get(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, &Value::Null);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// A POST that must succeed.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.ask("POST", path, body);
        assert!((200..300).contains(&reply.status), "POST {path}: {} {}", reply.status, reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    /// The containers that a label selects, running or not.
    pub fn containers(&self, label: &str) -> Vec<Value> {
        let filters = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        self.get(&format!("/containers/json?all=true&filters={filters}")).as_array().unwrap().clone()
    }

    /// Makes a network that reaches over all machines of the swarm.
    pub fn overlay(&self, name: &str) {
        self.post("/networks/create", &json!({ "Name": name, "Driver": "overlay", "Attachable": true }));
    }

    /// Runs a test, and what it starts, as a container in `network` would run: in that network, and with the names
    /// that the engine resolves there.
    pub fn inside(&self, network: &str, test: impl FnOnce() + Send) {
        let body = json!({ "Image": IMAGE, "HostConfig": { "Init": true, "NetworkMode": network } });
        let id = self.post("/containers/create", &body)["Id"].as_str().unwrap().to_owned();
        self.post(&format!("/containers/{id}/start"), &Value::Null);
        let place = self.get(&format!("/containers/{id}/json"))["NetworkSettings"]["SandboxKey"].clone();
        let place = format!("/proc/{}/root{}", self.keeper, place.as_str().unwrap());
        let resolver = self.folder.join(format!("resolv.conf.{id}"));
        std::fs::write(&resolver, "nameserver 127.0.0.11\noptions ndots:0\n").unwrap();
        let outcome = in_network(&File::open(place).unwrap(), || {
            unshare(CloneFlags::CLONE_NEWNS).expect("mounts of its own");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("they stay its own");
            mount(Some(&resolver), "/etc/resolv.conf", none, MsFlags::MS_BIND, none).expect("the engine's resolver");
            test();
        });
        self.ask("DELETE", &format!("/containers/{id}?force=true"), &Value::Null);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    /// Makes a container that listens on `address:port`, does not start it, and answers its id.
    pub fn create(&self, name: &str, labels: Value, address: (&str, u16)) -> String {
        let port = json!([{ "HostIp": address.0, "HostPort": address.1.to_string() }]);
        let body = json!({
            "Image": IMAGE, "Labels": labels, "Env": [format!("NAME={name}")], "ExposedPorts": { "8080/tcp": {} },
            "HostConfig": { "Init": true, "PortBindings": { "8080/tcp": port } },
        });
        let made = self.post(&format!("/containers/create?name={name}"), &body);
        made["Id"].as_str().unwrap().to_owned()
    }
}
