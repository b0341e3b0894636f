//! The independent platform of `tests/it/provider.py`, as a child process.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Connection, Output, Reply};

/// A running platform. Dropping it ends it.
pub struct Platform {
    child: Child,
    address: String,
}

/// One request that the platform got.
#[derive(Clone, Debug)]
pub struct Seen(Value);

impl Seen {
    /// A text field: `method`, `path`, `target`, `side`, `body`, `sha256`.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap()
    }

    /// When it came, in seconds since the Unix epoch.
    pub fn at(&self) -> f64 {
        self.0["at"].as_f64().unwrap()
    }

    /// When a scale request was carried out, in seconds since the Unix epoch; `None` while it is under way.
    pub fn done(&self) -> Option<f64> {
        self.0["done"].as_f64()
    }

    /// A number field: `number`, `peer` (the port that it came from), `writing` (scale requests of the
    /// function under way).
    pub fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap()
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.0["query"][name].as_str()
    }

    /// The first header field of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0["headers"].as_array().unwrap().iter().find(|pair| pair[0] == name)?[1].as_str()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text("body")).unwrap()
    }

    /// `GET /path`, for comparisons.
    pub fn line(&self) -> String {
        format!("{} {}", self.text("method"), self.text("path"))
    }
}

impl Platform {
    /// One that lets everybody in.
    pub fn start() -> Self {
        Self::spawn(&[])
    }

    /// One that wants basic credentials.
    pub fn with_credentials(user: &str, password: &str) -> Self {
        Self::spawn(&["--user", user, "--password", password])
    }

    /// One on a port that something else was told of.
    pub fn on_port(port: &str) -> Self {
        Self::spawn(&["--port", port])
    }

    fn spawn(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/provider.py");
        let mut child = Command::new("python3")
            .arg("-u")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs the platform of the tests; `cargo xtask test` installs it");
        let output = Output::default();
        output.drain(child.stdout.take().unwrap());
        let address = output.wait_for("provider on http://").expect("the platform says where it listens");
        Self { child, address }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn control(&self, method: &str, target: &str, body: &Value) -> Reply {
        let reply = Connection::tcp(&self.address).send(method, target, &[], body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{method} {target}: {}", reply.text());
        reply
    }

    /// Puts a function into its table; see `Function` in the script.
    pub fn function(&self, fields: Value) {
        self.control("PUT", "/_function", &fields);
    }

    /// Adds a line to the log of every function.
    pub fn line(&self, text: &str) {
        self.control(
            "POST",
            "/_line",
            &json!({ "name": "figlet", "namespace": "openfaas-fn", "instance": "i-2", "text": text }),
        );
    }

    /// Lets it answer other than usual; see `Rule` in the script.
    pub fn rule(&self, fields: Value) {
        self.control("POST", "/_rule", &fields);
    }

    /// Usual answers again.
    pub fn no_rules(&self) {
        self.control("DELETE", "/_rule", &json!({}));
    }

    /// Lets everything go on that hangs.
    pub fn release(&self) {
        self.control("POST", "/_release", &json!({}));
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Seen> {
        Self::read(&self.control("GET", "/_log", &json!({})))
    }

    /// The same, once `count` requests of a method and a path (a regular expression) came.
    pub fn wait_for(&self, count: usize, method: &str, path: &str) -> Vec<Seen> {
        let target = format!("/_wait?timeout=30&count={count}&method={method}&path={path}");
        Self::read(&self.control("GET", &target, &json!({})))
    }

    /// How many requests of a method and a beginning of a path came.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.log().iter().filter(|seen| seen.text("method") == method && seen.text("path").starts_with(path)).count()
    }

    fn read(reply: &Reply) -> Vec<Seen> {
        match reply.json() {
            Value::Array(entries) => entries.into_iter().map(Seen).collect(),
            other => panic!("a log is a list, not {other}"),
        }
    }

    /// Ends it, so that its port refuses.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The platform alone, so that a failure of the suite is not its own.
#[test]
fn the_platform_scales_records_and_hangs_as_it_is_told() {
    let platform = Platform::with_credentials("admin", "secret");
    platform.function(json!({ "name": "figlet", "ready_after_polls": 1 }));
    let authorized = [("authorization", "Basic YWRtaW46c2VjcmV0")];
    let mut connection = Connection::tcp(platform.address());
    let mut send =
        |method: &str, target: &str, body: &str| connection.send(method, target, &authorized, body.as_bytes());
    assert_eq!(send("GET", "/function/figlet", "").status, 503);
    assert_eq!(send("GET", "/system/function/figlet", "").json().get("replicas"), None);
    assert_eq!(send("POST", "/system/scale-function/figlet", r#"{"replicas":2}"#).status, 202);
    let ready: Vec<_> =
        (0..3).map(|_| send("GET", "/system/function/figlet", "").json()["availableReplicas"].as_u64()).collect();
    assert_eq!(ready, [None, Some(2), Some(2)]);
    assert_eq!(send("POST", "/function/figlet/a?b=c", "hello").json()["body"], "hello");
    assert_eq!(Connection::tcp(platform.address()).send("GET", "/system/functions", &[], b"").status, 401);
    platform.rule(json!({ "path": "/system/info", "status": 503, "times": 1 }));
    assert_eq!(send("GET", "/system/info", "").status, 503);
    assert_eq!(send("GET", "/system/info", "").status, 200);
    platform.rule(json!({ "path": "/system/info", "then": "cut" }));
    assert!(Connection::tcp(platform.address()).try_send("GET", "/system/info").is_none());
    assert_eq!(platform.count("POST", "/system/scale-function/figlet"), 1);
    assert_eq!(platform.log()[2].json()["replicas"], 2);
}
