//! One request: the body on the command's standard input, the answer from its output.
//!
//! The status comes from the exit code, which is known only at the end. So the output is gathered until the
//! command ends, or it is long, or the command goes on printing: then the answer begins with 200 and streams,
//! and a command that fails after that breaks the connection instead of pretending that all was said.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::answer::{Answer, Broken};
use crate::host::processes::launch::Launch;
use crate::watchdog::{pass_on, shim, sweep};

/// How much output is gathered before the answer begins, in bytes.
const GATHERED_BYTES: usize = 64 << 10;

/// How long after its first output a command may go on before the answer begins.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// How much is read from a command at a time, in bytes.
const READ_BYTES: usize = 16 << 10;

/// How many pieces of output may wait for the client.
const PIECES: usize = 4;

/// Runs the command for one request. `turn` is given back when the command ended.
pub(super) async fn once(launch: &Launch, request: Request<Incoming>, turn: OwnedSemaphorePermit) -> Response<Answer> {
    let deadline = Instant::now() + Duration::from_millis(launch.request_timeout_ms);
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let mut run = match Run::start(launch, &parts, body) {
        Ok(run) => run,
        Err(message) => return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{message}\n")),
    };
    let mut gathered = BytesMut::new();
    let gathering = tokio::time::timeout_at(deadline, gather(&mut run.output, &mut gathered));
    let has_ended = tokio::select! {
        gathered = gathering => match gathered {
            Ok(has_ended) => has_ended,
            Err(_elapsed) => return too_late(launch),
        },
        () = run.cut.notified() => return Answer::text(StatusCode::BAD_REQUEST, "the request's body broke off\n"),
    };
    if !has_ended {
        let (pieces, rest) = mpsc::channel(PIECES);
        let mut response = Response::new(Answer::begun(gathered.freeze(), rest));
        set_type(&mut response, launch);
        tokio::spawn(stream(run, deadline, pieces, turn));
        return response;
    }
    let waiting = tokio::time::timeout_at(deadline, run.child.wait());
    let ended = tokio::select! {
        ended = waiting => match ended {
            Ok(ended) => ended,
            Err(_elapsed) => return too_late(launch),
        },
        () = run.cut.notified() => return Answer::text(StatusCode::BAD_REQUEST, "the request's body broke off\n"),
    };
    run.ended = true;
    drop(turn);
    let failure = match ended {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("the function's command ended with {status}\n")),
        Err(error) => Some(format!("the function's command cannot be waited for: {error}\n")),
    };
    let mut response = match failure {
        Some(sentence) if gathered.is_empty() => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &sentence),
        failed => {
            let mut response = Response::new(Answer::whole(gathered.freeze()));
            set_type(&mut response, launch);
            if failed.is_some() {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    };
    if let Ok(seconds) = HeaderValue::from_str(&format!("{:.6}", begun.elapsed().as_secs_f64())) {
        response.headers_mut().insert("x-duration-seconds", seconds);
    }
    response
}

fn too_late(launch: &Launch) -> Response<Answer> {
    let limit = launch.request_timeout_ms;
    Answer::text(StatusCode::GATEWAY_TIMEOUT, &format!("the function's command did not end within {limit} ms\n"))
}

fn set_type(response: &mut Response<Answer>, launch: &Launch) {
    if let Ok(value) = HeaderValue::from_str(&launch.content_type) {
        response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
}

/// Reads until the output ends (true) or the answer had better begin (false).
async fn gather(output: &mut ChildStdout, gathered: &mut BytesMut) -> bool {
    let mut begin_by = None;
    while gathered.len() < GATHERED_BYTES {
        gathered.reserve(READ_BYTES);
        let read = output.read_buf(gathered);
        let read = match begin_by {
            None => read.await,
            Some(at) => match tokio::time::timeout_at(at, read).await {
                Ok(read) => read,
                Err(_goes_on) => return false,
            },
        };
        match read {
            Ok(0) | Err(_) => return true,
            Ok(_bytes) => {
                begin_by.get_or_insert_with(|| Instant::now() + GATHERED_FOR);
            }
        }
    }
    false
}

/// Sends the rest of the output. A client that is gone ends the command.
async fn stream(
    mut run: Run,
    deadline: Instant,
    pieces: mpsc::Sender<Result<Bytes, Broken>>,
    turn: OwnedSemaphorePermit,
) {
    let all = async {
        loop {
            let mut piece = BytesMut::with_capacity(READ_BYTES);
            let read = tokio::select! {
                read = run.output.read_buf(&mut piece) => read,
                () = pieces.closed() => return Ok(()),
                () = run.cut.notified() => return Err("the request's body broke off".to_owned()),
            };
            match read {
                Ok(0) | Err(_) => break,
                Ok(_bytes) => {
                    if pieces.send(Ok(piece.freeze())).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        let ended = run.child.wait().await;
        run.ended = true;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the function's command ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    };
    let outcome =
        tokio::time::timeout_at(deadline, all).await.unwrap_or_else(|_elapsed| Err("request-timeout".to_owned()));
    if let Err(reason) = outcome {
        let _gone = pieces.send(Err(Broken(reason))).await;
    }
    drop(turn);
}

/// A command that runs for a request. Dropped before its end, it is killed with all of its group.
struct Run {
    child: Child,
    output: ChildStdout,
    ended: bool,
    feeding: tokio::task::AbortHandle,
    /// Rings when the request's body broke off.
    cut: Arc<Notify>,
    _own: sweep::Own,
}

impl Run {
    fn start(launch: &Launch, request: &Parts, body: Incoming) -> Result<Self, String> {
        let mut command = shim::command(launch)?;
        command.envs(variables(request));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the function's command was not started: {error}"))?;
        let own = sweep::Own::new(&child);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err("the function's command has no pipes".to_owned());
        };
        tokio::spawn(pass_on("err", errors));
        let cut = Arc::new(Notify::new());
        let feeding = tokio::spawn(feed(body, input, Arc::clone(&cut))).abort_handle();
        Ok(Self { child, output, ended: false, feeding, cut, _own: own })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let (false, Some(group)) = (self.ended, group) {
            let _already_gone = kill_process_group(group, Signal::KILL);
        }
        // Last: it closes the command's input, which a command that lives takes for the end of a whole body.
        self.feeding.abort();
    }
}

/// A command need not read its input: a closed pipe is no failure. A body that breaks off is never closed
/// towards the command, which would take a part for the whole: `cut` rings, and the command is killed.
async fn feed(mut body: Incoming, mut input: ChildStdin, cut: Arc<Notify>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            cut.notify_one();
            return std::future::pending().await;
        };
        if let Ok(bytes) = frame.into_data()
            && input.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
    let _closed = input.shutdown().await;
}

/// What the command is told of its request: `Http_Method`, `Http_Path`, `Http_Query`, `Http_Host` and a variable
/// for each field, `Http_Content_Type` for `content-type`. The names are those of OpenFaaS's watchdogs.
fn variables(request: &Parts) -> Vec<(String, String)> {
    let mut variables = Vec::with_capacity(request.headers.keys_len() + 3);
    for name in request.headers.keys() {
        let values: Vec<&str> = request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        if !values.is_empty() {
            variables.push((variable(name.as_str()), values.join(", ")));
        }
    }
    // Last, since the last one counts: a field named `path` does not change the path.
    variables.extend([
        ("Http_Method".to_owned(), request.method.to_string()),
        ("Http_Path".to_owned(), request.uri.path().to_owned()),
        ("Http_Query".to_owned(), request.uri.query().unwrap_or_default().to_owned()),
    ]);
    variables
}

/// `content-type` as `Http_Content_Type`. The prefix keeps a field from setting anything else, such as `PATH`.
fn variable(field: &str) -> String {
    let mut name = String::from("Http");
    for word in field.split('-') {
        let mut letters = word.chars();
        name.push('_');
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_variables_with_the_prefix() {
        assert_eq!(variable("content-type"), "Http_Content_Type");
        assert_eq!(variable("x-call-id"), "Http_X_Call_Id");
        assert_eq!(variable("path"), "Http_Path");
        assert_eq!(variable("x~y"), "Http_X_y");
    }

    #[test]
    fn a_request_is_told_in_variables() {
        let request =
            Request::post("/a/b?c=d").header("path", "z").header("accept", "x").header("accept", "y").body(()).unwrap();
        let variables = variables(&request.into_parts().0);
        assert_eq!(variables.iter().rfind(|(name, _value)| name == "Http_Path").unwrap().1, "/a/b");
        for expected in [("Http_Method", "POST"), ("Http_Path", "/a/b"), ("Http_Query", "c=d"), ("Http_Accept", "x, y")]
        {
            assert!(variables.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{variables:?}");
        }
    }
}
