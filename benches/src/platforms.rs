//! Cold starts on real platforms: a request through the gateway, and beside it the platform's own client that starts
//! the same function and asks until it answers. Both in turn, so that the machine's moods are the same for both.

mod engine;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Bench;
use crate::measure::{Report, median};
use crate::process::Program;
use engine::Engine;

/// How long a function may take to answer, or to be gone.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause of a client that asks whether a function answers: short, so that it loses nothing by it.
const PAUSE: Duration = Duration::from_millis(2);

/// The image of the function.
const IMAGE: &str = "function:1";

/// What does not run here, and why.
const ABSENT: [(&str, &str); 4] = [
    ("kubernetes", "needs a cluster that runs containers; the tests replay recordings of an API server"),
    ("nomad", "needs an agent; the tests replay recordings of one"),
    ("ecs", "needs AWS; moto's server has no tasks that could start"),
    ("faas-provider", "the platform is another program; the group `cold` measures it with one that answers at once"),
];

/// A way of running functions.
struct Mode {
    /// For people, and the name of its function.
    name: &'static str,
    /// The plugin's configuration.
    config: &'static str,
    /// The client's words, before the function or its container; `=1` after it if it is a service.
    client: &'static [&'static str],
}

const MODES: [Mode; 3] = [
    Mode {
        name: "swarm",
        config: "mode = \"swarm\"\nhost = \"127.0.0.1\"\ntemplate = { TaskTemplate = { ContainerSpec = { Init = true } } }",
        client: &["service", "scale", "--detach"],
    },
    Mode {
        name: "engine-stop",
        config: "mode = \"engine\"\nzero = \"stop\"\ntemplate = { HostConfig = { Init = true } }",
        client: &["start"],
    },
    Mode {
        name: "engine-pause",
        config: "mode = \"engine\"\nzero = \"pause\"\ntemplate = { HostConfig = { Init = true } }",
        client: &["unpause"],
    },
];

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<(), String> {
    for (name, reason) in ABSENT {
        println!("bench: platforms: {name} is not measured: {reason}");
    }
    let function = engine::function(&bench.directory)?;
    local(bench, &function, report)?;
    match Engine::start(&function) {
        Err(reason) => println!("bench: platforms: docker is not measured: {reason}"),
        // On a thread of its own, which stays in the engine's network.
        Ok(engine) => std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                engine.enter()?;
                MODES.iter().try_for_each(|mode| docker(bench, &engine, mode, report))
            });
            inside.join().unwrap_or_else(|_panic| Err("the measurement panicked".to_owned()))
        })?,
    }
    Ok(())
}

/// A gateway with one provider.
fn gateway(bench: &Bench, name: &str, provider: &str) -> Result<Program, String> {
    let directory = bench.directory.join(name);
    let configuration = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{dir}/admin.sock\"\n\
         [state]\ndirectory = \"{dir}/state\"\n[log]\nlevel = \"warn\"\n[scaling]\nprobe-linger = \"20ms\"\n{provider}",
        dir = directory.display(),
    );
    Program::gateway(&bench.binary, &directory, &configuration)
}

/// Times both ways in turn. `sleep` brings the function to rest; `client` starts it and says where it is.
fn both(
    bench: &Bench,
    report: &mut Report,
    name: &str,
    gateway: SocketAddr,
    sleep: &dyn Fn() -> Result<(), String>,
    client: &dyn Fn() -> Result<SocketAddr, String>,
) -> Result<(), String> {
    let (mut through, mut beside) = (Vec::new(), Vec::new());
    let target = format!("/function/{name}");
    for _ in 0..bench.rounds {
        sleep()?;
        let begun = Instant::now();
        let (status, text) = ask(gateway, "GET", &target, "").ok_or("the gateway does not answer")?;
        if status != 200 {
            return Err(format!("{name}: {status} {text}"));
        }
        through.push(begun.elapsed().as_secs_f64() * 1000.0);
        sleep()?;
        let begun = Instant::now();
        let place = client()?;
        until("the function answers", || ask(place, "GET", "/", "").is_some_and(|(status, _)| status == 200))?;
        beside.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    report.show(format!("cold start on {name}: through the gateway"), median(&through), "ms");
    report.show(format!("cold start on {name}: the platform's client"), median(&beside), "ms");
    report.show(format!("cold start on {name}: ratio"), median(&through) / median(&beside), "x");
    Ok(())
}

/// Brings a function to rest through the gateway.
fn to_zero(gateway: SocketAddr, name: &str) -> Result<(), String> {
    let body = json!({ "serviceName": name, "replicas": 0 }).to_string();
    let answer = ask(gateway, "POST", &format!("/system/scale-function/{name}"), &body);
    if answer.as_ref().is_none_or(|(status, _)| *status != 202) {
        return Err(format!("{name} is not scaled: {answer:?}"));
    }
    until("nothing runs", || count(gateway, name) == Some(0))
}

/// How many replicas are available.
fn count(gateway: SocketAddr, name: &str) -> Option<u64> {
    let (status, text) = ask(gateway, "GET", &format!("/system/function/{name}"), "")?;
    let shown: Value = serde_json::from_str(&text).ok()?;
    (status == 200).then(|| shown.get("availableReplicas").and_then(Value::as_u64).unwrap_or(0))
}

/// Processes of this machine: the client is whoever starts the program.
fn local(bench: &Bench, function: &Path, report: &mut Report) -> Result<(), String> {
    let provider = format!(
        "[provider.local]\ncomponent = \"builtin:local\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.local.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
         [provider.local.command.local]\ncommand = [\"{}\"]\nmode = \"http\"\n",
        function.display()
    );
    let gateway = gateway(bench, "platform-local", &provider)?;
    let started = std::cell::RefCell::new(None::<std::process::Child>);
    let end = || {
        if let Some(mut child) = started.borrow_mut().take() {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    };
    let sleep = || {
        end();
        to_zero(gateway.address, "local")
    };
    let client = || {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let place = free.map_err(|error| format!("no free port: {error}"))?;
        let mut command = Command::new(function);
        command.env("PORT", place.port().to_string()).stdout(Stdio::null());
        started.replace(Some(command.spawn().map_err(|error| format!("{}: {error}", function.display()))?));
        Ok(place)
    };
    let outcome = both(bench, report, "local", gateway.address, &sleep, &client);
    end();
    outcome
}

/// Services or containers: the client is `docker`.
fn docker(bench: &Bench, engine: &Engine, mode: &Mode, report: &mut Report) -> Result<(), String> {
    let name = mode.name;
    let is_swarm = name == "swarm";
    let profile = if is_swarm { "docker-swarm" } else { "docker" };
    let provider = format!(
        "[provider.docker]\ncomponent = \"builtin:docker\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.docker.config]\n{}\n\
         [provider.docker.grant.docker]\nconnect = \"unix:{}\"\nbase = \"/v1.41\"\nprofile = \"{profile}\"\n\
         [provider.docker.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
         [provider.docker.limits]\ncall-timeout = \"30s\"\ndeploy-timeout = \"60s\"\n",
        mode.config,
        engine.socket().display(),
    );
    let gateway = gateway(bench, &format!("platform-{name}"), &provider)?;
    let body = json!({ "service": name, "image": IMAGE }).to_string();
    let deployed = ask(gateway.address, "POST", "/system/functions", &body);
    if deployed.as_ref().is_none_or(|(status, _)| *status != 202) {
        return Err(format!("{name} is not deployed: {deployed:?}"));
    }
    until("it runs", || count(gateway.address, name) == Some(1))?;
    let label = if is_swarm {
        format!("label=com.docker.swarm.service.name={name}")
    } else {
        format!("label=com.openfaas.function={name}")
    };
    let ports = || engine.docker(&["ps", "--filter", &label, "--filter", "status=running", "--format", "{{.Ports}}"]);
    let sleep = || {
        to_zero(gateway.address, name)?;
        // A container that is ending still has its port.
        until("no container runs", || ports().is_ok_and(|ports| ports.trim().is_empty()))
    };
    let replica = if is_swarm {
        format!("{name}=1")
    } else {
        let found =
            engine.docker(&["ps", "-aq", "--filter", &label, "--filter", "label=com.wicketgate.role=replica"])?;
        found.trim().to_owned()
    };
    let client = || {
        let words: Vec<&str> = mode.client.iter().copied().chain([replica.as_str()]).collect();
        engine.docker(&words)?;
        let mut place = None;
        until("it has a port", || {
            let text = ports().unwrap_or_default();
            let published = text.split(", ").find_map(|port| port.split_once("->").map(|pair| pair.0));
            place = published.and_then(|place| place.trim().replace("0.0.0.0", "127.0.0.1").parse().ok());
            place.is_some()
        })?;
        place.ok_or_else(|| format!("{name} has no port"))
    };
    both(bench, report, name, gateway.address, &sleep, &client)
}

/// One request on a connection of its own: status and body; `None` if nobody answers.
fn ask(place: SocketAddr, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&place, LONGEST).ok()?;
    stream.set_read_timeout(Some(LONGEST)).ok()?;
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: {place}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut text = String::new();
    // The function of the tests keeps its connections: what it announced is enough.
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok()?;
        text.push_str(&String::from_utf8_lossy(piece.get(..count)?));
        let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let announced = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if count == 0 || announced.is_some_and(|announced: usize| rest.len() >= announced) {
            let status = head.split(' ').nth(1)?.parse().ok()?;
            return Some((status, rest.to_owned()));
        }
    }
}

/// Asks again and again.
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + LONGEST;
    while !is_so() {
        if Instant::now() >= end {
            return Err(format!("waited {LONGEST:?} until {what}"));
        }
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}
