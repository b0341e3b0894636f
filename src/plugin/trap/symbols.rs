//! Where a plugin was, from a debug file beside its component.
//!
//! `acme.debug.wasm` beside `acme.wasm` is the same component (or its core module) as it was before names and
//! DWARF were stripped. Offsets are looked up in it only for core modules whose code is the same to the byte, by
//! digest, so that a file of another build says nothing rather than something wrong. The file is read after a
//! trap, never for a call that goes well, and let go of afterwards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use addr2line::{Context, gimli};
use wasmparser::{BinaryReader, BinaryReaderError, Encoding, Name, NameSectionReader, Parser, Payload};

use super::history::{FRAMES_MAX, Frame, named};
use super::shown;
use crate::name::Digest;
use crate::plugin::fetch;
use crate::plugin::refuse::Refusal;
use crate::provider::ComponentSource;

/// Core modules of one component that are looked at.
const MODULES_MAX: usize = 64;

/// The code of a component's core modules: where it is in the component's bytes, and its digest.
#[derive(Debug, Default)]
struct Code(Vec<(Range<usize>, Digest)>);

impl Code {
    fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let modules = modules(component)?;
        Ok(Self(modules.into_iter().map(|module| (module.code, module.digest)).collect()))
    }

    /// The code that an offset is in, and how far into it: what DWARF calls an address.
    fn find(&self, offset: usize) -> Option<(Digest, u64)> {
        let (range, digest) = self.0.iter().find(|(range, _)| range.contains(&offset))?;
        Some((*digest, u64::try_from(offset - range.start).ok()?))
    }
}

/// One core module with code.
struct Module<'b> {
    code: Range<usize>,
    digest: Digest,
    /// DWARF by the names of its sections.
    dwarf: BTreeMap<&'b str, &'b [u8]>,
    names: Option<(usize, &'b [u8])>,
}

/// The core modules of a component, or the one that a file is.
fn modules(bytes: &[u8]) -> Result<Vec<Module<'_>>, BinaryReaderError> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    // What is open: the place of a module among them, or `None` for a component.
    let mut open: Vec<Option<usize>> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        // Ifs, since a match would have to name the thirty kinds that say nothing here.
        let payload = payload?;
        if let Payload::Version { encoding, .. } = &payload {
            let is_module = *encoding == Encoding::Module && modules.len() < MODULES_MAX;
            open.push(is_module.then_some(modules.len()));
            if is_module {
                modules.push(Module { code: 0..0, digest: Digest::of(&[]), dwarf: BTreeMap::new(), names: None });
            }
            continue;
        }
        let Some(module) = open.last().copied().flatten().and_then(|index| modules.get_mut(index)) else {
            if let Payload::End(_) = &payload {
                open.pop();
            }
            continue;
        };
        if let Payload::End(_) = &payload {
            open.pop();
        } else if let Payload::CodeSectionStart { range, .. } = &payload {
            module.digest = Digest::of(bytes.get(range.clone()).unwrap_or_default());
            module.code = range.clone();
        } else if let Payload::CustomSection(section) = &payload {
            if section.name() == "name" {
                module.names = Some((section.data_offset(), section.data()));
            } else if section.name().starts_with(".debug_") {
                module.dwarf.insert(section.name(), section.data());
            }
        }
    }
    modules.retain(|module| !module.code.is_empty());
    Ok(modules)
}

impl Module<'_> {
    /// The frames at an address, the innermost first; nothing where the module does not say.
    fn frames(&self, address: u64, offset: Option<usize>) -> Vec<Frame> {
        let section = |id: gimli::SectionId| -> Result<_, gimli::Error> {
            Ok(gimli::EndianSlice::new(self.dwarf.get(id.name()).copied().unwrap_or_default(), gimli::LittleEndian))
        };
        let mut frames = Vec::new();
        let context = gimli::Dwarf::load(section).and_then(Context::from_dwarf);
        let Ok(context) = context else { return frames };
        let Ok(mut found) = context.find_frames(address).skip_all_loads() else { return frames };
        while let (Ok(Some(frame)), true) = (found.next(), frames.len() < FRAMES_MAX) {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let source = frame.location.as_ref().and_then(|location| {
                let file = shown(location.file?);
                Some(location.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
            });
            let function = name.map(|name| named(&name));
            frames.push(Frame { function: function.unwrap_or_default(), source, offset, index: None });
        }
        frames
    }

    fn name(&self, function: u32) -> Option<String> {
        let (offset, data) = self.names?;
        for subsection in NameSectionReader::new(BinaryReader::new(data, offset)).map_while(Result::ok) {
            if let Name::Function(names) = subsection {
                let mut names = names.into_iter().map_while(Result::ok);
                let found = names.find(|naming| naming.index == function)?;
                return Some(named(found.name));
            }
        }
        None
    }
}

/// The debug file of one component.
#[derive(Debug)]
pub(in crate::plugin) struct Symbols {
    file: PathBuf,
    max_bytes: u64,
    code: Code,
    /// Held while the file is read: one at a time, since it may be large.
    reading: Mutex<()>,
    is_told: AtomicBool,
}

impl Symbols {
    /// Those of a component that is a file. Whether there is a debug file is looked for after a trap.
    ///
    /// # Errors
    /// The component is damaged.
    pub(in crate::plugin) fn beside(component: &Path, bytes: &[u8], max_bytes: u64) -> Result<Self, BinaryReaderError> {
        Ok(Self {
            file: component.with_extension("debug.wasm"),
            max_bytes,
            code: Code::of(bytes)?,
            reading: Mutex::default(),
            is_told: AtomicBool::new(false),
        })
    }

    /// The frames with what the file says of them; `None` if it says nothing more. Blocks.
    pub(in crate::plugin) fn resolve(&self, frames: &[Frame]) -> Option<Vec<Frame>> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match fetch::fetch_now(&ComponentSource::File(self.file.clone()), self.max_bytes) {
            Ok(bytes) => bytes,
            Err(Refusal::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return None,
            Err(refusal) => return self.is_useless(&refusal.to_string()),
        };
        let modules = match modules(&bytes) {
            Ok(modules) => modules,
            Err(error) => return self.is_useless(error.message()),
        };
        let mut is_same = false;
        let mut resolved = Vec::new();
        for frame in frames {
            let place = frame.offset.and_then(|offset| self.code.find(offset));
            let module = place.and_then(|(digest, _)| modules.iter().find(|module| module.digest == digest));
            is_same |= module.is_some();
            let mut found = match (module, place) {
                (Some(module), Some((_, address))) => module.frames(address, frame.offset),
                _ => Vec::new(),
            };
            let name = || module?.name(frame.index?);
            match found.last_mut() {
                // The outermost one is the function itself.
                Some(outermost) if outermost.function.is_empty() => {
                    outermost.function = name().unwrap_or_else(|| frame.function.clone());
                }
                Some(_) => {}
                None => {
                    found.push(Frame { function: name().unwrap_or_else(|| frame.function.clone()), ..frame.clone() });
                }
            }
            resolved.append(&mut found);
        }
        if !is_same {
            return self.is_useless("its code is not that of the component; it is of another build");
        }
        resolved.truncate(FRAMES_MAX);
        (resolved != frames).then_some(resolved)
    }

    fn is_useless(&self, problem: &str) -> Option<Vec<Frame>> {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(file = %self.file.display(), problem, "the debug file says nothing of the plugin");
        }
        None
    }
}

#[cfg(test)]
pub(in crate::plugin) mod tests;
