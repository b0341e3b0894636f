//! The threads that forward: each has a runtime, a socket and connections of its own.

use std::io;
use std::net::TcpListener;
use std::thread::JoinHandle;

use crate::admin::Admin;
use crate::invoke::Invoke;
use crate::listener::{Gateway, Listener};
use crate::shutdown::Drain;

/// Running workers.
pub(super) struct Workers(Vec<JoinHandle<()>>);

/// One worker for each socket.
///
/// # Errors
/// A thread or its runtime cannot be made.
pub(super) fn start(
    sockets: Vec<TcpListener>,
    listener: &Listener,
    invoke: &Invoke,
    admin: &Admin,
    drain: &Drain,
) -> io::Result<Workers> {
    let mut workers = Vec::with_capacity(sockets.len());
    for (number, socket) in sockets.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, drain) = (listener.clone(), drain.clone());
        let gateway = Gateway::new(invoke.worker(), admin.clone());
        let work = move || {
            runtime.block_on(async move {
                if let Err(error) = listener.serve(socket, gateway).await {
                    tracing::error!(%error, "a worker cannot accept");
                }
                // Connections that are open finish on this thread, until the drain ends.
                drain.ended().await;
            });
        };
        workers.push(std::thread::Builder::new().name(format!("wicketgate-{number}")).spawn(work)?);
    }
    Ok(Workers(workers))
}

impl Workers {
    /// Waits for their ends. A panic in one was logged and counted where it happened.
    pub(super) fn join(self) {
        for worker in self.0 {
            let _ended = worker.join();
        }
    }
}
