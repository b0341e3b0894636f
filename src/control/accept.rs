//! Saying yes to what the lock refused.

use std::sync::Arc;

use serde::Serialize;

use super::change::{Asker, chain};
use super::{Control, ControlError};
use crate::name::{Digest, ProviderName};

/// What was accepted.
#[derive(Clone, Debug, Serialize)]
pub struct Acceptance {
    /// Whose plugin.
    pub provider: ProviderName,
    /// The digest of the component.
    pub digest: String,
    /// What it wants more than before, a sentence each.
    pub accepted: Vec<String>,
}

impl Control {
    /// Writes what the lock refused last of a provider into the lock: those bytes, and the grants and limits that
    /// they were to have. With a digest only if that was it. Nothing is loaded by that.
    ///
    /// # Errors
    /// There is no such provider or no lock, nothing was refused, or the lock cannot be written.
    ///
    /// # Cancel safety
    /// It is done all the same.
    pub async fn accept(
        &self,
        provider: &ProviderName,
        digest: Option<Digest>,
        by: Asker,
    ) -> Result<Acceptance, ControlError> {
        let _is_there = self.slot(provider)?;
        let keeper = Arc::clone(self.shared.plugins.lock().ok_or(ControlError::NoLock)?);
        let (name, wanted) = (provider.clone(), digest.map(|digest| digest.to_string()));
        let accept = move || keeper.accept(&name, wanted.as_deref());
        let accepted = tokio::task::spawn_blocking(accept).await.map_err(|_panicked| ControlError::Ending)?;
        let accepted = accepted.map_err(|error| ControlError::Lock(chain(&error)))?;
        let nothing = || ControlError::NothingRefused { provider: provider.clone(), digest };
        let accepted = accepted.ok_or_else(nothing)?;
        let differences = accepted.differences.join("; ");
        tracing::info!(target: "wicketgate::audit", %provider, %by, digest = accepted.digest, differences, "accepted into the lock");
        Ok(Acceptance { provider: provider.clone(), digest: accepted.digest, accepted: accepted.differences })
    }
}
