//! Answers of the admin socket as tables for people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::plugin::Detected;

/// Characters of a digest that are shown in a table.
const DIGEST_CHARS: usize = 19;

/// Characters of what a plugin says of a grant.
const DECLARED_CHARS: usize = 200;

/// Changes that `show` has of the history.
const CHANGES_SHOWN: usize = 5;

/// Lines with columns as wide as their widest cell.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value as a person would write it; `-` for none.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.chars().filter(|character| !character.is_control()).collect(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn digest(value: &Value) -> String {
    cell(value).chars().take(DIGEST_CHARS).collect()
}

fn namespaces(provider: &Value) -> String {
    match (cell(&provider["namespaces"]), provider["default"].as_bool()) {
        (none, Some(true)) if none == "-" => "every other".into(),
        (some, Some(true)) => format!("{some}, every other"),
        (some, _) => some,
    }
}

/// All providers.
pub(super) fn list(body: &Value) -> String {
    let row = |provider: &Value| {
        let mut state = cell(&provider["state"]);
        if let Some(step) = provider["changing"].as_str() {
            let _ = write!(state, " ({step})");
        }
        vec![
            cell(&provider["name"]),
            state,
            cell(&provider["generation"]),
            cell(&provider["component"]),
            digest(&provider["digest"]),
            namespaces(provider),
        ]
    };
    let rows: Vec<_> = body.as_array().into_iter().flatten().map(row).collect();
    let mut text = table(&["NAME", "STATE", "GENERATION", "COMPONENT", "DIGEST", "NAMESPACES"], &rows);
    for provider in body.as_array().into_iter().flatten() {
        if let Some(reason) = provider["reason"].as_str() {
            let _ = writeln!(text, "\n{}: {}", cell(&provider["name"]), cell(&Value::from(reason)));
        }
    }
    text
}

/// Everything about one.
pub(super) fn detail(body: &Value, now: SystemTime) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("name", cell(&body["name"]));
    line("state", cell(&body["state"]));
    if !body["reason"].is_null() {
        line("reason", cell(&body["reason"]));
    }
    line("generation", cell(&body["generation"]));
    line("before", cell(&body["previous"]));
    if !body["canary"].is_null() {
        let canary = &body["canary"];
        line(
            "canary",
            format!("generation {} on {} % of the functions", cell(&canary["generation"]), cell(&canary["share"])),
        );
    }
    line("component", cell(&body["component"]));
    line("digest", cell(&body["digest"]));
    let manifest = &body["manifest"];
    line("plugin", format!("{} {}", cell(&manifest["name"]), cell(&manifest["version"])));
    line("description", cell(&manifest["description"]));
    line("loaded", ago(&body["loaded_ms"], now));
    line("interfaces", cell(&body["interfaces"]));
    line("namespaces", namespaces(body));
    for (name, grant) in body["grants"].as_object().into_iter().flatten() {
        text.push_str(&columns(name, grant));
    }
    text.push_str(&host(&body["host"]));
    text.push('\n');
    text.push_str(&changes(body, now, CHANGES_SHOWN));
    text.push_str(&traps(body, now));
    text
}

/// One grant in four columns.
pub(in crate::cli) fn columns(name: &str, grant: &Value) -> String {
    let mut text = format!("\ngrant {}\n", cell(&Value::from(name)));
    let connect = cell(&grant["connect"]);
    let detected = match grant["detected"].as_str() {
        Some("named") => Detected::Named.meaning(),
        Some("no-requests") => Detected::NoRequests.meaning(),
        _ => Detected::Possible.meaning(),
    };
    let declared = match grant["declared"].as_str() {
        Some(_) => cell(&grant["declared"]).chars().take(DECLARED_CHARS).collect(),
        None => "the plugin does not ask for it".to_owned(),
    };
    let to = if grant["connect"].is_null() { String::new() } else { format!("to {connect}") };
    let rules = |key: &str| grant[key].as_array().into_iter().flatten().map(cell).collect::<Vec<_>>();
    let granted = Some(to).filter(|to| !to.is_empty()).into_iter().chain(rules("rules")).collect();
    for (title, rows) in [
        ("declared", vec![declared]),
        ("detected", vec![detected.to_owned()]),
        ("granted", granted),
        ("used", rules("used")),
    ] {
        let first = rows.first().map_or("nothing", String::as_str);
        let _ = writeln!(text, "  {title:<9} {first}");
        for row in rows.iter().skip(1) {
            let _ = writeln!(text, "  {:<9} {row}", "");
        }
    }
    text
}

/// The host's own interfaces.
pub(in crate::cli) fn host(interfaces: &Value) -> String {
    let row = |(name, columns): (&String, &Value)| {
        let word = |key: &str, yes: &str| if columns[key] == true { yes.to_owned() } else { "-".to_owned() };
        vec![
            cell(&Value::from(name.as_str())),
            word("detected", "imported"),
            word("granted", "yes"),
            cell(&columns["used"]),
        ]
    };
    let rows: Vec<_> = interfaces.as_object().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        format!("\n{}", table(&["HOST", "DETECTED", "GRANTED", "USED"], &rows))
    }
}

/// The calls that the plugin did not survive: when, for whom, what it had used, and where it was.
fn traps(body: &Value, now: SystemTime) -> String {
    let mut text = String::new();
    for trap in body["traps"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "\ntrap {}, generation {}: {} of {} for call {}: {}",
            ago(&trap["at_ms"], now),
            cell(&trap["generation"]),
            cell(&trap["interface"]),
            cell(&trap["function"]),
            cell(&trap["call_id"]),
            cell(&trap["message"]),
        );
        let _ = writeln!(
            text,
            "  used {} us of processor time in {} us, {} bytes of memory",
            cell(&trap["cpu_us"]),
            cell(&trap["wall_us"]),
            cell(&trap["memory"]),
        );
        let _ = writeln!(
            text,
            "  {} requests ({} bytes sent, {} read), {} handles, {} log lines",
            cell(&trap["requests"]),
            cell(&trap["request_bytes"]),
            cell(&trap["response_bytes"]),
            cell(&trap["handles"]),
            cell(&trap["log_lines"]),
        );
        for frame in trap["frames"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  in {} {}", cell(&frame["function"]), cell(&frame["source"]).trim_matches('-'));
        }
    }
    text
}

/// The last changes of one provider.
pub(super) fn history(body: &Value, now: SystemTime) -> String {
    changes(body, now, usize::MAX)
}

fn changes(body: &Value, now: SystemTime, most: usize) -> String {
    let all = body["history"].as_array();
    let shown: Vec<&Value> = all.into_iter().flatten().take(most).collect();
    let row = |change: &&Value| {
        vec![
            cell(&change["number"]),
            ago(&change["began_ms"], now),
            cell(&change["kind"]),
            by(change),
            digest(&change["digest"]),
            cell(&change["generation"]),
            change["outcome"].as_str().map_or_else(|| "under way".into(), str::to_owned),
            change["took_ms"].as_u64().map_or_else(|| "-".into(), |took| format!("{took} ms")),
        ]
    };
    let rows: Vec<_> = shown.iter().map(row).collect();
    let mut text = table(&["CHANGE", "WHEN", "WHAT", "BY", "DIGEST", "GENERATION", "OUTCOME", "TOOK"], &rows);
    for change in shown {
        let number = cell(&change["number"]);
        if let Some(reason) = change["reason"].as_str() {
            let at = change["at"].as_str().map_or_else(String::new, |at| format!(" at step {at}"));
            let _ =
                writeln!(text, "\nchange {number}, {}{at}: {}", cell(&change["outcome"]), cell(&Value::from(reason)));
        }
        if let Some(shadow) = shadow(&change["shadow"]) {
            let _ = writeln!(text, "\nchange {number}, shadow: {shadow}");
        }
        for finding in change["findings"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "\nchange {number}: {}", cell(finding));
        }
    }
    text
}

fn by(change: &Value) -> String {
    match change["uid"].as_u64() {
        Some(uid) => format!("{} (uid {uid})", cell(&change["by"])),
        None => cell(&change["by"]),
    }
}

/// One change that just ended.
pub(super) fn change(body: &Value) -> String {
    let (name, took) = (cell(&body["provider"]), cell(&body["took_ms"]));
    let (digest, generation) = (cell(&body["digest"]), cell(&body["generation"]));
    let mut text = match body["outcome"].as_str().unwrap_or_default() {
        "published" => format!("{name}: generation {generation} serves ({digest}), after {took} ms\n"),
        "ready" => format!("{name}: {digest} passed every step and was not published, after {took} ms\n"),
        "rolled-back" => format!("{name}: rolled back, generation {generation} serves ({digest}), after {took} ms\n"),
        "removed" => format!("{name}: removed\n"),
        other => format!("{name}: {other}\n"),
    };
    if body["component"] == "uploaded" && body["outcome"] == "published" {
        text.push_str("the next start loads what the configuration names; put the file there to keep it\n");
    }
    let steps: Vec<String> = body["steps"].as_array().into_iter().flatten().map(|step| cell(&step["step"])).collect();
    if !steps.is_empty() {
        let _ = writeln!(text, "steps: {}", steps.join(", "));
    }
    if let Some(shadow) = shadow(&body["shadow"]) {
        let _ = writeln!(text, "shadow: {shadow}");
    }
    for finding in body["findings"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "note: {}", cell(finding));
    }
    text
}

/// What trying a candidate showed, in a line; differences are in the reason of a refusal.
fn shadow(report: &Value) -> Option<String> {
    let asked = report["asked"].as_u64()?;
    let of = if report["is_same_platform"] == true { "the same platform" } else { "another platform" };
    let mut text = format!("asked about {asked} functions of {of}");
    for (field, word) in [
        ("differences", "differences"),
        ("missing", "functions missing"),
        ("to_warm", "functions without an instance there"),
    ] {
        let count = report[field].as_array().map_or(0, Vec::len);
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    if let Some(unknown) = report["not_compared"].as_u64().filter(|unknown| *unknown > 0) {
        let _ = write!(text, ", {unknown} not compared");
    }
    Some(text)
}

/// What was accepted into the lock.
pub(super) fn acceptance(body: &Value) -> String {
    let mut text = String::new();
    for difference in body["accepted"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "accepted: {}", cell(difference));
    }
    let (name, digest) = (cell(&body["provider"]), cell(&body["digest"]));
    let _ =
        writeln!(text, "{name}: {digest}, which was refused, is written into the lock; ask for the change once more");
    text
}

/// A moment, as the time since.
fn ago(ms: &Value, now: SystemTime) -> String {
    let Some(then) = ms.as_u64() else { return "-".into() };
    let since = now.duration_since(UNIX_EPOCH + Duration::from_millis(then)).unwrap_or_default().as_secs();
    match since {
        0..60 => format!("{since} s ago"),
        60..3600 => format!("{} min ago", since / 60),
        3600..86_400 => format!("{} h ago", since / 3600),
        _ => format!("{} d ago", since / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_hides_control_characters() {
        let body = json!([
            { "name": "edge", "state": "active", "generation": 7, "component": "builtin:docker",
              "digest": "sha256:0123456789abcdef0123", "namespaces": ["dev", "prod"], "default": true },
            { "name": "b", "state": "failed", "generation": 0, "component": "x\u{1b}[31m.wasm",
              "digest": null, "namespaces": [], "default": false, "reason": "no such file" },
        ]);
        let text = list(&body);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME  STATE   GENERATION  COMPONENT       DIGEST               NAMESPACES");
        assert_eq!(lines[1], "edge  active  7           builtin:docker  sha256:0123456789ab  dev, prod, every other");
        assert_eq!(lines[2], "b     failed  0           x[31m.wasm      -                    -");
        assert_eq!(lines[4], "b: no such file");
    }

    #[test]
    fn a_history_says_who_what_and_why_not() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let body = json!({ "history": [{
            "number": 3, "kind": "swap", "by": "admin", "uid": 0, "digest": null, "generation": null,
            "began_ms": 9_880_000, "took_ms": 12, "outcome": "refused", "at": "linked", "reason": "no such import",
            "shadow": { "is_same_platform": false, "asked": 3, "not_compared": 1, "differences": [],
                        "missing": ["a.b"], "to_warm": [] },
        }] });
        let text = history(&body, now);
        assert!(text.contains("3       2 min ago  swap  admin (uid 0)"), "{text}");
        assert!(text.contains("change 3, refused at step linked: no such import"), "{text}");
        let shadow =
            "change 3, shadow: asked about 3 functions of another platform, 1 functions missing, 1 not compared";
        assert!(text.contains(shadow), "{text}");
    }

    #[test]
    fn a_grant_has_four_columns() {
        let grant = json!({
            "declared": "the API\u{1b}[31m", "detected": "named", "connect": "unix:/run/api.sock",
            "rules": ["GET /a", "GET /b"], "used": [],
        });
        assert_eq!(
            columns("api", &grant),
            "\ngrant api\n  declared  the API[31m\n  detected  its bytes name it\n  granted   to unix:/run/api.sock\n            \
             GET /a\n            GET /b\n  used      nothing\n"
        );
        let none = json!({ "declared": null, "detected": "possible", "connect": null, "rules": [], "used": [] });
        let text = columns("api", &none);
        for part in ["does not ask for it", "but it sends requests", "granted   nothing"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_hosts_interfaces_are_a_table() {
        let interfaces = json!({
            "log": { "detected": true, "granted": true, "used": ["write"] },
            "processes": { "detected": false, "granted": false, "used": [] },
        });
        let text = host(&interfaces);
        assert!(text.contains("log        imported  yes      write"), "{text}");
        assert!(text.contains("processes  -         -        -"), "{text}");
        assert_eq!(host(&Value::Null), "");
    }

    #[test]
    fn a_trap_is_told_with_its_call_and_its_frames() {
        let body = json!({ "traps": [{
            "at_ms": 9_880_000, "generation": 3, "interface": "service-query", "function": "figlet.dev", "call_id": "call-7",
            "message": "the plugin trapped", "cpu_us": 12, "wall_us": 15, "memory": 65536,
            "requests": 2, "request_bytes": 10, "response_bytes": 300, "handles": 1, "log_lines": 4,
            "frames": [{ "function": "find_service", "source": "src/lib.rs:7", "offset": 1 }],
        }] });
        let text = traps(&body, UNIX_EPOCH + Duration::from_secs(10_000));
        for part in [
            "2 min ago, generation 3: service-query of figlet.dev for call call-7",
            "used 12 us",
            "2 requests (10 bytes sent, 300 read), 1 handles, 4 log lines",
            "in find_service src/lib.rs:7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn times_are_short() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (secs, shown) in
            [(999_990, "10 s ago"), (999_000, "16 min ago"), (900_000, "1 d ago"), (2_000_000, "0 s ago")]
        {
            assert_eq!(ago(&json!(secs * 1000), now), shown);
        }
        assert_eq!(ago(&Value::Null, now), "-");
    }
}
