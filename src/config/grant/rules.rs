//! The rules of a grant: those of its profile, and those that are listed.

use toml::de::DeValue;

use super::super::problem::chain;
use super::super::profile::{self, Profile};
use super::super::section::{Item, Section};
use super::super::value::as_text;
use crate::host::grant::{BodySpec, InvalidRule, Rule, RuleSpec};

/// The profile that a grant names.
pub(super) fn profile(section: &Section<'_>, is_default: bool) -> Option<Profile> {
    section.read("profile", |value| {
        let name = as_text(value)?;
        let profile = profile::read(name, is_default);
        profile.ok_or_else(|| format!("no such profile; there is {}", profile::names().join(", ")))
    })
}

/// The rules of a list.
pub(in super::super) fn listed(section: &Section<'_>, key: &'static str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in section.items(key) {
        match read(&item) {
            Some(Ok(rule)) => rules.push(rule),
            Some(Err(error)) => item.section.problem(chain(&error)),
            None => item.section.problem("must be \"METHOD /path\" or { method = \"...\", path = \"...\" }"),
        }
    }
    rules
}

fn read(item: &Item<'_>) -> Option<Result<Rule, InvalidRule>> {
    match item.value {
        DeValue::String(text) => Some(text.parse::<Rule>()),
        DeValue::Table(_) => Some(Rule::from_spec(&RuleSpec {
            method: item.section.text("method").unwrap_or_default().into(),
            path: item.section.text("path").unwrap_or_default().into(),
            query: item.section.pairs("query"),
            headers: item.section.pairs("headers"),
            effect: item.section.text("effect").map(str::to_owned),
            body: body(&item.section),
        })),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            None
        }
    }
}

/// `body = "none"`, or a table of places.
fn body(section: &Section<'_>) -> Option<BodySpec> {
    if section.is_text("body") {
        return section.choice("body", &[("none", ())]).map(|()| BodySpec { is_none: true, ..BodySpec::default() });
    }
    let body = section.section("body");
    let spec = BodySpec {
        is_none: false,
        only: body.texts("only"),
        forbid: body.texts("forbid"),
        require: body.texts("require"),
        unchanged: body.text("unchanged").map(str::to_owned),
        except: body.texts("except"),
    };
    body.is_present().then_some(spec)
}
