//! What a component is, read from its bytes: nothing of it runs, and no machine code is made.
//!
//! All of the file is validated first, so what is shown is what the engine would see; a damaged or
//! hostile file is one error. Time is in proportion to the file's size, which the caller bounds, and
//! what is kept of it is bounded here.

mod meaning;
mod verdict;

use serde::Serialize;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::{
    FuncValidatorAllocations, KnownCustom, Parser, Payload, ProducersSectionReader, ValidPayload, Validator,
    WasmFeatures,
};

use super::fetch;
use super::manifest::{Manifest, ManifestError};
use super::refuse::Refusal;
use crate::name::Digest;
use crate::provider::ComponentSource;

pub use verdict::{Finding, Weight};

/// The most imports, and the most exports, that are kept; the rest is counted. A plugin that uses the whole
/// contract and all of WASI has fewer than 60.
pub const ITEMS_MAX: usize = 256;

/// The most functions that are kept of one interface; the largest one of WASI has fewer than 80.
pub const FUNCTIONS_MAX: usize = 256;

/// The most tools that are kept.
pub const TOOLS_MAX: usize = 32;

/// The longest name or version of a tool, in characters; a longer one is cut.
pub const TOOL_MAX_CHARS: usize = 100;

/// What the engine's settings leave on. `inspects_what_the_engine_compiles` compares the two.
const FEATURES: WasmFeatures =
    WasmFeatures::WASM2.union(WasmFeatures::EXTENDED_CONST).union(WasmFeatures::COMPONENT_MODEL);

/// A component as its bytes describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Its size in bytes.
    pub bytes: u64,
    /// The digest of its bytes, as `digest` in the configuration pins it.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// What it says of itself, if it says anything.
    pub manifest: Option<Manifest>,
    /// What it offers, in its order; at most [`ITEMS_MAX`].
    pub exports: Vec<Item>,
    /// What it wants of the gateway, in its order; at most [`ITEMS_MAX`].
    pub imports: Vec<Item>,
    /// Imports and exports beyond [`ITEMS_MAX`], which are not shown.
    pub left_out: usize,
    /// What made it; at most [`TOOLS_MAX`].
    pub tools: Vec<Tool>,
    /// Bytes of the largest linear memory that it begins with.
    pub memory: u64,
}

/// One import or export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its full name, with its version.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What that means for the machine or for functions, in a sentence without a full stop.
    pub meaning: String,
    /// The functions of an interface; resources are shown as `resource NAME`. At most [`FUNCTIONS_MAX`].
    pub functions: Vec<String>,
}

/// The kind of an import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An interface: functions and types under one name.
    Interface,
    /// A single function.
    Function,
    /// A type.
    Type,
    /// A module, a component or a value.
    Other,
}

/// A tool that had a part in making the component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// `language`, `sdk` or `processed-by`.
    pub role: String,
    /// Its name, as the file has it.
    pub name: String,
    /// Its version, as the file has it.
    pub version: String,
}

impl Inspection {
    /// Reads the file, or the bundled plugin, at most `max_bytes` of it. Blocks. Answers with its bytes too.
    ///
    /// # Errors
    /// The [`Refusal`] that loading it would meet.
    pub fn of(source: &ComponentSource, max_bytes: u64) -> Result<(Self, Vec<u8>), Refusal> {
        let bytes = fetch::fetch_now(source, max_bytes)?;
        Ok((Self::read(&bytes)?, bytes))
    }

    /// Reads a component.
    ///
    /// # Errors
    /// It is not WebAssembly, a core module, damaged, or its manifest cannot be read.
    pub fn read(component: &[u8]) -> Result<Self, Refusal> {
        fetch::check_component(component)?;
        let mut inspection = Self {
            bytes: component.len() as u64,
            digest: Digest::of(component),
            manifest: Manifest::read(component).map_err(manifest_refusal)?,
            exports: Vec::new(),
            imports: Vec::new(),
            left_out: 0,
            tools: Vec::new(),
            memory: 0,
        };
        inspection.walk(component).map_err(|error| damaged(&error))?;
        Ok(inspection)
    }

    fn walk(&mut self, component: &[u8]) -> wasmparser::Result<()> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut allocations = FuncValidatorAllocations::default();
        let mut depth = 0_usize;
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            let valid = validator.payload(&payload)?;
            // Ifs, since a match would have to name the thirty kinds that say nothing here.
            if let Payload::Version { .. } = &payload {
                depth += 1;
            } else if let Payload::End(_) = &payload {
                depth = depth.saturating_sub(1);
            } else if let Payload::ComponentImportSection(section) = &payload
                && depth == 1
            {
                for import in section.clone() {
                    self.note(&mut imports, import?.name.name);
                }
            } else if let Payload::ComponentExportSection(section) = &payload
                && depth == 1
            {
                for export in section.clone() {
                    self.note(&mut exports, export?.name.name);
                }
            } else if let Payload::MemorySection(section) = &payload {
                for memory in section.clone() {
                    let memory = memory?;
                    let page = 1_u64 << memory.page_size_log2.unwrap_or(16).min(16);
                    self.memory = self.memory.max(memory.initial.saturating_mul(page));
                }
            } else if let Payload::CustomSection(section) = &payload
                && let KnownCustom::Producers(producers) = section.as_known()
            {
                self.note_tools(producers);
            }
            match valid {
                ValidPayload::Func(function, body) => {
                    let mut function = function.into_validator(std::mem::take(&mut allocations));
                    function.validate(&body)?;
                    allocations = function.into_allocations();
                }
                ValidPayload::End(types) if depth == 0 => {
                    let types = types.as_ref();
                    let item = |name: String, is_import: bool| {
                        let entity = if is_import {
                            types.component_item_for_import(&name)
                        } else {
                            types.component_item_for_export(&name)
                        };
                        item(name, entity.map(|item| item.ty), types, is_import)
                    };
                    self.imports = imports.drain(..).map(|name| item(name, true)).collect();
                    self.exports = exports.drain(..).map(|name| item(name, false)).collect();
                }
                ValidPayload::End(_) | ValidPayload::Ok | ValidPayload::Parser(_) => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, names: &mut Vec<String>, name: &str) {
        if names.len() < ITEMS_MAX {
            names.push(name.to_owned());
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// The section is a hint: what of it cannot be read is left out, and nothing depends on it.
    fn note_tools(&mut self, producers: ProducersSectionReader<'_>) {
        for field in producers.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let tool = Tool { role: field.name.to_owned(), name: cut(value.name), version: cut(value.version) };
                if self.tools.len() < TOOLS_MAX && !self.tools.contains(&tool) {
                    self.tools.push(tool);
                }
            }
        }
    }
}

fn item(
    name: String,
    entity: Option<ComponentEntityType>,
    types: wasmparser::types::TypesRef<'_>,
    is_import: bool,
) -> Item {
    let mut functions = Vec::new();
    let kind = match entity {
        Some(ComponentEntityType::Instance(id)) => {
            for (name, item) in types.get(id).into_iter().flat_map(|instance| &instance.exports) {
                match item.ty {
                    _ if functions.len() >= FUNCTIONS_MAX => break,
                    ComponentEntityType::Func(_) => functions.push(name.clone()),
                    ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(_), .. } => {
                        functions.push(format!("resource {name}"));
                    }
                    ComponentEntityType::Type { .. } => {}
                    ComponentEntityType::Module(_)
                    | ComponentEntityType::Value(_)
                    | ComponentEntityType::Instance(_)
                    | ComponentEntityType::Component(_) => functions.push(format!("part {name}")),
                }
            }
            Kind::Interface
        }
        Some(ComponentEntityType::Func(_)) => Kind::Function,
        Some(ComponentEntityType::Type { .. }) => Kind::Type,
        Some(ComponentEntityType::Module(_) | ComponentEntityType::Value(_) | ComponentEntityType::Component(_))
        | None => Kind::Other,
    };
    let meaning =
        if is_import { meaning::of_import(&name, kind, functions.is_empty()) } else { meaning::of_export(&name) };
    Item { name, kind, meaning: meaning.to_owned(), functions }
}

fn cut(text: &str) -> String {
    text.chars().take(TOOL_MAX_CHARS).collect()
}

fn manifest_refusal(error: ManifestError) -> Refusal {
    match error {
        // The manifest is found by walking all of the file, so this is where a damaged one shows first.
        ManifestError::Sections(error) => damaged(&error),
        error @ (ManifestError::TooLong(_) | ManifestError::Json(_)) => Refusal::Manifest(error),
    }
}

pub(super) fn damaged(error: &wasmparser::BinaryReaderError) -> Refusal {
    Refusal::Damaged { problem: error.message().to_owned(), offset: error.offset() as u64 }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
