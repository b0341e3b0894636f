//! The table of `tests/fixtures/README.md`: every row names a guest that exists, and a test that runs it.

use std::path::Path;

/// One row. What the host does stands there in the words of the tests, so that the table cannot say anything else.
pub(super) struct Row {
    pub(super) number: String,
    /// Fixtures, or attacks of the guest `hostile`.
    pub(super) guests: Vec<String>,
    is_of_hostile: bool,
    /// What the host does.
    pub(super) within: String,
    /// What stops the attack, or why that can never be out of the way.
    limit: String,
    /// What comes of the attack where the limit is out of the way; empty where it can never be.
    pub(super) without: String,
    /// A group of these tests, or `file::function`.
    pub(super) test: String,
}

/// Guests that the tests make themselves.
const MADE: [&str; 5] = ["100-megabytes", "a-module", "cut", "bit-flipped", "at-8080"];

/// Fixtures that attack nobody, and parts of others.
const HARMLESS: [&str; 10] = [
    "counts-calls",
    "five",
    "good",
    "libc",
    "no-service-query",
    "not-found",
    "service-query",
    "slow",
    "wakes",
    "missing-function",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [number, guests, _attack, within, limit, without, test] = cells[..] else { panic!("not a row: {line}") };
    let mut guests: Vec<String> = guests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let is_of_hostile = guests.first().is_some_and(|guest| guest == "hostile");
    if is_of_hostile {
        guests.remove(0);
    }
    assert!(!guests.is_empty() && !within.is_empty(), "not a row: {line}");
    Row {
        number: number.to_owned(),
        guests,
        is_of_hostile,
        within: within.to_owned(),
        limit: limit.to_owned(),
        without: without.to_owned(),
        test: test.trim_matches('`').to_owned(),
    }
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let text = read("tests/fixtures/README.md");
    let lines = text.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    lines.map(parse).collect()
}

#[test]
fn every_row_has_a_guest_and_a_test_and_forty_have_both_halves() {
    let source = read("tests/guests/hostile/src/lib.rs");
    let (mut halves, mut guests) = (0, Vec::new());
    for (index, row) in rows().iter().enumerate() {
        assert_eq!(row.number, (index + 1).to_string(), "rows are numbered");
        assert_ne!(row.within, row.without, "row {}: it ends the same without its limit", row.number);
        let has_reason = row.limit.starts_with("none: ");
        assert!(row.without.is_empty() == has_reason, "row {}: why has it no other half?", row.number);
        for guest in &row.guests {
            let is_there = MADE.contains(&guest.as_str())
                || if row.is_of_hostile {
                    // A name that it is asked about, or a function of it.
                    source.contains(&format!("\"{guest}\""))
                        || source.contains(&format!("fn {}(", guest.replace('-', "_")))
                } else {
                    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{guest}.wat")).exists()
                };
            assert!(is_there, "row {}: there is no guest {guest:?}", row.number);
        }
        match row.test.split_once("::") {
            // Every row of a group is run by its test.
            None => {
                assert!(super::GROUPS.contains(&row.test.as_str()), "row {}: {:?}", row.number, row.test);
                halves += usize::from(!row.without.is_empty());
            }
            Some((file, function)) => {
                let text = read(file);
                assert!(text.contains(&format!("fn {function}(")), "row {}: no test {:?}", row.number, row.test);
                for guest in &row.guests {
                    let is_run = MADE.contains(&guest.as_str()) || text.contains(&format!("\"{guest}\""));
                    assert!(is_run, "row {}: {file} does not run {guest:?}", row.number);
                }
            }
        }
        guests.extend(row.guests.iter().filter(|_| !row.is_of_hostile).cloned());
    }
    assert!(halves >= 40, "only {halves} rows are run with their limit and without");
    for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_known = HARMLESS.contains(&name) || guests.iter().any(|guest| guest == name);
        assert!(is_known || path.extension().is_none_or(|kind| kind != "wat"), "{name} is in no row");
    }
}
