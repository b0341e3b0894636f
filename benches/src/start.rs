//! From the start of the process to the first answer, and what it weighs afterwards.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Bench;
use crate::measure::{Report, median, resident_mib};
use crate::process::Program;

/// Five providers from two components, started with a filled cache of machine code.
pub(crate) async fn run(bench: &Bench, upstream: SocketAddr, report: &mut Report) -> Result<(), String> {
    let directory = bench.directory.join("start");
    let configuration = configuration(bench, &directory, upstream);
    // The first start compiles and fills the cache.
    drop(Program::gateway(&bench.binary, &directory, &configuration)?);
    let mut spans = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..bench.rounds {
        let begun = Instant::now();
        let gateway = Program::gateway(&bench.binary, &directory, &configuration)?;
        first_answer(gateway.address).await?;
        spans.push(begun.elapsed().as_secs_f64() * 1000.0);
        resident.push(resident_mib(gateway.pid()));
    }
    report.hold("start to first answer, 5 providers", median(&spans), "ms", 200.0);
    report.hold("resident memory after it", median(&resident), "MiB", 60.0);
    let size = std::fs::metadata(&bench.binary).map_err(|error| error.to_string())?.len();
    #[expect(clippy::cast_precision_loss, reason = "the size of a program")]
    report.hold("size of the binary", size as f64 / 1e6, "MB", 30.0);
    Ok(())
}

fn configuration(bench: &Bench, directory: &std::path::Path, upstream: SocketAddr) -> String {
    let mut text = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{dir}/admin.sock\"\n\
         [state]\ndirectory = \"{dir}/state\"\n[log]\nlevel = \"warn\"\n",
        dir = directory.display(),
    );
    let constant = bench.plugins.join("tests/constant.wasm");
    let _written = write!(
        text,
        "[provider.one]\ncomponent = \"{}\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         [provider.one.endpoints]\nallow = [\"127.0.0.0/8\"]\ntemplate = \"http://{upstream}/{{name}}\"\n",
        constant.display()
    );
    for name in ["two", "three", "four", "five"] {
        let _written = write!(
            text,
            "[provider.{name}]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"{name}\"]\n\
             [provider.{name}.grant.provider]\nconnect = \"http://{upstream}\"\nprofile = \"faas-provider\"\n",
        );
    }
    text
}

async fn first_answer(gateway: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(gateway).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::get("/function/bench")
        .header("host", gateway.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body))) }
}
