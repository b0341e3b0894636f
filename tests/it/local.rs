//! The local provider: functions are commands of this machine, and their processes end with the gateway.

use crate::harness::{Gateway, GatewayBuilder, LOCAL, life_cycle, lives, variant_of, wait_until};

const COMMANDS: &str = r#"
[provider.local.command.wordcount]
command = ["wc", "-w"]
[provider.local.command.env]
command = ["env"]
[provider.local.command.chatty]
command = ["sh", "-c", "echo this goes to the log >&2; cat"]
[provider.local.command.fail]
command = ["sh", "-c", "cat; exit 3"]
"#;

/// The configuration with these commands and more.
fn commands(more: &str) -> String {
    format!("{LOCAL}{COMMANDS}{more}")
}

const SENTENCE: &str = "the quick brown fox";

fn counts(gateway: &Gateway) {
    let reply = gateway.post("/function/wordcount", SENTENCE);
    assert_eq!((reply.status, reply.text().trim()), (200, "4"), "{}", reply.text());
}

#[test]
fn a_command_answers_from_zero_and_then_from_its_instance() {
    let gateway = Gateway::with(&commands(""));
    assert!(gateway.descendants().iter().all(|(_, line)| !line.contains("wc")), "nothing runs before the first call");
    let first = gateway.post("/function/wordcount", SENTENCE);
    assert_eq!((first.status, first.text().trim()), (200, "4"));
    assert!(first.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", first.headers);
    for _ in 0..5 {
        let next = gateway.post("/function/wordcount", SENTENCE);
        assert_eq!((next.text().trim(), next.header("server-timing")), ("4", None));
    }
    let list = gateway.get("/system/functions").json();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|function| function["name"].as_str().unwrap()).collect();
    for name in ["wordcount", "env", "fail"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

#[test]
fn a_command_sees_its_request_as_variables() {
    let gateway = Gateway::with(&commands(""));
    let reply = gateway.send("POST", "/function/env/some/path?a=b", &[("x-mine", "7")], "x");
    let text = reply.text();
    for line in ["Http_Method=POST", "Http_Path=/some/path", "Http_Query=a=b", "Http_X_Mine=7"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("CARGO"), "a function inherits nothing of the gateway's environment");
}

#[test]
fn a_command_that_fails_is_its_own_500() {
    let gateway = Gateway::with(&commands(""));
    let reply = gateway.post("/function/fail", "x");
    assert_eq!((reply.status, reply.header("x-wicketgate-error")), (500, None), "{}", reply.text());
}

#[test]
fn a_killed_function_process_is_replaced() {
    let gateway = Gateway::with(&commands(""));
    counts(&gateway);
    for _ in 0..3 {
        let before = gateway.descendants();
        assert!(!before.is_empty(), "the instance is a process");
        for (pid, _) in &before {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            // It may have ended with the one before it.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for (pid, line) in &before {
            wait_until(&format!("{line} is dead"), || !lives(*pid));
        }
        counts(&gateway);
        wait_until("a process comes back by itself", || !gateway.descendants().is_empty());
    }
}

#[test]
fn nothing_outlives_a_killed_gateway_and_a_restart_answers_again() {
    let mut gateway = Gateway::with(&commands(SERVER));
    counts(&gateway);
    assert_eq!(gateway.get("/function/server").status, 200);
    let processes = gateway.descendants();
    assert!(processes.len() >= 2, "{processes:?}");
    gateway.kill();
    for (pid, line) in processes {
        wait_until(&format!("{line} ends with its gateway"), || !lives(pid));
    }
    gateway.restart();
    counts(&gateway);
    assert_eq!(gateway.get("/function/server").status, 200);
}

/// A function that is an HTTP server; python3 is what the suite has anyway.
const SERVER: &str = r#"
[provider.local.command.server]
command = ["python3", "-c", """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = ('%d %s' % (os.getpid(), self.path)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""]
mode = "http"
"#;

#[test]
fn a_server_is_reached_on_its_port_and_several_share_the_load() {
    let gateway = Gateway::with(&commands(SERVER));
    let first = gateway.get("/function/server/a?b");
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(first.text().ends_with(" /a?b"), "{}", first.text());
    assert_eq!(gateway.post("/system/scale-function/server", r#"{"replicas":3}"#).status, 202);
    let mut seen = std::collections::BTreeSet::new();
    wait_until("three instances answer", || {
        seen.insert(gateway.get("/function/server").text().split(' ').next().unwrap().to_owned());
        seen.len() == 3
    });
}

#[test]
fn scaling_to_zero_stops_the_processes_and_a_call_starts_them_again() {
    let gateway = Gateway::with(&commands(SERVER));
    assert_eq!(gateway.get("/function/server").status, 200);
    assert_eq!(gateway.post("/system/scale-function/server", r#"{"replicas":0}"#).status, 202);
    wait_until("no process is left", || gateway.descendants().is_empty());
    let reply = gateway.get("/function/server");
    assert_eq!(reply.status, 200);
    assert!(reply.header("server-timing").is_some());
}

#[test]
fn nobody_runs_commands_of_their_own_through_the_api() {
    let gateway = Gateway::with(&commands(""));
    for body in [
        r#"{"service":"evil","image":"/bin/sh"}"#,
        r#"{"service":"evil","image":"wordcount","envProcess":"sh -c id"}"#,
        r#"{"service":"evil","image":"wordcount","envVars":{"LD_PRELOAD":"/tmp/x.so"}}"#,
    ] {
        let reply = gateway.post("/system/functions", body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
    }
    assert_eq!(gateway.post("/system/functions", r#"{"service":"words","image":"wordcount"}"#).status, 202);
    assert_eq!(gateway.post("/function/words", SENTENCE).text().trim(), "4");
}

#[test]
fn a_deployed_function_survives_a_restart() {
    let mut gateway = GatewayBuilder::new(&commands("")).start();
    assert_eq!(gateway.post("/system/functions", r#"{"service":"words","image":"wordcount"}"#).status, 202);
    assert_eq!(gateway.post("/function/words", SENTENCE).text().trim(), "4");
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait_for_exit().success());
    gateway.restart();
    assert_eq!(gateway.post("/function/words", SENTENCE).text().trim(), "4");
}

#[test]
fn processes_and_deployed_functions_survive_a_swap_of_the_plugin() {
    let gateway = Gateway::with(&commands(SERVER));
    let wish = r#"{"service":"mine","image":"server","labels":{"team":"a"}}"#;
    assert_eq!(gateway.post("/system/functions", wish).status, 202);
    let served_by = |function: &str| {
        let reply = gateway.get(&format!("/function/{function}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text().split(' ').next().unwrap().to_owned()
    };
    let generation = || gateway.admin("/providers/local").json()["generation"].as_u64().unwrap();
    let before = (served_by("server"), served_by("mine"));
    let servers = || gateway.descendants().into_iter().filter(|(_, line)| line.contains("PORT")).collect::<Vec<_>>();
    let (mut last, processes, other) = (generation(), servers(), variant_of("local", 1));
    assert!(!processes.is_empty());
    // Another plugin, then the one before it again.
    let swap = || gateway.admin_send("PUT", "/providers/local", &[("content-type", "application/wasm")], &other);
    let back = || gateway.admin_send("POST", "/providers/local/rollback", &[], b"");
    for change in [&swap as &dyn Fn() -> _, &back] {
        let reply = change();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(generation() > last, "{}", reply.text());
        last = generation();
        assert_eq!((served_by("server"), served_by("mine")), before, "the processes that served before");
        assert_eq!(servers(), processes, "none was stopped or started");
        assert_eq!(gateway.get("/system/function/mine").json()["labels"]["team"], "a");
    }
}

#[test]
fn what_a_command_says_on_its_standard_error_is_in_its_log() {
    let gateway = Gateway::with(&commands(""));
    assert_eq!(gateway.post("/function/chatty", "hello").text(), "hello");
    wait_until("the line is in the log", || {
        let reply = gateway.get("/system/logs?name=chatty");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mut lines =
            reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>();
        lines
            .retain(|line| line["text"].as_str().unwrap().contains("this goes to the log") && line["name"] == "chatty");
        !lines.is_empty()
    });
}

#[test]
fn a_function_is_deployed_woken_scaled_read_changed_and_deleted_as_on_any_platform() {
    let program = life_cycle::program().display();
    let gateway = Gateway::with(&format!(
        "{LOCAL}[provider.local.command.function]\ncommand = [\"{program}\"]\nmode = \"http\"\n\
         allowed-env = [\"NAME\"]\ndeployed = false\nmax-replicas = 4\n"
    ));
    life_cycle::life_cycle(&gateway, "function", "life");
    wait_until("no process is left", || gateway.descendants().iter().all(|(_, line)| !line.contains("it-function")));
}
