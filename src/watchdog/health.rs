//! Whether a server still answers: a GET of a path, or a connection.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::host::processes::HealthSpec;

/// How one server is asked.
pub(super) struct Probe {
    health: HealthSpec,
    address: SocketAddr,
}

impl Probe {
    pub(super) fn new(health: &HealthSpec, port: u16) -> Self {
        Self { health: health.clone(), address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    /// Looks once, within the timeout; why it failed.
    pub(super) async fn look(&self) -> Result<(), String> {
        let timeout = self.health.timeout;
        let looked = tokio::time::timeout(timeout, self.ask()).await;
        looked.unwrap_or_else(|_elapsed| Err(format!("no answer within {timeout:?} (health-timeout)")))
    }

    /// Looks again and again; ends with the reason when so many looks failed in a row.
    pub(super) async fn watch(&self) -> String {
        let mut failed = 0;
        loop {
            tokio::time::sleep(self.health.interval).await;
            match self.look().await {
                Ok(()) => failed = 0,
                Err(reason) => {
                    failed += 1;
                    if failed >= self.health.failures.get() {
                        return format!("the process failed {failed} health checks in a row; the last: {reason}");
                    }
                }
            }
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("no connection: {error}"))?;
        let Some(path) = &self.health.path else { return Ok(()) };
        let failed = |error: hyper::Error| format!("no answer to GET {path}: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let request = Request::get(path.as_str())
            .header(header::HOST, self.address.to_string())
            .header(header::USER_AGENT, "wicketgate-health")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        // Aborted when the look ends, whatever of the body is still to come.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        Err(format!("GET {path} was answered with {status}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with `answer` and closes it; with nothing, it is silent.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _peer)) = listener.accept().await {
                if answer.is_empty() {
                    silent.push(stream);
                    continue;
                }
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                if read > 0 {
                    assert!(request.starts_with(b"GET /healthz HTTP/1.1\r\n"));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        port
    }

    fn health(path: Option<&str>) -> HealthSpec {
        HealthSpec {
            path: path.map(str::to_owned),
            interval: Duration::from_millis(1),
            timeout: Duration::from_millis(200),
            ..HealthSpec::default()
        }
    }

    #[tokio::test]
    async fn a_path_is_healthy_by_its_status() {
        for (answer, is_healthy) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", false),
            ("nonsense\r\n\r\n", false),
            ("", false),
        ] {
            let looked = Probe::new(&health(Some("/healthz")), server(answer).await).look().await;
            assert_eq!(looked.is_ok(), is_healthy, "{answer:?}: {looked:?}");
        }
    }

    #[tokio::test]
    async fn without_a_path_a_connection_is_enough() {
        Probe::new(&health(None), server("").await).look().await.unwrap();
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        assert!(Probe::new(&health(None), gone).look().await.unwrap_err().contains("no connection"));
    }

    #[tokio::test]
    async fn watching_ends_after_so_many_failures_in_a_row() {
        let answer = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
        let reason = Probe::new(&health(Some("/healthz")), server(answer).await).watch().await;
        assert!(reason.contains("3 health checks") && reason.contains("500"), "{reason}");
    }
}
