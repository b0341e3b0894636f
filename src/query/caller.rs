//! On whose behalf a question is asked: the call id of the request that needed the answer.
//!
//! It travels with the task, past all layers that have no use for it, so that what went wrong in a plugin
//! can be told with the request that met it. Set on the cold path and by the admin API only: a warm
//! request asks nobody.

use std::sync::Arc;

tokio::task_local! {
    static CALLER: Arc<str>;
}

/// The call id that the current task works for, if it works for one.
#[must_use]
pub fn current() -> Option<Arc<str>> {
    CALLER.try_with(Arc::clone).ok()
}

/// Runs `work` on behalf of a call; with `None`, of nobody.
///
/// # Cancel safety
/// That of `work`.
pub async fn on_behalf_of<T>(caller: Option<Arc<str>>, work: impl Future<Output = T>) -> T {
    match caller {
        Some(caller) => CALLER.scope(caller, work).await,
        None => work.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_id_goes_with_its_work_and_no_further() {
        let inner =
            on_behalf_of(Some("a".into()), async { (current(), tokio::spawn(async { current() }).await.unwrap()) });
        assert_eq!(inner.await, (Some("a".into()), None));
        assert_eq!(on_behalf_of(None, async { current() }).await, None);
        assert_eq!(current(), None);
    }
}
