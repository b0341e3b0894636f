//! How the local provider looks after replicas: limits, health, replacement without a failed request, logs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::{Gateway, LOCAL, wait_until};

/// A server that says which process and version answered. `/break` makes it unhealthy, `/say` makes it print.
/// It is healthy from the third look on.
const SERVER: &str = r#"
[provider.local.command.server]
command = ["python3", "-uc", """
import http.server, os, sys
looks = 0
broken = False
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        global looks, broken
        status = 200
        if self.path == '/healthz':
            looks += 1
            status = 200 if looks > 2 and not broken else 503
        elif self.path == '/break':
            broken = True
        elif self.path == '/say':
            print('to the output')
            print('to the errors', file=sys.stderr)
        body = ('%d %s %d' % (os.getpid(), os.environ.get('VERSION', '1'), looks)).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""]
mode = "http"
allowed-env = ["VERSION"]
health-path = "/healthz"
health-interval = "100ms"
health-timeout = "10s"
health-failures = 2
"#;

/// The words of an answer of the server: process, version, looks.
fn answer(gateway: &Gateway, target: &str) -> Vec<String> {
    let reply = gateway.get(target);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().split(' ').map(str::to_owned).collect()
}

/// Scales and waits until so many are available.
fn scale(gateway: &Gateway, function: &str, count: u64) {
    let body = json!({ "serviceName": function, "replicas": count }).to_string();
    assert_eq!(gateway.post(&format!("/system/scale-function/{function}"), body).status, 202);
    wait_until("the replicas are available", || {
        gateway.get(&format!("/system/function/{function}")).json()["availableReplicas"] == json!(count)
    });
}

#[test]
fn limits_are_the_operators_and_a_deployment_can_lower_them() {
    let gateway = Gateway::with(&format!(
        "{LOCAL}{}",
        r#"
[provider.local.command.limits]
command = ["cat", "/proc/self/limits"]
memory = "256MiB"
cpu-time = "7s"
open-files = 64
processes = 999
"#
    ));
    let soft_and_hard = |function: &str, name: &str| {
        let text = gateway.get(&format!("/function/{function}")).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (name, value) in [
        ("Max address space", "268435456 268435456"),
        ("Max cpu time", "7 7"),
        ("Max open files", "64 64"),
        ("Max processes", "999 999"),
        ("Max core file size", "0 0"),
    ] {
        assert_eq!(soft_and_hard("limits", name), value, "{name}");
    }
    let deploy = |limits: serde_json::Value| {
        gateway.post("/system/functions", json!({ "service": "less", "image": "limits", "limits": limits }).to_string())
    };
    for too_much in [json!({ "memory": "257Mi" }), json!({ "cpu": "100m" }), json!({ "open-files": "65" })] {
        assert_eq!(deploy(too_much.clone()).code(400), "invalid", "{too_much}");
    }
    assert_eq!(deploy(json!({ "memory": "128Mi", "open-files": "32" })).status, 202);
    assert_eq!(soft_and_hard("less", "Max address space"), "134217728 134217728");
    assert_eq!(soft_and_hard("less", "Max open files"), "32 32");
    assert_eq!(soft_and_hard("less", "Max processes"), "999 999");
    assert_eq!(gateway.get("/system/function/less").json()["limits"]["memory"], "128Mi");
}

#[test]
fn a_replica_counts_when_it_is_healthy_and_is_replaced_when_it_is_not() {
    let gateway = Gateway::with(&format!("{LOCAL}{SERVER}"));
    let first = answer(&gateway, "/function/server");
    assert!(first[2].parse::<u32>().unwrap() >= 3, "asked before it was healthy: {first:?}");
    answer(&gateway, "/function/server/break");
    wait_until("another process answers", || answer(&gateway, "/function/server")[0] != first[0]);
    assert!(gateway.output().text().contains("503 Service Unavailable"), "the log says why");
}

#[test]
fn an_update_under_load_fails_no_request() {
    let gateway = Gateway::with(&format!("{LOCAL}{SERVER}"));
    let deployment = |version: &str| {
        json!({ "service": "rolling", "image": "server", "envVars": { "VERSION": version } }).to_string()
    };
    assert_eq!(gateway.post("/system/functions", deployment("1")).status, 202);
    scale(&gateway, "rolling", 3);
    let (done, answers) = (AtomicBool::new(false), Mutex::new(Vec::<(u16, String)>::new()));
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let mut connection = gateway.connect();
                while !done.load(Ordering::Relaxed) {
                    let reply = connection.send("GET", "/function/rolling", &[], b"");
                    let version = reply.text().split(' ').nth(1).unwrap_or_default().to_owned();
                    answers.lock().unwrap().push((reply.status, version));
                }
            });
        }
        let updated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the load runs", || answers.lock().unwrap().len() > 50);
            assert_eq!(gateway.send("PUT", "/system/functions", &[], deployment("2")).status, 202);
            wait_until("only the new version answers", || {
                let answers = answers.lock().unwrap();
                answers.iter().rev().take(500).all(|(_, version)| version == "2")
            });
        }));
        done.store(true, Ordering::Relaxed);
        updated.unwrap();
    });
    let answers = answers.into_inner().unwrap();
    let failed: Vec<_> = answers.iter().filter(|(status, _)| *status != 200).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), answers.len(), failed.first());
    assert!(answers.iter().any(|(_, version)| version == "1") && answers.iter().any(|(_, version)| version == "2"));
}

#[test]
fn the_load_is_spread_over_the_replicas() {
    let gateway = Gateway::with(&format!("{LOCAL}{SERVER}"));
    scale(&gateway, "server", 3);
    let mut counts = BTreeMap::<String, usize>::new();
    // The gateway learns of the third one a moment after the platform does.
    wait_until("three processes answer", || {
        *counts.entry(answer(&gateway, "/function/server")[0].clone()).or_default() += 1;
        counts.len() == 3
    });
    counts.clear();
    for _ in 0..300 {
        *counts.entry(answer(&gateway, "/function/server")[0].clone()).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count >= 40), "{counts:?}");
}

#[test]
fn both_outputs_of_all_replicas_are_in_the_log_which_can_be_followed() {
    let gateway = Gateway::with(&format!("{LOCAL}{SERVER}"));
    scale(&gateway, "server", 2);
    let mut said = std::collections::BTreeSet::new();
    wait_until("both replicas printed", || {
        said.insert(answer(&gateway, "/function/server/say")[0].clone());
        said.len() == 2
    });
    let read = || {
        let reply = gateway.get("/system/logs?name=server&tail=1000");
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    wait_until("both texts of both instances are there", || {
        let lines = read();
        let instances = |text: &str| {
            let lines = lines.iter().filter(|line| line["text"] == text);
            lines.map(|line| line["instance"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
        };
        instances("to the output").len() == 2 && instances("to the output") == instances("to the errors")
    });

    let mut follower = gateway.connect();
    follower.begin("GET", "/system/logs?name=server&follow=true&tail=1", &[], b"");
    assert_eq!(follower.head().0, 200);
    let mut seen = String::from_utf8(follower.chunk().unwrap()).unwrap();
    let before = seen.lines().count();
    answer(&gateway, "/function/server/say");
    while seen.lines().count() < before + 2 {
        seen.push_str(&String::from_utf8(follower.chunk().expect("the stream goes on")).unwrap());
    }
    assert!(seen.lines().skip(before).any(|line| line.contains("to the errors")), "{seen}");
}

#[test]
fn what_a_command_leaves_behind_is_reaped_when_it_ends() {
    let gateway = Gateway::with(&format!(
        "{LOCAL}{}",
        r#"
[provider.local.command.leaves]
command = ["sh", "-c", "true </dev/null >/dev/null 2>&1 & echo $!"]
"#
    ));
    let orphans: Vec<String> = (0..5).map(|_| gateway.get("/function/leaves").text().trim().to_owned()).collect();
    assert!(orphans.iter().all(|pid| pid.parse::<u32>().is_ok()), "{orphans:?}");
    // A zombie has a folder there too.
    wait_until("nothing is left of them", || {
        orphans.iter().all(|pid| !std::path::Path::new("/proc").join(pid).exists())
    });
    assert!(!gateway.descendants().is_empty(), "their watchdog still runs");
}
