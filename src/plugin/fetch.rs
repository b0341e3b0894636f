//! Where a component's bytes come from, and whether they are a component at all.

use std::io::Read;
use std::path::Path;

use wasmparser::Parser;

use super::builtin;
use super::refuse::Refusal;
use crate::provider::ComponentSource;

/// Reads a component, at most `max_bytes` of it.
pub(super) async fn fetch(source: &ComponentSource, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let source = source.clone();
    let fetch = move || fetch_now(&source, max_bytes);
    tokio::task::spawn_blocking(fetch).await.map_err(|_panicked| Refusal::CompilerPanicked)?
}

/// The same for who may block.
pub(super) fn fetch_now(source: &ComponentSource, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let bytes = match source {
        ComponentSource::Builtin(name) => builtin::find(name)?.to_vec(),
        ComponentSource::File(path) => read(path, max_bytes)?,
    };
    if bytes.len() as u64 > max_bytes { Err(Refusal::TooLarge { max_bytes }) } else { Ok(bytes) }
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let failed = |source| Refusal::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    // A directory, a pipe or a device would fail later, or never end.
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Refuses what is not a component, each in words that help.
pub(super) fn check_component(bytes: &[u8]) -> Result<(), Refusal> {
    if Parser::is_component(bytes) {
        Ok(())
    } else if Parser::is_core_wasm(bytes) {
        Err(Refusal::CoreModule)
    } else {
        Err(Refusal::NotWasm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_component_is_told_apart() {
        assert!(check_component(&wat::parse_str("(component)").unwrap()).is_ok());
        assert!(matches!(check_component(&wat::parse_str("(module)").unwrap()), Err(Refusal::CoreModule)));
        assert!(matches!(check_component(b"#!/bin/sh"), Err(Refusal::NotWasm)));
        assert!(matches!(check_component(b""), Err(Refusal::NotWasm)));
    }

    #[tokio::test]
    async fn files_are_bounded_and_must_be_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin.wasm");
        std::fs::write(&path, [0; 100]).unwrap();
        let file = ComponentSource::File(path);
        assert_eq!(fetch(&file, 100).await.unwrap().len(), 100);
        assert!(matches!(fetch(&file, 99).await, Err(Refusal::TooLarge { max_bytes: 99 })));
        let directory = ComponentSource::File(directory.path().to_owned());
        assert!(matches!(fetch(&directory, 99).await, Err(Refusal::Read { .. })));
    }

    #[tokio::test]
    async fn an_unknown_builtin_names_those_that_there_are() {
        let unknown = ComponentSource::Builtin("no-such".into());
        let Err(refusal) = fetch(&unknown, 99).await else { panic!("found") };
        assert!(refusal.to_string().contains("builtin:no-such"), "{refusal}");
    }
}
