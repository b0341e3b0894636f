//! `wicketgate provider`: speaks to a running gateway over its admin socket.

mod client;
pub(super) mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::accept::{AcceptError, Offline};
use super::{Source, help};
use crate::admin::{MINISIGN, SIGSTORE};
use crate::config::{AdminSocket, ConfigError, places};
use crate::name::{Digest, ProviderName};
use crate::trust::signature;
use client::{Answer, Request};

/// The name of the admin socket in the state directory.
pub(crate) const SOCKET_FILE: &str = "admin.sock";

/// `wicketgate provider`
#[derive(Args, Clone, Debug)]
pub struct Provider {
    /// What to do
    #[command(subcommand)]
    pub command: ProviderCommand,
    /// The TOML file of the running gateway, to find its admin socket
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The admin socket, instead of the one that the configuration says
    #[arg(short, long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// Print what the gateway answered, as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What there is to do with providers.
#[derive(Clone, Debug, Subcommand)]
pub enum ProviderCommand {
    /// All providers, a line each
    List,
    /// Everything about one provider
    Show {
        /// Which one
        name: ProviderName,
    },
    /// Replace its plugin, without a gap
    #[command(long_about = help::SWAP, after_long_help = help::SWAP_AFTER)]
    Swap {
        /// Whose plugin
        name: ProviderName,
        /// The new component; without one the configured one is read again
        file: Option<PathBuf>,
        /// Try everything and stop before the publish
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring the generation before back, at once and without compiling
    Rollback {
        /// Whose
        name: ProviderName,
    },
    /// Its last changes, with what was refused and why
    History {
        /// Whose
        name: ProviderName,
    },
    /// Remove it until the configuration is read again (SIGHUP) or the gateway starts anew
    Remove {
        /// Which one
        name: ProviderName,
    },
    /// What needs no running gateway
    #[command(flatten)]
    Offline(Offline),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The socket cannot be found.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What needs no gateway was not done.
    #[error(transparent)]
    Offline(#[from] AcceptError),
    /// There is none.
    #[error("{origin} says listen.admin = \"off\", so nothing can be asked of a running gateway")]
    NoSocket {
        /// The configuration.
        origin: String,
    },
    /// The file of the component cannot be read.
    #[error("{file} cannot be read", file = .file.display())]
    Unreadable {
        /// Which one.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers.
    #[error("no gateway answers at {path}; is it running, and may you write to its socket?", path = .path.display())]
    NoAnswer {
        /// Which socket.
        path: PathBuf,
        /// What was met.
        source: client::ClientError,
    },
    /// The gateway says no.
    #[error("{0}")]
    Refused(String),
    /// The answer cannot be printed.
    #[error("the answer cannot be printed")]
    Print(#[from] io::Error),
}

impl ProviderError {
    /// Whether the command line or the configuration has a mistake.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_) | Self::NoSocket { .. } | Self::Unreadable { .. } => true,
            Self::Offline(error) => error.is_usage(),
            Self::NoAnswer { .. } | Self::Refused(_) | Self::Print(_) => false,
        }
    }
}

impl Provider {
    /// Asks the gateway, and prints what it answered.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub fn run(&self, environment: impl Fn(&str) -> Option<String>, out: &mut impl Write) -> Result<(), ProviderError> {
        if let ProviderCommand::Offline(command) = &self.command {
            if let Offline::Accept { name, file } = command
                && self.accept_what_was_refused(name, file.as_deref(), &environment, out)?
            {
                return Ok(());
            }
            return Ok(command.run(self.config.as_deref(), environment, out)?);
        }
        let path = self.socket(environment)?;
        let request = self.request()?;
        let answer = client::send(&path, request).map_err(|source| ProviderError::NoAnswer { path, source })?;
        if self.json {
            writeln!(out, "{}", answer.body)?;
            return if answer.is_success() { Ok(()) } else { Err(refused(&answer)) };
        }
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        out.write_all(self.text(&answer.body).as_bytes())?;
        Ok(())
    }

    /// Accepts what a running gateway refused last, or that file if it refused that. Whether there was such a thing:
    /// if no gateway runs, or it refused nothing like it, the files are what counts.
    fn accept_what_was_refused(
        &self,
        name: &ProviderName,
        file: Option<&Path>,
        environment: &impl Fn(&str) -> Option<String>,
        out: &mut impl Write,
    ) -> Result<bool, ProviderError> {
        let path = match self.socket(environment) {
            Ok(path) => path,
            Err(ProviderError::NoSocket { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let query = match file {
            None => String::new(),
            Some(file) => {
                let unreadable = |source| ProviderError::Unreadable { file: file.to_owned(), source };
                format!("?digest={}", Digest::of(&std::fs::read(file).map_err(unreadable)?))
            }
        };
        let request = Request::post(&format!("/providers/{name}/accept{query}"));
        let answer = match client::send(&path, request) {
            Ok(answer) => answer,
            Err(client::ClientError::Connect(error)) if nobody_listens(&error) => return Ok(false),
            Err(source) => return Err(ProviderError::NoAnswer { path, source }),
        };
        if matches!(answer.status, http::StatusCode::CONFLICT | http::StatusCode::NOT_FOUND) {
            return Ok(false);
        }
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        if self.json {
            writeln!(out, "{}", answer.body)?;
        } else {
            out.write_all(show::acceptance(&answer.body).as_bytes())?;
        }
        Ok(true)
    }

    fn socket(&self, environment: impl Fn(&str) -> Option<String>) -> Result<PathBuf, ProviderError> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        let config = Source::choose(self.config.as_deref(), &environment).read()?;
        match config.listen.admin {
            AdminSocket::At(path) => Ok(path),
            AdminSocket::Off => Err(ProviderError::NoSocket { origin: config.origin }),
            AdminSocket::Beside => {
                let here = std::env::current_dir().unwrap_or_else(|_gone| "/".into());
                let state = config.state_directory;
                let state = state.unwrap_or_else(|| places::state_directory(&environment, places::is_writable, &here));
                Ok(state.join(SOCKET_FILE))
            }
        }
    }

    fn request(&self) -> Result<Request, ProviderError> {
        Ok(match &self.command {
            ProviderCommand::List => Request::get("/providers"),
            ProviderCommand::Show { name } | ProviderCommand::History { name } => {
                Request::get(&format!("/providers/{name}"))
            }
            ProviderCommand::Swap { name, file, dry_run } => {
                let query = if *dry_run { "?dry-run=true" } else { "" };
                let target = format!("/providers/{name}{query}");
                match file {
                    None => Request::put(&target, Vec::new()),
                    Some(file) => upload(&target, file)?,
                }
            }
            ProviderCommand::Rollback { name } => Request::post(&format!("/providers/{name}/rollback")),
            ProviderCommand::Remove { name } => Request::delete(&format!("/providers/{name}")),
            // Never so: it was done before.
            ProviderCommand::Offline(_) => Request::get("/providers"),
        })
    }

    fn text(&self, body: &Value) -> String {
        let now = SystemTime::now();
        match &self.command {
            ProviderCommand::List => show::list(body),
            ProviderCommand::Show { .. } => show::detail(body, now),
            ProviderCommand::History { .. } => show::history(body, now),
            ProviderCommand::Swap { .. } | ProviderCommand::Rollback { .. } | ProviderCommand::Remove { .. } => {
                show::change(body)
            }
            ProviderCommand::Offline(_) => String::new(),
        }
    }
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// A component, with the signatures that lie beside it. The gateway judges them.
fn upload(target: &str, file: &Path) -> Result<Request, ProviderError> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |source| ProviderError::Unreadable { file, source }
    };
    let mut request = Request::put(target, std::fs::read(file).map_err(unreadable(file))?);
    for (name, suffix) in [(MINISIGN, signature::MINISIGN_SUFFIX), (SIGSTORE, signature::BUNDLE_SUFFIX)] {
        let path = signature::with_suffix(file, suffix);
        match signature::read_text(&path, signature::SIGNATURE_MAX_BYTES) {
            Ok(text) => request = request.with(name, STANDARD.encode(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(unreadable(&path)(source)),
        }
    }
    Ok(request)
}

/// What the gateway said against it: the sentence of an error, or the reason of a refusal.
fn refused(answer: &Answer) -> ProviderError {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (body, error) = (&answer.body, answer.body.get("error").unwrap_or(&Value::Null));
    let sentence = error.get("message").and_then(text).or_else(|| {
        let reason = body.get("reason").and_then(text)?;
        Some(match body.get("at").and_then(text) {
            Some(at) => format!("refused at step {at}: {reason}"),
            None => format!("taken back: {reason}"),
        })
    });
    ProviderError::Refused(sentence.unwrap_or_else(|| format!("the gateway answered {}", answer.status)))
}
