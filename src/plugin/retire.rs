//! The end of a platform whose place another one took: its functions are set to no instances.
//!
//! The generation was replaced and its calls have ended. This asks its plugin all the same, in fresh
//! instances, so that nothing is left running where nobody is served from any more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::instance::Stage;
use super::loaded::Loaded;
use super::registry::Retiring;
use crate::name::FunctionRef;
use crate::provider::SwapConfig;
use crate::query::{Interface, QueryError};

/// Functions that are set at once.
const AT_ONCE: usize = 4;
/// Functions of a page that is asked for.
const PAGE: u32 = 500;

/// What came of setting functions to no instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScaledToZero {
    /// Functions that had instances and have none now.
    pub done: usize,
    /// Functions that were not come to: it was stopped, or the time was over.
    pub left: usize,
    /// What failed, a sentence each. At most [`SwapConfig::retire_problems`], and one more that counts the others.
    pub problems: Vec<String>,
}

/// What came of one function.
enum One {
    Done,
    HadNone,
    Left,
    Failed(String),
}

impl Retiring {
    /// Sets 0 for the functions that the plugin's platform has in the provider's namespaces: those that it
    /// lists, where it can, and those that are `known`. Begins with none after [`SwapConfig::retire_timeout`], or
    /// when `is_stopped`; those that are under way end, each within `limits.call-timeout`.
    ///
    /// To be called after [`ended`](Self::ended).
    ///
    /// # Cancel safety
    /// Dropping the future cuts what is under way: the platform may have been asked already.
    pub async fn scale_to_zero(
        &self,
        known: &[FunctionRef],
        swap: &SwapConfig,
        is_stopped: &AtomicBool,
    ) -> ScaledToZero {
        let plugin = self.plugin();
        let deadline = Instant::now() + swap.retire_timeout;
        let is_over = || is_stopped.load(Ordering::SeqCst) || Instant::now() >= deadline;
        let mut report = ScaledToZero::default();
        let mut functions: BTreeSet<FunctionRef> = known.iter().cloned().collect();
        if let Err(error) = list(plugin, &mut functions, swap.functions as usize, is_over).await {
            report.problems.push(format!("its functions could not be listed: {}", error.message));
        }
        let each: Vec<_> = functions.into_iter().map(|function| scale_one(plugin, function, is_over)).collect();
        let mut outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
        let (most, mut untold) = (swap.retire_problems as usize, 0);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                One::Done => report.done += 1,
                One::HadNone => {}
                One::Left => report.left += 1,
                One::Failed(problem) if report.problems.len() < most => report.problems.push(problem),
                One::Failed(_) => untold += 1,
            }
        }
        report.problems.sort();
        if untold > 0 {
            report.problems.push(format!("and {untold} functions more"));
        }
        report
    }
}

/// Adds what the platform has in the namespaces of the provider and of the functions that are known, page by page
/// until there are `most`.
async fn list(
    plugin: &Loaded,
    functions: &mut BTreeSet<FunctionRef>,
    most: usize,
    is_over: impl Fn() -> bool,
) -> Result<(), QueryError> {
    if !plugin.exports.has(Interface::Functions) {
        return Ok(());
    }
    let namespaces: BTreeSet<_> =
        plugin.shared.namespaces.iter().chain(functions.iter().map(|function| &function.namespace)).cloned().collect();
    for namespace in namespaces {
        let mut cursor: Option<String> = None;
        loop {
            if is_over() || functions.len() >= most {
                return Ok(());
            }
            let page = plugin.try_list(&namespace, cursor.as_deref(), PAGE).await?;
            // What is no name of a function cannot be asked about either.
            let names = page.functions.iter().filter_map(|status| status.deployment.service.parse().ok());
            functions.extend(names.map(|name| FunctionRef { name, namespace: namespace.clone() }));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

async fn scale_one(plugin: &Loaded, function: FunctionRef, is_over: impl Fn() -> bool) -> One {
    if is_over() {
        return One::Left;
    }
    match plugin.try_replicas(Stage::Published, &function).await.answer {
        Ok(status) if status.replicas == 0 => return One::HadNone,
        Err(error) if error.is_not_found() => return One::HadNone,
        // Whoever cannot say how many there are may still be able to set none.
        Ok(_) | Err(_) => {}
    }
    if is_over() {
        return One::Left;
    }
    match plugin.try_set(&function, 0).await {
        Ok(()) => One::Done,
        Err(error) => One::Failed(format!("{function}: {}", error.message)),
    }
}
