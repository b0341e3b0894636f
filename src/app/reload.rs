//! Notices what changed: SIGHUP, the configuration file, the files of components.
//!
//! Events of the file system only say that it is time to look: files are compared by what is in them,
//! so it does not matter whether they were written in place or renamed into their place. The
//! configuration takes effect as a whole or not at all; what is outside the providers needs a restart,
//! and the log says which keys those are.
//!
//! To take a configuration may last (instances elsewhere, canaries). Meanwhile other providers' files are
//! looked after, and a configuration that changes once more is read when the one before was taken or not.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, ConfigError, FILE_BYTES, KeyChange, chain};
use crate::control::{Asker, Change, Component, Control, ControlError, Outcome, Seen, Watched};
use crate::name::{Digest, ProviderName};

/// How many pauses a burst of events may have before it is looked at all the same.
const PAUSES_MAX: u32 = 10;

/// Reads the configuration once more, as the start did.
pub type Reread = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Where the configuration came from.
#[derive(Clone)]
pub struct Origin {
    /// Its file, if it has one.
    pub file: Option<PathBuf>,
    /// Reads it once more.
    pub reread: Reread,
}

/// Looks for changes.
pub(super) struct Reload {
    control: Control,
    origin: Origin,
    /// What was taken last.
    current: Config,
    /// What the configuration file had when it was read last.
    seen: Option<Digest>,
    /// What is being taken.
    taking: Option<Taking>,
    /// Who wants the configuration read again when that is over.
    waiting: Option<Asker>,
    hangup: Signal,
    events: mpsc::Receiver<()>,
    watch: Option<Watch>,
}

/// A configuration on its way.
struct Taking {
    new: Config,
    by: Asker,
    /// The providers that it changes.
    providers: BTreeSet<ProviderName>,
    task: JoinHandle<Result<Vec<Change>, ControlError>>,
}

/// What became of it; the outer error is a panic.
type Taken = Result<Result<Vec<Change>, ControlError>, JoinError>;

/// The directories whose events are heard.
struct Watch {
    watcher: RecommendedWatcher,
    files: Arc<std::sync::Mutex<BTreeSet<PathBuf>>>,
    directories: BTreeSet<PathBuf>,
}

impl Reload {
    /// Begins to listen for the signal and, where the configuration wants it, to files. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The signal cannot be listened for.
    pub(super) fn new(control: Control, origin: Origin, config: Config) -> std::io::Result<Self> {
        // One event is as good as many: it only says that it is time to look.
        let (ring, events) = mpsc::channel(1);
        let watch = config.reload.watch.then(|| Watch::new(ring)).and_then(|made| {
            made.inspect_err(|error| tracing::warn!(%error, "files are not watched; send SIGHUP after a change")).ok()
        });
        let seen = origin.file.as_deref().and_then(|file| digest(file, FILE_BYTES));
        let hangup = signal(SignalKind::hangup())?;
        let (taking, waiting) = (None, None);
        let mut reload = Self { control, origin, current: config, seen, taking, waiting, hangup, events, watch };
        reload.follow_files();
        Ok(reload)
    }

    /// Looks whenever there is a reason to, until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                heard = self.hangup.recv() => {
                    if heard.is_none() {
                        return;
                    }
                    tracing::info!("SIGHUP: reading the configuration");
                    self.configuration(Asker::Sighup).await;
                    self.components(Asker::Sighup).await;
                }
                Some(()) = self.events.recv() => {
                    self.settle().await;
                    let now = self.digest_of_file().await;
                    if now.is_some() && now != self.seen {
                        self.configuration(Asker::Config).await;
                    }
                    self.components(Asker::File).await;
                }
                (taking, outcome) = ended(&mut self.taking) => {
                    let by = taking.by;
                    self.taken(taking, outcome);
                    if let Some(by) = self.waiting.take() {
                        self.configuration(by).await;
                    }
                    self.components(by).await;
                }
            }
            self.follow_files();
        }
    }

    /// Waits until nothing happened for a moment: a file that is written in place is written in pieces.
    async fn settle(&mut self) {
        let pause = self.current.reload.debounce;
        for _ in 0..PAUSES_MAX {
            match timeout_at(Instant::now() + pause, self.events.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn digest_of_file(&self) -> Option<Digest> {
        let file = self.origin.file.clone()?;
        tokio::task::spawn_blocking(move || digest(&file, FILE_BYTES)).await.ok().flatten()
    }

    /// Reads the configuration and begins to take it, or says why not.
    async fn configuration(&mut self, by: Asker) {
        if self.taking.is_some() {
            tracing::info!(%by, "the configuration is read when the change that is under way ended");
            self.waiting = Some(by);
            return;
        }
        self.seen = self.digest_of_file().await;
        let reread = Arc::clone(&self.origin.reread);
        let read = tokio::task::spawn_blocking(move || reread()).await;
        let new = match read {
            Ok(Ok(new)) => new,
            Ok(Err(error)) => {
                tracing::error!(%by, error = chain(&error), "the configuration has mistakes; nothing changed");
                return;
            }
            Err(panicked) => {
                tracing::error!(%by, error = %panicked, "the configuration could not be read; nothing changed");
                return;
            }
        };
        let changes = self.current.changes_to(&new);
        for change in &changes {
            tracing::info!(%by, "configuration: {change}");
        }
        tell_what_needs_a_restart(&changes);
        let difference = self.control.difference(&new.providers);
        if difference.is_empty() {
            tracing::info!(%by, keys = changes.len(), "the providers are as the configuration says");
            self.current = new;
            return;
        }
        let configured = difference.added.iter().chain(&difference.changed).map(|config| config.name.clone());
        let providers = configured.chain(difference.removed.iter().cloned()).collect();
        let control = self.control.clone();
        let task = tokio::spawn(async move { control.apply(difference, by).await });
        self.taking = Some(Taking { new, by, providers, task });
    }

    /// A configuration was taken as a whole, or not at all.
    fn taken(&mut self, taking: Taking, outcome: Taken) {
        let Taking { new, by, .. } = taking;
        match outcome {
            Ok(Ok(made)) => {
                let is_failure = |change: &Change| {
                    matches!(change.outcome, Some(Outcome::Refused { .. } | Outcome::RolledBack { .. }))
                };
                if made.iter().any(is_failure) {
                    tracing::error!(%by, "the configuration was not taken; see the refusals before this line");
                } else {
                    tracing::info!(%by, changes = made.len(), "the configuration was taken");
                    self.current = new;
                }
            }
            Ok(Err(error)) => tracing::error!(%by, %error, "the configuration was not taken"),
            Err(error) => tracing::error!(%by, %error, "the configuration was not taken"),
        }
    }

    /// Loads components whose files, or those of their signatures, have other bytes than before.
    async fn components(&self, by: Asker) {
        for watched in self.control.files() {
            let (provider, file) = (watched.provider.clone(), watched.component.clone());
            // One that is being changed is looked at afterwards.
            if self.taking.as_ref().is_some_and(|taking| taking.providers.contains(&provider)) {
                continue;
            }
            let found = tokio::task::spawn_blocking(move || seen(&watched)).await.ok().flatten();
            // A file that is not there is being replaced, or will be.
            let Some(found) = found.filter(|found| self.control.look(&provider, *found)) else { continue };
            tracing::info!(%provider, file = %file.display(), digest = %found.component, %by, "the component, or its signature, changed");
            let control = self.control.clone();
            // A canary takes its time, and another provider's change does not wait for it.
            tokio::spawn(async move {
                if let Err(error) = control.swap(&provider, Component::Configured, by, false).await {
                    tracing::error!(%provider, %error, "the component was not taken");
                }
            });
        }
    }

    /// Listens where the files are now.
    fn follow_files(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let mut files: BTreeSet<PathBuf> = self.origin.file.clone().into_iter().collect();
        for watched in self.control.files() {
            files.extend(watched.signature.files(&watched.component));
            files.insert(watched.component);
        }
        watch.follow(files);
    }
}

/// Waits for the end of what is being taken; for ever if nothing is.
async fn ended(taking: &mut Option<Taking>) -> (Taking, Taken) {
    let Some(under_way) = taking else { return std::future::pending().await };
    let outcome = (&mut under_way.task).await;
    match taking.take() {
        Some(taking) => (taking, outcome),
        None => std::future::pending().await,
    }
}

/// Whose signatures count is part of every provider's configuration.
fn concerns_all(change: &KeyChange) -> bool {
    change.key.starts_with("signature.")
}

/// Keys outside the providers' tables, and commands, hold from the next start on.
fn tell_what_needs_a_restart(changes: &[KeyChange]) {
    let keys: Vec<&str> = changes
        .iter()
        .filter(|change| !concerns_all(change) && change.provider().is_none_or(|(_, key)| key == "command"))
        .map(|change| change.key.as_str())
        .collect();
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "these keys take effect with the next start");
    }
}

impl Watch {
    fn new(ring: mpsc::Sender<()>) -> notify::Result<Self> {
        let files: Arc<std::sync::Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let known = Arc::clone(&files);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_ours = match &event {
                Ok(event) => is_write(event.kind) && event.paths.iter().any(|path| concerns(path, &known)),
                // Events were lost: look.
                Err(_lost) => true,
            };
            if is_ours {
                // A full channel means that somebody is about to look.
                let _rung = ring.try_send(());
            }
        })?;
        Ok(Self { watcher, files, directories: BTreeSet::new() })
    }

    fn follow(&mut self, files: BTreeSet<PathBuf>) {
        let directories: BTreeSet<PathBuf> = files.iter().filter_map(|file| directory(file)).collect();
        for new in directories.difference(&self.directories) {
            if let Err(error) = self.watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %new.display(), %error, "not watched; send SIGHUP after a change");
            }
        }
        for gone in self.directories.difference(&directories) {
            if let Err(error) = self.watcher.unwatch(gone) {
                tracing::debug!(directory = %gone.display(), %error, "was not watched");
            }
        }
        self.directories = directories;
        *self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = files;
    }
}

/// The directory is watched and not the file: a rename puts another file in its place.
fn directory(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    file.parent().map(Path::to_owned)
}

/// Reading a file is an event too, and we read.
fn is_write(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Whether a path is one of the files, or a link by which Kubernetes replaces all files of a directory.
fn concerns(path: &Path, files: &std::sync::Mutex<BTreeSet<PathBuf>>) -> bool {
    let is_link = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".."));
    let files = files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    is_link || files.iter().any(|file| std::path::absolute(file).is_ok_and(|file| file == path))
}

/// What a provider's files have now; `None` if the component cannot be read.
fn seen(watched: &Watched) -> Option<Seen> {
    // The signatures first: one that is written in between is looked at once more.
    let signature = &watched.signature;
    let signatures = signature.is_on().then(|| signature.state(&watched.component));
    Some(Seen { component: digest(&watched.component, watched.component_bytes)?, signatures })
}

/// The digest of a file; `None` if it cannot be read or is larger than `most` bytes.
fn digest(path: &Path, most: u64) -> Option<Digest> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then(|| Digest::of(&bytes))
}
