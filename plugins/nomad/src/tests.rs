//! What is asked of a real agent's recording, and what becomes of its answers.

use wicketgate_sdk::http::Request;
use wicketgate_sdk::testing::{Answer, play_platform, take_requests};

use crate::Nomad;
use replay::{Asked, Script};

mod counts;
mod deploying;
mod endpoints;
mod logs;
#[expect(dead_code, reason = "other suites use other ways of editing a recording")]
#[path = "../../../tests/recordings/replay.rs"]
mod replay;
mod watch;

/// Plays a recording from now on. A request that is not in it fails the test.
fn play(script: Script) {
    let mut script = script.asked_by_guest();
    play_platform(move |request: &Request| {
        let target = request.url.strip_prefix("http://nomad").expect("the grant's name");
        let asked =
            Asked { method: request.method, target, headers: request.headers.clone(), body: request.body.as_slice() };
        let answered = script.answer(&asked).unwrap_or_else(|unexpected| panic!("{unexpected}"));
        let mut answer = Answer::new(answered.status, answered.pieces.concat());
        answer.headers = answered.headers;
        Ok(answer)
    });
}

/// The recordings leave the namespace out where it is the default one; the plugin names it, which is the same to
/// Nomad.
fn recording(name: &str) -> Script {
    let namespaced = ["/v1/job", "/v1/alloc", "/v1/event/", "/v1/client/", "/v1/deployment"];
    Script::of(&format!("nomad-1.1/{name}")).with_query_below(&namespaced, "namespace", "default")
}

/// The job `echo` as it is at count 0, with one group and a deployment policy.
fn job() -> Script {
    recording("scale-zero-to-three-to-zero").only(&["job"])
}

/// No deployment was ever made of it.
fn no_deployment() -> Script {
    recording("unknown-job").only(&["deployment"]).elsewhere("/nope/", "/echo/")
}

fn nomad() -> Nomad {
    wicketgate_sdk::Provider::open().unwrap()
}

fn always(status: u16, body: &str) {
    let answer = Answer::new(status, body);
    play_platform(move |_| Ok(answer.clone()));
}

fn sent() -> usize {
    take_requests().len()
}
