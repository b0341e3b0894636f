use std::convert::Infallible;

use gimli::write::{Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections};

use super::*;
use crate::plugin::fixtures::component;

/// Length of a section, as a file has it (LEB128).
fn length(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        out.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return;
        }
    }
}

fn read_length(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// A module or component without its custom sections, and each core module in it with others in their place.
pub(in crate::plugin) fn with_custom_sections(bytes: &[u8], added: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (head, mut rest) = bytes.split_at(8);
    let is_module = Parser::is_core_wasm(bytes);
    let mut out = head.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        let size = read_length(&mut rest);
        let (section, after) = rest.split_at(size);
        rest = after;
        let section = match (id, is_module) {
            (0, _) => continue,
            // A core module in a component.
            (1, false) => with_custom_sections(section, added),
            _ => section.to_vec(),
        };
        out.push(id);
        length(section.len(), &mut out);
        out.extend(section);
    }
    for (name, data) in added.iter().filter(|_| is_module) {
        let mut section = Vec::new();
        length(name.len(), &mut section);
        section.extend(name.as_bytes());
        section.extend(data);
        out.push(0);
        length(section.len(), &mut out);
        out.extend(section);
    }
    out
}

/// DWARF that says of all code that it is line 7 of `src/find.rs`, in the function `_ZN4acme4find17h0123456789abcdefE`.
pub(in crate::plugin) fn dwarf() -> Vec<(String, Vec<u8>)> {
    // The first byte of a code section is the number of its functions.
    let (low, length) = (Address::Constant(1), 4096);
    let encoding = gimli::Encoding { format: gimli::Format::Dwarf32, version: 4, address_size: 4 };
    let text = |text: &str| LineString::String(text.as_bytes().to_vec());
    let mut program =
        LineProgram::new(encoding, gimli::LineEncoding::default(), text("src"), None, text("find.rs"), None);
    let directory = program.default_directory();
    let file = program.add_file(text("find.rs"), directory, None);
    program.begin_sequence(Some(low));
    program.row().file = file;
    program.row().line = 7;
    program.generate_row();
    program.end_sequence(length);
    let mut unit = DwarfUnit::new(encoding);
    unit.unit.line_program = program;
    let root = unit.unit.root();
    let function = unit.unit.add(root, gimli::DW_TAG_subprogram);
    for (entry, name) in [(root, "find.rs"), (function, "_ZN4acme4find17h0123456789abcdefE")] {
        let entry = unit.unit.get_mut(entry);
        entry.set(gimli::DW_AT_name, AttributeValue::String(name.as_bytes().to_vec()));
        entry.set(gimli::DW_AT_low_pc, AttributeValue::Address(low));
        entry.set(gimli::DW_AT_high_pc, AttributeValue::Udata(length));
    }
    unit.unit.get_mut(root).set(gimli::DW_AT_comp_dir, AttributeValue::String(b"src".to_vec()));
    let mut sections = Sections::new(EndianVec::new(gimli::LittleEndian));
    unit.write(&mut sections).unwrap();
    let mut written = Vec::new();
    let each = sections.for_each(|id, data| {
        if !data.slice().is_empty() {
            written.push((id.name().to_owned(), data.slice().to_vec()));
        }
        Ok::<_, Infallible>(())
    });
    each.unwrap();
    written
}

/// A stripped component, its file's place, and a frame within its code.
fn stripped(folder: &Path) -> (Symbols, Vec<Frame>) {
    let bytes = with_custom_sections(&component("deep-trap"), &[]);
    let symbols = Symbols::beside(&folder.join("acme.wasm"), &bytes, 1 << 20).unwrap();
    let whole = component("deep-trap");
    let is_guest = |module: &Module<'_>| module.name(0).as_deref() == Some("find_service");
    let guest = modules(&whole).unwrap().iter().position(is_guest).unwrap();
    // Behind the number of functions, the length of the first and the number of its locals.
    let offset = symbols.code.0[guest].0.start + 3;
    let frame = Frame { function: "function 0".into(), source: None, offset: Some(offset), index: Some(0) };
    (symbols, vec![frame])
}

fn texts(frames: Option<Vec<Frame>>) -> Vec<String> {
    frames.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_debug_file_says_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (symbols, frames) = stripped(folder.path());
    assert_eq!(symbols.resolve(&frames), None, "there is none");
    let file = folder.path().join("acme.debug.wasm");

    // Names and no DWARF.
    std::fs::write(&file, component("deep-trap")).unwrap();
    assert_eq!(texts(symbols.resolve(&frames)), ["find_service"]);

    std::fs::write(&file, with_custom_sections(&component("deep-trap"), &dwarf())).unwrap();
    let resolved = texts(symbols.resolve(&frames));
    assert_eq!(resolved.len(), 1);
    assert!(resolved[0].starts_with("acme::find at ") && resolved[0].ends_with("find.rs:7"), "{resolved:?}");
}

#[test]
fn a_file_that_does_not_fit_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (symbols, frames) = stripped(folder.path());
    let file = folder.path().join("acme.debug.wasm");
    let whole = with_custom_sections(&component("deep-trap"), &dwarf());
    let broken: Vec<(String, Vec<u8>)> =
        dwarf().into_iter().map(|(name, data)| (name, vec![0xff; data.len()])).collect();
    for (bytes, why) in [
        (component("good"), "another build"),
        (whole[..whole.len() / 2].to_vec(), "cut"),
        (b"hello".to_vec(), "no WebAssembly"),
        (vec![0; (1 << 20) + 1], "too large"),
        (with_custom_sections(&component("deep-trap"), &broken), "damaged DWARF"),
        (with_custom_sections(&component("deep-trap"), &[("name".to_owned(), vec![0xff; 9])]), "damaged names"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(symbols.resolve(&frames), None, "{why}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(symbols.resolve(&frames), None, "a directory");
    let beyond =
        vec![Frame { offset: Some(usize::MAX), ..frames[0].clone() }, Frame { offset: None, ..frames[0].clone() }];
    assert_eq!(symbols.resolve(&beyond), None);
}
