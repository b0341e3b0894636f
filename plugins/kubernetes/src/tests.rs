//! What is asked of a real API server's recording, and what becomes of its answers.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::testing::{Answer, play_platform, set_config, take_requests};

use crate::Kubernetes;
use replay::{Asked, Script};

mod counts;
mod endpoints;
mod errors;
mod functions;
mod logs;
mod namespaces;
#[expect(dead_code, reason = "other suites use other ways of editing a recording")]
#[path = "../../../tests/recordings/replay.rs"]
mod replay;
mod secrets;
mod watch;

/// Plays a recording from now on. A request that is not in it fails the test.
fn play(script: Script) {
    let mut script = script.asked_by_guest();
    play_platform(move |request: &Request| {
        let target = request.url.strip_prefix("http://kubernetes").expect("the grant's name");
        let asked =
            Asked { method: request.method, target, headers: request.headers.clone(), body: request.body.as_slice() };
        let answered = script.answer(&asked).unwrap_or_else(|unexpected| panic!("{unexpected}"));
        let mut answer = Answer::new(answered.status, answered.pieces.concat());
        answer.headers = answered.headers;
        Ok(answer)
    });
}

fn recording(name: &str) -> Script {
    Script::of(&format!("kubernetes-1.36/{name}"))
}

/// The plugin as the recordings' own client was set up.
fn kubernetes() -> Kubernetes {
    set_config(r#"{ "field-manager": "gateway", "secret-label": "app.kubernetes.io/managed-by=gateway" }"#);
    wicketgate_sdk::Provider::open().unwrap()
}

/// Plays one answer to every request.
fn always(status: u16, body: &str) {
    let answer = Answer::new(status, body);
    play_platform(move |_| Ok(answer.clone()));
}

/// How many requests were sent since the last look.
fn sent() -> usize {
    take_requests().len()
}
