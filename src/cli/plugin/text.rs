//! An inspection for people. What the file's author wrote is shown without control characters, so that it cannot
//! move the cursor or colour the terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Report;
use crate::parse::show_size;
use crate::plugin::inspect::{Item, Kind, Weight};

/// The longest text of the manifest that is shown, in characters; it has more room in JSON.
const SHOWN_MAX_CHARS: usize = 300;

/// How wide the column of names gets at most.
const COLUMN_MAX: usize = 48;

pub(super) fn write(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    // Written at once: whoever reads the output through `head` sees whole lines.
    out.write_all(render(report).as_bytes())
}

fn render(report: &Report<'_>) -> String {
    let inspection = report.inspection;
    let mut page = Page::default();
    page.line(&format!("{}: a component of {}", clean(report.component), show_bytes(inspection.bytes)));
    page.line(&format!("  digest     {}", inspection.digest));
    match &inspection.manifest {
        Some(manifest) => {
            let title = format!("{} {}", manifest.name, manifest.version);
            for (key, text) in [
                ("manifest", &title),
                ("about", &manifest.description),
                ("licence", &manifest.licence),
                ("source", &manifest.source),
            ] {
                if !text.trim().is_empty() {
                    page.line(&format!("  {key:<10} {}", clean(text)));
                }
            }
        }
        None => page.line("  manifest   none: it says nothing of itself"),
    }
    let tools: Vec<String> =
        inspection.tools.iter().map(|tool| clean(&format!("{} {}", tool.name, tool.version))).collect();
    page.line(&format!("  made with  {}", if tools.is_empty() { "it does not say".into() } else { tools.join(", ") }));
    if inspection.memory > 0 {
        page.line(&format!("  memory     {} to begin with", show_bytes(inspection.memory)));
    }

    page.items("what it does", &inspection.exports, "nothing: it exports nothing");
    page.items("what it wants of the gateway", &inspection.imports, "nothing: it imports nothing");
    if let Some(manifest) = &inspection.manifest {
        let grants = manifest.grants.iter().map(|(name, purpose)| (name.as_str(), purpose.as_str()));
        page.pairs("which grants it asks for", grants);
        let keys = manifest.config.iter().map(|(name, purpose)| (name.as_str(), purpose.as_str()));
        page.pairs("which keys of its config it reads", keys);
    }
    for verdict in &report.verdicts {
        let whose = verdict.provider.as_ref().map_or("here".to_owned(), |name| format!("for provider {name}"));
        let result = if verdict.is_refused { "it would be refused" } else { "nothing speaks against loading it" };
        page.line(&format!("\n{whose}: {result}"));
        if let Some(signer) = &verdict.signer {
            let comment = verdict.signed_as.as_deref().unwrap_or_default();
            page.line(&format!("  signed   with key {}: {}", clean(signer), clean(comment)));
        }
        for finding in &verdict.findings {
            let weight = match finding.weight {
                Weight::Refused => "refused",
                Weight::Missing => "missing",
                Weight::Note => "note",
            };
            page.line(&format!("  {weight:<8} {}", clean(&finding.text)));
        }
    }
    page.0
}

/// `64KiB`, or `67.4 KB` where that is not exact.
fn show_bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) || bytes < 1000 {
        return if bytes < 1000 { format!("{bytes} bytes") } else { show_size(bytes) };
    }
    let (unit, name) = if bytes < 1_000_000 { (1000, "KB") } else { (1_000_000, "MB") };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// Without control characters, and with an end.
fn clean(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut clean: String = text.chars().take(SHOWN_MAX_CHARS).map(|c| if is_odd(c) { '?' } else { c }).collect();
    if text.chars().nth(SHOWN_MAX_CHARS).is_some() {
        clean.push_str("...");
    }
    clean
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn items(&mut self, title: &str, items: &[Item], none: &str) {
        self.line(&format!("\n{title}"));
        if items.is_empty() {
            self.line(&format!("  {none}"));
        }
        let width = items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0).min(COLUMN_MAX);
        for item in items {
            let mut line = format!("  {:<width$}  {}", clean(&item.name), item.meaning);
            if item.kind != Kind::Interface {
                let kind = match item.kind {
                    Kind::Function => " (a function)",
                    Kind::Type => " (a type)",
                    Kind::Interface | Kind::Other => "",
                };
                let _ = write!(line, "{kind}");
            }
            self.line(&line);
        }
    }

    fn pairs<'p>(&mut self, title: &str, pairs: impl Iterator<Item = (&'p str, &'p str)>) {
        let pairs: Vec<(String, String)> = pairs.map(|(name, purpose)| (clean(name), clean(purpose))).collect();
        if pairs.is_empty() {
            return;
        }
        self.line(&format!("\n{title}"));
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(COLUMN_MAX);
        for (name, purpose) in pairs {
            self.line(&format!("  {name:<width$}  {purpose}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_author_wrote_cannot_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2J\nb\u{202e}"), "a?[2J?b?");
        assert_eq!(clean(&"x".repeat(SHOWN_MAX_CHARS + 1)).len(), SHOWN_MAX_CHARS + 3);
    }

    #[test]
    fn sizes_are_round_or_have_one_digit_behind_the_point() {
        for (bytes, shown) in [(7, "7 bytes"), (65_536, "64KiB"), (67_412, "67.4 KB"), (4_250_001, "4.2 MB")] {
            assert_eq!(show_bytes(bytes), shown);
        }
    }
}
