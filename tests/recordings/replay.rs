//! Recorded exchanges of a real server as a script that answers only what it was asked before.
//!
//! A request is *recorded* if one of the script has the same method, path, query parameters, `accept`,
//! `content-type`, credentials and body (JSON as values, anything else as bytes), and if it carries no
//! other header field than a client has to send. Everything else is a failure, told with what differs.
//!
//! Writes come in the recorded order, and time goes on with them: a read gets the next answer that was
//! recorded for it between the last write and the next one, then that one again; where there is none,
//! the newest from before the last write.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Fields that say nothing about what was asked: connections, lengths and who asks.
const FREE_FIELDS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "user-agent", "accept-encoding"];

/// Fields that are compared as they are.
const COMPARED_FIELDS: [&str; 2] = ["accept", "content-type"];

/// Fields that carry credentials, and how a recorded `<kind name>` is written on the wire.
const CREDENTIALS: [(&str, &str, &str); 2] =
    [("authorization", "<bearer ", "Bearer "), ("x-nomad-token", "<token ", "")];

/// What came.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Path and query, as they were sent.
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body in its pieces; one, unless it was a stream.
    pub(crate) pieces: Vec<String>,
    pub(crate) is_stream: bool,
}

/// One exchange.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    name: String,
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Value,
    answer: Answered,
}

impl Exchange {
    fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Whether it is a stream of changes since a version.
    fn version(&self) -> Option<&str> {
        let version = self.query.get("resourceVersion")?;
        (self.answer.is_stream && self.query.contains_key("watch")).then_some(version)
    }
}

/// The script.
pub(crate) struct Script {
    exchanges: Vec<Exchange>,
    /// How many of the exchanges the last write left behind.
    written: usize,
    /// The newest answer that each read got.
    read: BTreeMap<String, usize>,
    /// Whether the requests come from a guest itself, which has no credentials and must send none.
    from_guest: bool,
}

impl Script {
    /// The scenario `platform/name`.
    pub(crate) fn of(scenario: &str) -> Self {
        // The package is the workspace's root, or a plugin two folders below it.
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|root| root.join("tests/recordings").is_dir());
        let path =
            root.unwrap_or_else(|| panic!("no tests/recordings")).join(format!("tests/recordings/{scenario}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let whole: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let exchanges = whole["exchanges"].as_array().into_iter().flatten().map(parse).collect();
        Self { exchanges, written: 0, read: BTreeMap::new(), from_guest: false }
    }

    /// Only the exchanges of these names, in the recorded order.
    pub(crate) fn only(mut self, names: &[&str]) -> Self {
        for name in names {
            assert!(self.exchanges.iter().any(|exchange| exchange.name == *name), "no exchange {name:?}");
        }
        self.exchanges.retain(|exchange| names.contains(&exchange.name.as_str()));
        self
    }

    /// Another scenario after this one.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.exchanges.extend(other.exchanges);
        self
    }

    /// Expects no credentials.
    pub(crate) fn asked_by_guest(mut self) -> Self {
        self.from_guest = true;
        self
    }

    /// The same answer to a request with another query parameter: the recording asked without it, or
    /// with another value.
    pub(crate) fn with_query(mut self, name: &str, key: &str, value: &str) -> Self {
        self.exchange(name).query.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same answers to requests that say what the recording left out: a query parameter where the
    /// path begins so and no such parameter was recorded.
    pub(crate) fn with_query_below(mut self, paths: &[&str], key: &str, value: &str) -> Self {
        for exchange in &mut self.exchanges {
            if paths.iter().any(|path| exchange.path.starts_with(path)) {
                exchange.query.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        self
    }

    /// The same answer to a request with another body.
    pub(crate) fn with_body(mut self, name: &str, body: Value) -> Self {
        self.exchange(name).body = body;
        self
    }

    /// The same answer to a request with another field.
    pub(crate) fn with_header(mut self, name: &str, key: &str, value: &str) -> Self {
        self.exchange(name).headers.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same answer to a request without a query parameter that was recorded.
    pub(crate) fn without_query(mut self, name: &str, key: &str) -> Self {
        assert!(self.exchange(name).query.remove(key).is_some(), "{name} has no {key}");
        self
    }

    /// The same answer to another method on the same path.
    pub(crate) fn with_method(mut self, name: &str, method: &str) -> Self {
        method.clone_into(&mut self.exchange(name).method);
        self
    }

    /// The same answer to a read of another path, which has no body.
    pub(crate) fn turned_into_read(mut self, name: &str, path: &str) -> Self {
        let exchange = self.exchange(name);
        "GET".clone_into(&mut exchange.method);
        path.clone_into(&mut exchange.path);
        exchange.body = Value::Null;
        exchange.headers.remove("content-type");
        self
    }

    /// The same answers to requests for another object.
    pub(crate) fn elsewhere(mut self, old: &str, new: &str) -> Self {
        for exchange in &mut self.exchanges {
            exchange.path = exchange.path.replace(old, new);
        }
        self
    }

    /// Replaces a text in all answers, e.g. addresses that are not to be dialled.
    pub(crate) fn with_text(mut self, old: &str, new: &str) -> Self {
        for piece in self.exchanges.iter_mut().flat_map(|exchange| &mut exchange.answer.pieces) {
            *piece = piece.replace(old, new);
        }
        self
    }

    fn exchange(&mut self, name: &str) -> &mut Exchange {
        let mut found = self.exchanges.iter_mut().filter(|exchange| exchange.name == name);
        let (Some(exchange), None) = (found.next(), found.next()) else { panic!("not one exchange is {name:?}") };
        exchange
    }

    /// The recorded answer.
    ///
    /// # Errors
    /// What was not recorded, with what differs from the exchange that comes nearest.
    pub(crate) fn answer(&mut self, asked: &Asked<'_>) -> Result<Answered, String> {
        let asked = self.read(asked)?;
        let next = (self.written..self.exchanges.len()).find(|index| self.exchanges[*index].is_write());
        if asked.is_write() {
            let expected = next.map(|index| &self.exchanges[index]);
            let Some(exchange) = expected.filter(|exchange| self.differs(exchange, &asked).is_empty()) else {
                return Err(self.unexpected(&asked, expected.into_iter()));
            };
            let answer = exchange.answer.clone();
            self.written = next.map_or(self.written, |index| index + 1);
            return Ok(answer);
        }
        let key = format!("{} {:?} {:?}", asked.path, asked.query, asked.headers);
        let same = |index: &usize| self.differs(&self.exchanges[*index], &asked).is_empty();
        let last = self.read.get(&key).copied();
        let end = next.unwrap_or(self.exchanges.len());
        let begin = last.map_or(self.written, |last| self.written.max(last + 1));
        let found = (begin..end)
            .find(same)
            .or_else(|| last.filter(|last| *last >= self.written))
            .or_else(|| (0..self.written).rev().find(same));
        if let Some(index) = found {
            self.read.insert(key, index);
            return Ok(self.exchanges[index].answer.clone());
        }
        self.resumed(&asked).ok_or_else(|| self.unexpected(&asked, self.exchanges.iter()))
    }

    /// A stream that goes on from a version which a recorded stream of the same kind passed: its rest.
    fn resumed(&self, asked: &Exchange) -> Option<Answered> {
        let version = asked.query.get("resourceVersion")?;
        self.exchanges.iter().find_map(|exchange| {
            let mut same = asked.clone();
            same.query.insert("resourceVersion".to_owned(), exchange.version()?.to_owned());
            if !self.differs(exchange, &same).is_empty() {
                return None;
            }
            let passed = |piece: &String| {
                let event: Value = serde_json::from_str(piece).unwrap_or_default();
                event["object"]["metadata"]["resourceVersion"] == version.as_str()
            };
            let last = exchange.answer.pieces.iter().rposition(passed)?;
            let mut rest = exchange.answer.clone();
            rest.pieces.drain(..=last);
            Some(rest)
        })
    }

    fn differs(&self, recorded: &Exchange, asked: &Exchange) -> Vec<String> {
        difference(recorded, asked, self.from_guest)
    }

    /// Tells of a request that is not in the script.
    fn unexpected<'a>(&self, asked: &Exchange, script: impl Iterator<Item = &'a Exchange>) -> String {
        let title = format!("not recorded: {} {} {:?}", asked.method, asked.path, asked.query);
        let nearest = script.map(|one| (self.differs(one, asked), one)).min_by_key(|(lines, _)| lines.len());
        match nearest {
            Some((lines, one)) => format!("{title}\nnearest is {:?}, but\n{}", one.name, lines.join("\n")),
            None => format!("{title}\nno such request is left in the script"),
        }
    }

    /// What came, in the form of a recording.
    fn read(&self, asked: &Asked<'_>) -> Result<Exchange, String> {
        let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
        let mut headers = BTreeMap::new();
        for (name, value) in &asked.headers {
            let name = name.to_ascii_lowercase();
            let credential = CREDENTIALS.iter().find(|(field, _, _)| *field == name);
            if let Some((_, kind, prefix)) = credential {
                let token = value.strip_prefix(prefix).unwrap_or(value);
                headers.insert(name, format!("{kind}{token}>"));
            } else if COMPARED_FIELDS.contains(&name.as_str()) {
                headers.insert(name, value.clone());
            } else if !FREE_FIELDS.contains(&name.as_str()) {
                return Err(format!("{} {}: the field {name}: {value:?} is not expected", asked.method, asked.target));
            }
        }
        if self.from_guest && CREDENTIALS.iter().any(|(field, _, _)| headers.contains_key(*field)) {
            return Err(format!("{} {}: a guest sends credentials", asked.method, asked.target));
        }
        Ok(Exchange {
            name: "what came".to_owned(),
            method: asked.method.to_owned(),
            path: path.to_owned(),
            query: parse_query(query)?,
            headers,
            body: parse_body(asked.body),
            answer: Answered { status: 0, headers: Vec::new(), pieces: Vec::new(), is_stream: false },
        })
    }
}

/// What makes two requests differ: a line for each thing.
fn difference(recorded: &Exchange, asked: &Exchange, from_guest: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, recorded: &str, asked: &str| {
        if recorded != asked {
            lines.push(format!("  {what}\n    recorded: {recorded}\n    came:     {asked}"));
        }
    };
    compare("method", &recorded.method, &asked.method);
    compare("path", &recorded.path, &asked.path);
    compare("query", &format!("{:?}", recorded.query), &format!("{:?}", asked.query));
    let of = |exchange: &Exchange| {
        let mut headers = exchange.headers.clone();
        // The host adds them, behind the guest's back.
        headers.retain(|name, _| !(from_guest && CREDENTIALS.iter().any(|(field, _, _)| field == name)));
        format!("{headers:?}")
    };
    compare("headers", &of(recorded), &of(asked));
    compare("body", &recorded.body.to_string(), &asked.body.to_string());
    lines
}

fn parse(exchange: &Value) -> Exchange {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (request, response) = (&exchange["request"], &exchange["response"]);
    let target = text(&request["path"]);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let fields = |headers: &Value| -> BTreeMap<String, String> {
        headers.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    let mut headers = fields(&request["headers"]);
    headers.retain(|name, _| !FREE_FIELDS.contains(&name.as_str()));
    // The length may be that of an answer which was edited since; who replays it says its own.
    let mut answered = fields(&response["headers"]);
    answered.retain(|name, _| !FREE_FIELDS.contains(&name.as_str()));
    let chunks = response["chunks"].as_array();
    let pieces = match chunks {
        Some(chunks) => chunks.iter().map(|chunk| text(&chunk["data"])).collect(),
        None => vec![text(&response["body"])],
    };
    Exchange {
        name: text(&exchange["name"]),
        method: text(&request["method"]),
        path: path.to_owned(),
        query: parse_query(query).unwrap_or_else(|error| panic!("{error}")),
        headers,
        body: request.get("body").cloned().unwrap_or(Value::Null),
        answer: Answered {
            status: response["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0),
            headers: answered.into_iter().collect(),
            pieces,
            is_stream: chunks.is_some(),
        },
    }
}

/// The parameters of a query, decoded; each name once, or its values joined.
fn parse_query(query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        parameters.entry(name).and_modify(|known| *known = format!("{known} and {value}")).or_insert(value);
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' {
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let digits = String::from_utf8_lossy(&digits).into_owned();
            u8::from_str_radix(&digits, 16).map_err(|error| format!("{text:?}: %{digits}: {error}"))?
        } else {
            byte
        });
    }
    String::from_utf8(plain).map_err(|error| format!("{text:?}: {error}"))
}

/// A body as a recording holds it: JSON, else the text; nothing for an empty one.
fn parse_body(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}
