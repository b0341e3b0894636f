//! Functions of the local provider that are a command for each request: their bounds, and how they fail.

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::harness::{Gateway, GatewayBuilder, LOCAL, wait_until};

/// `hold` and `stream` end when somebody writes into the pipe `gate`.
const FORKS: &str = r#"
[provider.local.command.hold]
command = ["cat", "{folder}/gate"]
concurrency = 1
queue = 1
[provider.local.command.slow]
command = ["cat", "{folder}/gate"]
request-timeout = "100ms"
[provider.local.command.stream]
command = ["sh", "-c", "echo begun; cat {folder}/gate; exit 3"]
[provider.local.command.upload]
command = ["sh", "-c", "cat > {folder}/part && echo whole > {folder}/whole"]
"#;

fn start() -> Gateway {
    let builder = GatewayBuilder::new(&format!("{LOCAL}{FORKS}"));
    let made = std::process::Command::new("mkfifo").arg(builder.folder().join("gate")).status().unwrap();
    assert!(made.success());
    builder.start()
}

/// Lets whoever reads the pipe go on; waits until somebody does.
fn open_the_gate(gateway: &Gateway) {
    let mut gate = OpenOptions::new().write(true).open(gateway.folder().join("gate")).unwrap();
    gate.write_all(b"done").unwrap();
}

fn runs(gateway: &Gateway, part: &str) -> bool {
    gateway.descendants().iter().any(|(_, line)| line.contains(part) && !line.contains("watchdog"))
}

#[test]
fn requests_beyond_the_running_and_the_waiting_get_503() {
    let gateway = start();
    let mut running = gateway.connect();
    running.begin("GET", "/function/hold", &[], b"");
    wait_until("the command runs", || runs(&gateway, "/gate"));
    // One of these two waits, the other is one too many; which is which is not for us to say.
    let mut others = [gateway.connect(), gateway.connect()];
    let replies: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            others.iter_mut().map(|other| scope.spawn(|| other.send("GET", "/function/hold", &[], b""))).collect();
        wait_until("one of them is answered", || asked.iter().any(|asked| asked.is_finished()));
        open_the_gate(&gateway);
        assert_eq!(running.reply("GET").text(), "done");
        open_the_gate(&gateway);
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert_eq!(refused.len(), 1, "{replies:?}");
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    assert_eq!(refused[0].header("x-wicketgate-error"), None, "the function says so, not the gateway");
    assert!(replies.iter().any(|reply| reply.status == 200 && reply.text() == "done"), "{replies:?}");
}

#[test]
fn a_command_that_takes_too_long_is_killed_and_answered_with_504() {
    let gateway = start();
    let reply = gateway.get("/function/slow");
    assert_eq!((reply.status, reply.header("x-wicketgate-error")), (504, None), "{}", reply.text());
    assert!(reply.text().contains("100 ms"), "{}", reply.text());
    wait_until("it is gone", || !runs(&gateway, "/gate"));
}

#[test]
fn an_answer_that_began_and_then_failed_does_not_look_complete() {
    let gateway = start();
    let mut client = gateway.connect();
    client.begin("GET", "/function/stream", &[], b"");
    assert_eq!(client.chunk_after_head(), b"begun\n");
    open_the_gate(&gateway);
    let mut rest = Vec::new();
    while let Some(chunk) = client.chunk() {
        assert!(!chunk.is_empty(), "the last chunk came, as if all had been said");
        rest.extend(chunk);
    }
    assert!(b"done".starts_with(&rest), "{rest:?}");
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    let gateway = start();
    let part = gateway.folder().join("part");
    for _ in 0..10 {
        let mut client = gateway.connect();
        client.begin("POST", "/function/upload", &[("content-length", "1000")], b"some");
        wait_until("the command has the first bytes", || std::fs::read(&part).is_ok_and(|read| read == b"some"));
        drop(client);
        wait_until("the command is gone", || !runs(&gateway, "/part"));
        assert!(!gateway.folder().join("whole").exists());
        std::fs::remove_file(&part).unwrap();
    }
    assert_eq!(gateway.post("/function/upload", "all of it").status, 200);
    assert!(gateway.folder().join("whole").exists());
}
