//! Two functions whose instances want one port: each gets it when the other gave it up, and what is sent to the one
//! must never reach the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{DEADLINE, Gateway, wait_until};

/// How often the port changes hands in each part.
const TURNS: usize = 4;

/// Both functions, called through a gateway.
pub struct Contest<'a> {
    pub gateway: &'a Gateway,
    /// Their names, with which their answers begin.
    pub names: [&'a str; 2],
    /// What stands behind a name in a path, e.g. `.default`.
    pub namespace: &'a str,
    /// The port of 127.0.0.1 that both want.
    pub port: u16,
    /// Asks the platform itself, past the gateway, for so many instances.
    pub ask_for: &'a (dyn Fn(&str, u64) + Sync),
}

/// Ends what other threads do when the test ends, however it does.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Contest<'_> {
    /// Lets the port change hands while both are called, and while nobody is.
    pub fn run(&self) {
        self.under_load();
        self.one_by_one();
    }

    /// Both are called all the time, so both want an instance, and whoever has the port loses it again and again.
    fn under_load(&self) {
        let (is_over, answers) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            for (name, answers) in self.names.iter().zip(&answers) {
                for _ in 0..2 {
                    let is_over = &is_over;
                    scope.spawn(move || {
                        while !is_over.load(Ordering::Relaxed) {
                            answers.fetch_add(u64::from(self.send(name)), Ordering::Relaxed);
                        }
                    });
                }
            }
            for turn in 0..TURNS {
                let before = answers[turn % 2].load(Ordering::Relaxed);
                // The other one is called too, and comes back as soon as the port is free.
                wait_until("it gets the port and answers", || {
                    let loses = self.names[(turn + 1) % 2];
                    if self.holder() == Some(loses) {
                        (self.ask_for)(loses, 0);
                    }
                    answers[turn % 2].load(Ordering::Relaxed) > before + 10
                });
            }
            drop(over);
        });
    }

    /// Nobody calls while the port changes hands, so nobody meets a connection that is refused: the first request
    /// after it is for the one that lost the port.
    fn one_by_one(&self) {
        for turn in 0..TURNS {
            let (has, gets) = (self.names[turn % 2], self.names[(turn + 1) % 2]);
            (self.ask_for)(gets, 0);
            wait_until("it answers", || self.send(has));
            (self.ask_for)(has, 0);
            (self.ask_for)(gets, 1);
            wait_until("the other one has the port", || self.holder() == Some(gets));
            assert!(!self.send(has), "{has} has no instance, and its answer came from somewhere");
            wait_until("the one that has the port answers", || self.send(gets));
        }
    }

    /// Sends a function what is only for it. Anything but the function's own answer fails the test; that there is
    /// none, or half of one, is in the nature of a port that both want.
    fn send(&self, name: &str) -> bool {
        let mut connection = self.gateway.connect();
        let target = format!("/function/{name}{}/for-{name}", self.namespace);
        connection.begin("POST", &target, &[], name.as_bytes());
        let Some(reply) = connection.reply_if_any("POST") else { return false };
        let is_answered = reply.status == 200 && reply.is_complete;
        assert!(!is_answered || reply.text().starts_with(name), "{name}: {}", reply.text());
        is_answered
    }

    /// Who answers at the port, past the gateway. What accepts connections may still be the platform's own proxy.
    fn holder(&self) -> Option<&str> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /who HTTP/1.1\r\n\r\n").ok()?;
        let mut text = String::new();
        let mut answer = BufReader::new(stream);
        while !text.ends_with("\r\n\r\n") {
            (answer.read_line(&mut text).ok()? > 0).then_some(())?;
        }
        let mut name = Vec::new();
        answer.read_until(b' ', &mut name).ok()?;
        self.names.into_iter().find(|known| name.starts_with(known.as_bytes()))
    }
}

/// Those of some lines that speak of requests which were for another function than `name`.
pub fn strange<'a>(lines: impl IntoIterator<Item = &'a str>, name: &str) -> Vec<String> {
    let is_strange = |line: &&str| line.contains("for-") && !line.contains(&format!("for-{name}"));
    lines.into_iter().filter(is_strange).map(str::to_owned).collect()
}
