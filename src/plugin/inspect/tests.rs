use super::meaning::{IMPORTS, Offer};
use super::*;
use crate::metrics::Registry;
use crate::plugin::{Plugins, builtin, fixtures};

const MAX: u64 = 64 << 20;

fn inspect(text: &str) -> Inspection {
    Inspection::read(&wat::parse_str(text).unwrap()).unwrap()
}

fn refused(inspection: &Inspection) -> String {
    let refused = inspection.findings(None).into_iter().filter(|finding| finding.weight == Weight::Refused);
    refused.map(|finding| finding.text).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_bundled_plugins_are_shown_as_they_are() {
    for name in builtin::names() {
        let inspection = Inspection::of(&ComponentSource::Builtin(name.into()), MAX).unwrap().0;
        assert_eq!(inspection.manifest.as_ref().unwrap().name, name);
        let query = &inspection.exports.iter().find(|export| export.name.contains("service-query")).unwrap();
        assert_eq!(query.functions, ["get-replicas", "set-replicas"]);
        assert!(inspection.tools.iter().any(|tool| tool.name == "wit-bindgen-rust"), "{:?}", inspection.tools);
        assert!(inspection.memory > 0);
        assert_eq!(refused(&inspection), "");
        for item in inspection.imports.iter().chain(&inspection.exports) {
            assert!(!item.meaning.contains("unknown"), "{name}: {item:?}");
        }
    }
    let local = Inspection::of(&ComponentSource::Builtin("local".into()), MAX).unwrap().0;
    assert!(local.imports.iter().any(|import| import.meaning.contains("starts processes")));
}

#[test]
fn what_no_gateway_has_is_refused_by_name() {
    let unknown = Inspection::read(&fixtures::component("unknown-import")).unwrap();
    assert!(refused(&unknown).contains("acme:host/secrets@1.0.0"), "{}", refused(&unknown));
    let other = inspect("(component (import \"wasi:io/poll@0.3.0\" (instance (export \"f\" (func)))))");
    assert_eq!(other.imports[0].meaning, "this gateway has another version of it");
    assert!(refused(&other).contains("wasi:io/poll@0.3.0"));
    assert!(refused(&other).contains("does not export \"wicketgate:provider/service-query@0.1.0\""));
    // A patch of the same track is served, a candidate of a release is on no track.
    for (version, is_served) in [("0.2.99", true), ("0.2.0-rc.1", false), ("0.2.", false), ("0.1.0", false)] {
        assert_eq!(meaning::offer(&format!("wasi:io/poll@{version}")), is_served.then_some(Offer::Always), "{version}");
    }
    let function = inspect("(component (import \"help\" (func)))");
    assert_eq!(
        (function.imports[0].kind, function.imports[0].meaning.as_str()),
        (Kind::Function, "unknown: no gateway has it")
    );
    assert!(refused(&function).contains("\"help\""));
}

#[test]
fn an_import_that_has_only_types_is_refused_by_nobody() {
    let types = inspect(
        "(component (import \"acme:a/types@1.0.0\" (instance (type $r' (record (field \"a\" u8))) (export \"r\" (type (eq $r'))))))",
    );
    assert_eq!(types.imports[0].meaning, "shares types; does nothing");
    assert!(!refused(&types).contains("acme:a/types"));
}

/// The first resource or function of an interface of the contract, as an export of an instance.
fn first_item(name: &str) -> String {
    let (package, interface) = name.split_once('/').unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/deps").join(package.replace(':', "-"));
    let files = std::fs::read_dir(folder).unwrap();
    let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let (_, body) = text.split_once(&format!("interface {interface} {{")).unwrap();
    let line = |line: &str| {
        let words = line.trim().trim_start_matches('%');
        let name = |text: &str| text.split([' ', ';', '{', ':']).next().unwrap().to_owned();
        match words.strip_prefix("resource ") {
            Some(rest) => Some(format!("(export \"{}\" (type (sub resource)))", name(rest))),
            None if words.contains(": func") => Some(format!("(export \"{}\" (func))", name(words))),
            None => None,
        }
    };
    body.lines().find_map(line).unwrap()
}

#[test]
fn the_linker_has_every_import_of_the_table_and_on_that_track() {
    let plugins = Plugins::new(&crate::plugin::EngineConfig::default(), &Registry::new(), None).unwrap();
    for (name, track, ..) in IMPORTS.iter().filter(|(name, ..)| !name.starts_with("wicketgate:provider/")) {
        let item = first_item(name);
        let is_missing = |name: &str| {
            let component = wat::parse_str(format!("(component (import \"{name}\" (instance {item})))")).unwrap();
            plugins.link_problem(&component).contains("implementation is missing")
        };
        assert!(!is_missing(&format!("{name}@{track}0")), "{name}: {item}");
        assert!(is_missing(&format!("{name}@9.9.9")), "{name}: {item}");
    }
}

#[test]
fn it_inspects_what_the_engine_compiles() {
    let plugins = Plugins::new(&crate::plugin::EngineConfig::default(), &Registry::new(), None).unwrap();
    let modules = [
        ("(module)", true),
        ("(module (memory 1) (memory 1))", false),
        ("(module (memory i64 1))", false),
        ("(module (func $f return_call $f))", false),
        ("(module (func (param v128) (result v128) local.get 0))", true),
        ("(module (func (result v128) v128.const i64x2 0 0 v128.const i64x2 0 0 i8x16.relaxed_swizzle))", false),
        ("(module (memory 1 1 shared))", false),
        ("(module (type (struct)))", false),
        ("(module (tag))", false),
        ("(module (global i32 (i32.add (i32.const 1) (i32.const 2))))", true),
        ("(module (func (result i32) i64.const 0))", false),
    ];
    for (module, is_valid) in modules {
        let component = wat::parse_str(format!("(component (core {})", module.replacen('(', "", 1))).unwrap();
        assert_eq!(Inspection::read(&component).is_ok(), is_valid, "{module}");
        assert_eq!(plugins.compiles(&component), is_valid, "{module}: the engine thinks otherwise");
    }
}

#[test]
fn hostile_files_are_one_error() {
    let good = builtin_bytes();
    assert!(matches!(Inspection::read(b""), Err(Refusal::NotWasm)));
    assert!(matches!(Inspection::read(&wat::parse_str("(module)").unwrap()), Err(Refusal::CoreModule)));
    // Every truncation of the beginning, where the structure is, and some of the rest. What ends between two
    // sections is a component too, one that lacks the rest.
    let (all, mut whole) = (Inspection::read(&good).unwrap(), 0);
    for length in (8..2048).chain((2048..good.len()).step_by(1013)) {
        match Inspection::read(&good[..length]) {
            Ok(cut) => {
                assert!(cut.exports.len() < all.exports.len(), "{length}");
                whole += 1;
            }
            Err(Refusal::Damaged { offset, .. }) => assert!(offset <= length as u64),
            Err(other) => panic!("{length}: {other}"),
        }
    }
    assert!(whole < 64, "{whole} truncations were not noticed");
    for nested in [100, 10_000] {
        let text = format!("{}{}", "(component ".repeat(nested), ")".repeat(nested));
        // The text's parser has a limit of its own: bytes are made where it gives up.
        let bytes = wat::parse_str(text).unwrap_or_else(|_| nest(nested));
        let _either = Inspection::read(&bytes);
    }
    let many = (0..ITEMS_MAX + 7).map(|n| format!("(import \"i{n}\" (func))")).collect::<String>();
    let many = inspect(&format!("(component {many})"));
    assert_eq!((many.imports.len(), many.left_out), (ITEMS_MAX, 7));
}

/// A component in a component in a component.
fn nest(depth: usize) -> Vec<u8> {
    let header = b"\0asm\x0d\0\x01\0";
    let mut bytes = header.to_vec();
    for _ in 1..depth {
        let mut outer = header.to_vec();
        outer.push(4);
        let mut length = bytes.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn a_file_beyond_the_bound_is_not_read_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.wasm");
    // Sparse: it has 100 MB and takes none.
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    assert!(matches!(Inspection::of(&ComponentSource::File(path), MAX), Err(Refusal::TooLarge { max_bytes: MAX })));
}

#[test]
fn tools_are_read_from_every_module_and_bounded() {
    let module = |name: &str| format!("(core module (@producers (processed-by \"{name}\" \"1.0\")))");
    let long = "x".repeat(TOOL_MAX_CHARS + 1);
    let tools = inspect(&format!("(component {}{}{})", module("one"), module("one"), module(&long))).tools;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["one", &"x".repeat(TOOL_MAX_CHARS)]);
}

fn builtin_bytes() -> Vec<u8> {
    builtin::find(builtin::names().next().unwrap()).unwrap().to_vec()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn flipped_bits_never_panic(flips in proptest::collection::vec((0..usize::MAX, 0..8_u8), 1..8)) {
        let mut bytes = fixtures::component("good");
        for (at, bit) in flips {
            let at = 8 + at % (bytes.len() - 8);
            bytes[at] ^= 1 << bit;
        }
        if let Ok(inspection) = Inspection::read(&bytes) {
            let _findings = inspection.findings(None);
        }
    }
}
