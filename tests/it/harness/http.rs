//! A plain HTTP/1.1 client over a socket: it sends the bytes that a test wrote, and reads what comes
//! with a deadline. Small on purpose, so that nothing between a test and the gateway is helpful.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::DEADLINE;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body ended as it was announced.
    pub is_complete: bool,
}

impl Reply {
    /// The first header field of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The code of an error that the gateway made; fails unless status and form are right.
    pub fn code(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let error = &self.json()["error"];
        let code = error["code"].as_str().unwrap().to_owned();
        assert_eq!(self.header("x-wicketgate-error"), Some(code.as_str()), "{:?}", self.headers);
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 5), "{error}");
        assert!(error["call_id"].as_str().is_some_and(|id| !id.is_empty()), "{error}");
        code
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    /// To `host:port`.
    pub fn tcp(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// To a Unix socket.
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("connect to {}: {error}", path.display()));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends a request and reads its answer. `Host` and `Content-Length` are added unless given.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.begin(method, target, headers, body);
        self.reply(method)
    }

    /// Reads an answer, or nothing if the connection ends before one begins.
    pub fn reply_if_any(&mut self, method: &str) -> Option<Reply> {
        let has_begun = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        has_begun.then(|| self.reply(method))
    }

    /// The status of an answer, or nothing if the connection ends before one.
    pub fn try_send(&mut self, method: &str, target: &str) -> Option<String> {
        self.begin(method, target, &[], b"");
        self.line()
    }

    /// Sends a request.
    pub fn begin(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !has("host") {
            head.push_str("host: 127.0.0.1\r\n");
        }
        if !has("content-length")
            && !has("transfer-encoding")
            && (!body.is_empty() || !matches!(method, "GET" | "HEAD"))
        {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.write(&bytes);
    }

    /// Sends bytes as they are. A gateway that refused already may have closed the connection; its
    /// answer is still read.
    pub fn write(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_mut();
        drop(stream.write_all(bytes).and_then(|()| stream.flush()));
    }

    /// Reads an answer.
    pub fn reply(&mut self, method: &str) -> Reply {
        let (status, headers) = self.head();
        let mut reply = Reply { status, headers, body: Vec::new(), is_complete: true };
        let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        if bodiless {
            return reply;
        }
        if reply.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                match self.chunk() {
                    Some(chunk) if chunk.is_empty() => return reply,
                    Some(chunk) => reply.body.extend(chunk),
                    None => {
                        reply.is_complete = false;
                        return reply;
                    }
                }
            }
        }
        match reply.header("content-length").map(|length| length.parse::<u64>().unwrap()) {
            Some(length) => {
                let read = self.stream.by_ref().take(length).read_to_end(&mut reply.body);
                reply.is_complete = read.is_ok_and(|read| u64::try_from(read).unwrap() == length);
            }
            None => reply.is_complete = self.stream.read_to_end(&mut reply.body).is_ok(),
        }
        reply
    }

    /// Reads a status and header fields. Interim answers are passed over, but not 101.
    pub fn head(&mut self) -> (u16, Vec<(String, String)>) {
        loop {
            let line = self.line().expect("an answer");
            let status: u16 = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&line);
            let mut headers = Vec::new();
            loop {
                let line = self.line().expect("a header field");
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').expect(&line);
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status >= 200 || status == 101 {
                return (status, headers);
            }
        }
    }

    /// Reads a chunk; empty is the last. `None`: the connection ended before.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line()?.split(';').next().unwrap(), 16).ok()?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).ok()?;
        if size > 0 {
            self.line()?;
        } else {
            // Trailers.
            while !self.line()?.is_empty() {}
        }
        Some(chunk)
    }

    /// Reads the head of an answer with status 200 and the first chunk of its body.
    pub fn chunk_after_head(&mut self) -> Vec<u8> {
        assert_eq!(self.head().0, 200);
        self.chunk().expect("a chunk")
    }

    /// Reads exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the other side closed it.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let count = self.stream.read_until(b'\n', &mut line).ok()?;
        if count == 0 || !line.ends_with(b"\n") {
            return None;
        }
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
