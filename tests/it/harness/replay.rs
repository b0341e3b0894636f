//! A server on loopback that answers what a real one was recorded to answer, and nothing else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::DEADLINE;

#[expect(dead_code, reason = "other suites use other ways of editing a recording")]
#[path = "../../recordings/replay.rs"]
mod script;

pub(crate) use script::Script;
use script::{Answered, Asked};

/// A running replay. Dropping it ends it, and fails the test if anything unrecorded was asked.
pub struct Replay {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    /// What was asked: `METHOD path?query`.
    asked: Mutex<Vec<String>>,
    unrecorded: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Replay {
    /// Plays a script on a free port.
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            asked: Mutex::default(),
            unrecorded: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many requests so far have this beginning: `GET /path`.
    pub fn count(&self, beginning: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(beginning)).count()
    }

    /// Fails if anything unrecorded was asked so far.
    pub fn check(&self) {
        let unrecorded = self.shared.unrecorded.lock().unwrap();
        assert!(unrecorded.is_empty(), "{}", unrecorded.join("\n\n"));
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the listener up; it may have gone already.
        drop(TcpStream::connect(&self.address));
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// Answers the requests of a connection, until it ends or something goes wrong with it.
fn serve(stream: TcpStream, shared: &Shared) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((method, target, headers, body)) = request(&mut reader) {
        let asked = Asked { method: &method, target: &target, headers, body: &body };
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        shared.asked.lock().unwrap().push(format!("{method} {target}"));
        let answer = shared.script.lock().unwrap().answer(&asked);
        let is_stream = answer.as_ref().is_ok_and(|answer| answer.is_stream && answer.status == 200);
        let bytes = match answer {
            Ok(answer) => written(&answer),
            Err(difference) => {
                shared.unrecorded.lock().unwrap().push(difference);
                b"HTTP/1.1 418 Unrecorded\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
        };
        if reader.get_mut().write_all(&bytes).is_err() {
            return;
        }
        if is_stream {
            // A stream stays open until its reader leaves; nothing more happens in it.
            drop(reader.read(&mut [0]));
            return;
        }
    }
}

type Request = (String, String, Vec<(String, String)>, Vec<u8>);

fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    let mut next = || {
        line.clear();
        let count = reader.read_line(&mut line).ok()?;
        (count > 0).then(|| line.trim_end().to_owned())
    };
    let first = next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let line = next()?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    // The gateway's client says how long its bodies are.
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((method, target, headers, body))
}

/// An answer as it goes over the wire. A stream's last chunk is left out: it goes on.
fn written(answer: &Answered) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} Recorded\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.is_stream && answer.status == 200 {
        text.push_str("transfer-encoding: chunked\r\n\r\n");
        for piece in &answer.pieces {
            text.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
    } else {
        let body = answer.pieces.concat();
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    }
    text.into_bytes()
}
