//! What a gate holds of the files that its grant names, and its renewal when they change.
//!
//! Files are looked at when a request is sent, at most once in [`LOOK_EVERY`], and at once after the
//! platform refused a credential. Nothing is read while they stay the same. A file that is gone,
//! half written or readable by others keeps what was there: the reason is logged once for each
//! change.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::GrantClient;
use super::container::{self, RENEW_BEFORE};
use super::credentials::Credentials;
use super::fault::GrantFault;
use super::gate::Gate;
use crate::host::files::{Stamp, stamps};
use crate::host::grant::{Auth, AwsAuth, AwsKeys, Grant, Source};

/// For how long files that did not change are taken not to have changed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the files of a grant say: whom it trusts, what it shows.
pub(super) struct Held {
    pub(super) client: Arc<GrantClient>,
    pub(super) credentials: Arc<Credentials>,
    tls: Stamps,
    auth: Stamps,
}

/// Files, and what they were when they were read.
#[derive(Clone, PartialEq)]
struct Stamps(Vec<Option<Stamp>>);

/// The files of a grant with what they said last.
pub(super) struct Renewal {
    grant: Grant,
    tls: Vec<PathBuf>,
    auth: Vec<PathBuf>,
    held: ArcSwap<Held>,
    began: Instant,
    /// When to look again, in milliseconds after `began`.
    due: AtomicU64,
    /// Whoever asks a container's endpoint for keys; one at a time.
    asking: Semaphore,
    /// When it may be asked again, in milliseconds after `began`.
    ask_after: AtomicU64,
    /// What the files were when they could not be used.
    failed: Mutex<Option<(Stamps, Stamps)>>,
}

impl Renewal {
    /// Reads the files. Blocks.
    pub(super) fn new(grant: &Grant) -> Result<Self, GrantFault> {
        let (tls, auth) = (tls_files(grant), auth_files(&grant.auth));
        // Before they are read: what changes meanwhile is read again.
        let stamped = (Stamps(stamps(&tls)), Stamps(stamps(&auth)));
        let held = Held {
            client: Arc::new(GrantClient::new(grant)?),
            credentials: Arc::new(Credentials::load(grant)?),
            tls: stamped.0,
            auth: stamped.1,
        };
        Ok(Self {
            grant: grant.clone(),
            tls,
            auth,
            held: ArcSwap::from_pointee(held),
            began: Instant::now(),
            due: AtomicU64::new(millis(LOOK_EVERY)),
            asking: Semaphore::new(1),
            ask_after: AtomicU64::new(0),
            failed: Mutex::new(None),
        })
    }

    /// What the files said when they were last read.
    pub(super) fn held(&self) -> Arc<Held> {
        self.held.load_full()
    }

    /// Whether a credential may be another one the next time.
    pub(super) fn can_change(&self) -> bool {
        !self.auth.is_empty()
    }

    /// Whether it is time to look again. Answers `true` to one caller only.
    fn is_due(&self) -> bool {
        if self.tls.is_empty() && self.auth.is_empty() {
            return false;
        }
        let now = millis(self.began.elapsed());
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(LOOK_EVERY));
        now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Reads what changed; `None` if nothing did. Blocks.
    fn read(&self) -> Option<Result<Held, GrantFault>> {
        let (tls, auth) = (Stamps(stamps(&self.tls)), Stamps(stamps(&self.auth)));
        let held = self.held.load();
        if tls == held.tls && auth == held.auth {
            return None;
        }
        let read = || {
            let is_same_tls = tls == held.tls;
            let client = if is_same_tls { Arc::clone(&held.client) } else { Arc::new(GrantClient::new(&self.grant)?) };
            let is_same_auth = auth == held.auth;
            let credentials =
                if is_same_auth { Arc::clone(&held.credentials) } else { Arc::new(Credentials::load(&self.grant)?) };
            Ok(Held { client, credentials, tls: tls.clone(), auth: auth.clone() })
        };
        let read = read();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &read {
            Ok(_) => *failed = None,
            Err(_) if failed.as_ref() == Some(&(tls.clone(), auth.clone())) => return None,
            Err(_) => *failed = Some((tls, auth)),
        }
        Some(read)
    }
}

impl Gate {
    /// What to send a request with.
    pub(super) async fn held(self: &Arc<Self>) -> Arc<Held> {
        if self.renewal.is_due() {
            self.renew().await;
        }
        let held = self.renewal.held();
        let Auth::Aws(auth) = &self.renewal.grant.auth else { return held };
        if !matches!(auth.keys, AwsKeys::Container { .. }) {
            return held;
        }
        let now = self.clock.now();
        if held.credentials.end_before(now) {
            Box::pin(self.ask_container(auth)).await;
        } else if held.credentials.end_before(now + RENEW_BEFORE) {
            let (gate, auth) = (Arc::clone(self), auth.clone());
            tokio::spawn(async move { gate.ask_container(&auth).await });
        }
        self.renewal.held()
    }

    /// Asks a container's endpoint for keys, unless somebody else just did.
    async fn ask_container(&self, auth: &AwsAuth) {
        let AwsKeys::Container { connect, path, token_file } = &auth.keys else { return };
        let renewal = &self.renewal;
        // Never closed, so whoever waits gets it.
        let Ok(_turn) = renewal.asking.acquire().await else { return };
        let now = millis(renewal.began.elapsed());
        if now < renewal.ask_after.load(Ordering::Relaxed) {
            return;
        }
        renewal.ask_after.store(now.saturating_add(millis(LOOK_EVERY)), Ordering::Relaxed);
        match container::fetch(&self.pool, connect, path, token_file.as_deref(), renewal.grant.exposed_secrets).await {
            Ok(keys) => {
                let credentials = Arc::new(Credentials::signing(auth, Some(keys)));
                let held = renewal.held.load();
                renewal.held.store(Arc::new(Held {
                    client: Arc::clone(&held.client),
                    credentials,
                    tls: held.tls.clone(),
                    auth: held.auth.clone(),
                }));
            }
            Err(error) => {
                tracing::warn!(provider = %self.provider, grant = self.name, error, "the container's endpoint gave no keys");
            }
        }
    }

    /// The same for who cannot wait: what is renewed now is there the next time.
    pub(super) fn held_now(self: &Arc<Self>) -> Arc<Held> {
        if self.renewal.is_due()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let gate = Arc::clone(self);
            runtime.spawn(async move { gate.renew().await });
        }
        self.renewal.held()
    }

    /// Looks at the files now.
    pub(super) async fn renew(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || gate.renewal.read()).await;
        match read {
            Ok(None) | Err(_) => {}
            Ok(Some(Ok(held))) => {
                let before = self.renewal.held.swap(Arc::new(held));
                if !Arc::ptr_eq(&before.client, &self.renewal.held.load().client) {
                    // Requests under way end on their connections; none of those serves another.
                    self.pool.forget(before.client.target());
                }
                tracing::info!(provider = %self.provider, grant = self.name, "credentials or certificates were renewed from their files");
            }
            Ok(Some(Err(error))) => {
                let error = super::error::chain(&error);
                tracing::warn!(provider = %self.provider, grant = self.name, error, "changed files cannot be used; what was there before is used on");
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn tls_files(grant: &Grant) -> Vec<PathBuf> {
    let client = grant.tls.client.iter().flat_map(|client| [&client.certificate, &client.key]);
    paths(grant.tls.ca.iter().chain(client))
}

fn auth_files(auth: &Auth) -> Vec<PathBuf> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Basic { user_file, password_file } => vec![user_file.clone(), password_file.clone()],
        Auth::Header { file, .. } => vec![file.clone()],
        Auth::Bearer { token } => paths([token]),
        Auth::Aws(auth) => match &auth.keys {
            AwsKeys::Files { access_key, secret_key, session_token } => {
                [access_key, secret_key].into_iter().chain(session_token).cloned().collect()
            }
            AwsKeys::Profile { path, .. } => vec![path.clone()],
            // Its token is read whenever it is asked.
            AwsKeys::Container { .. } => Vec::new(),
        },
    }
}

fn paths<'s>(sources: impl IntoIterator<Item = &'s Source>) -> Vec<PathBuf> {
    sources.into_iter().map(|source| source.path().to_owned()).collect()
}
