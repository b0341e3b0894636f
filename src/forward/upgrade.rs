//! Connections that stop speaking HTTP: bytes both ways until one side ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::scaler::Pick;
use crate::shutdown::Drain;

/// Joins the client's connection with the instance's. The drain waits for it, and cuts it at its end.
pub(super) fn join(client: OnUpgrade, instance: OnUpgrade, pick: Pick, drain: &Drain) {
    let hold = drain.hold();
    let drain = drain.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = copy(client, instance) => {}
            () = drain.ended() => {}
        }
        drop(pick);
        drop(hold);
    });
}

async fn copy(client: OnUpgrade, instance: OnUpgrade) {
    match tokio::try_join!(client, instance) {
        Ok((client, instance)) => {
            let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut instance).await {
                // How such connections usually end: one side is just gone.
                tracing::debug!(%error, "upgraded connection broke");
            }
        }
        Err(error) => tracing::debug!(%error, "connection not upgraded"),
    }
}
