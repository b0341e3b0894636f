//! A platform that fails on purpose: requests of the plugin are led to it instead of the real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::case::{Answer, Then, To};
use crate::host::egress::Detour;
use crate::host::grant::Effect;
use crate::upstream::Place;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How it fails now; `None`: requests reach the real platform.
type Now = Arc<Mutex<Option<Answer>>>;

/// The server, and the answers that it knows. Dropping it closes it.
pub(super) struct Platform {
    answers: BTreeMap<String, Answer>,
    now: Now,
    serving: Place,
    /// Bound and never listened on, so that connections to it are refused and nobody else gets it.
    refusing: (Place, Socket),
    task: AbortHandle,
}

impl Platform {
    pub(super) async fn start(answers: &BTreeMap<String, Answer>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let serving = Place::Tcp(listener.local_addr()?.to_string().into());
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SockAddr::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
        let refusing = socket.local_addr()?.as_socket().map(|address| address.to_string()).unwrap_or_default();
        let now = Now::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&now))).abort_handle();
        Ok(Self { answers: answers.clone(), now, serving, refusing: (Place::Tcp(refusing.into()), socket), task })
    }

    /// Where requests go, for the plugin's grants.
    pub(super) fn detour(&self) -> Detour {
        let (now, serving, refusing) = (Arc::clone(&self.now), self.serving.clone(), self.refusing.0.clone());
        Arc::new(move |effect| {
            let now = now.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = now.as_ref().filter(|answer| answer.to == To::All || effect == Effect::Write)?;
            Some(if answer.then == Then::Refuse { refusing.clone() } else { serving.clone() })
        })
    }

    /// The platform is the real one.
    pub(super) fn real(&self) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The platform is the one of this name: an answer's, or `real`.
    pub(super) fn become_one(&self, name: &str) -> Result<(), String> {
        let answer = match name {
            "real" => None,
            name => Some(self.answers.get(name).cloned().ok_or_else(|| format!("no answer is called {name:?}"))?),
        };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        Ok(())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
        // Held until here.
        let _port = &self.refusing.1;
    }
}

async fn serve(listener: TcpListener, now: Now) {
    loop {
        // A connection that came and went, or no descriptor free: the next one may do.
        let Ok((stream, _peer)) = listener.accept().await else { continue };
        let now = Arc::clone(&now);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&now)));
            let _closed =
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, now: Now) -> Result<Response<Body>, Infallible> {
    let answer = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
    drop(request.into_body().collect().await);
    let Some(answer) = answer else {
        // The case is over, and a request of it came late.
        return Ok(empty(StatusCode::SERVICE_UNAVAILABLE));
    };
    let bytes = Bytes::from(answer.body);
    let body = match answer.then {
        Then::Silent | Then::Refuse => std::future::pending().await,
        Then::Answer => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        Then::Half => {
            let broken = io::Error::other("half an answer");
            StreamBody::new(futures_util::stream::iter([Ok(Frame::data(bytes)), Err(broken)])).boxed_unsync()
        }
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(body).unwrap_or_else(|_bad_answer| empty(StatusCode::NOT_IMPLEMENTED)))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
