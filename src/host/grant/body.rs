//! What a rule demands of a request's body.
//!
//! ```text
//! body = "none"
//! body = { only = ["/desiredCount", "/cluster=edge"], require = ["/cluster"] }
//! body = { forbid = ["/HostConfig/Binds", "/HostConfig/NetworkMode=host"] }
//! body = { unchanged = "/Spec", except = ["/Mode/Replicated/Replicas"] }
//! ```
//!
//! Places are JSON pointers (RFC 6901) in which a segment `*` is any key or index, with `=PATTERN`
//! behind them where the value matters. Keys are compared without regard to case and all of two
//! equal ones are looked at, since that is how servers written in Go read them; what `require` names
//! has to stand there once and as it is written, so that every server reads the same. What is no JSON,
//! or longer than the grant's `buffered-bytes`, never passes.

mod json;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use json::{Json, folded, is_same_key};

use super::pattern::{InvalidPattern, Pattern};
use crate::name::Namespace;

/// The most places of one list.
pub const PLACES_MAX: usize = 256;

/// The long form, as it stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodySpec {
    /// `body = "none"`: there must be none. Excludes the rest.
    pub is_none: bool,
    /// `only`: nothing may stand elsewhere. Empty: anything may.
    pub only: Vec<String>,
    /// `forbid`: nothing may stand there but what says nothing: `null`, `false`, 0, `""`, `[]`, `{}`.
    pub forbid: Vec<String>,
    /// `require`: something must stand there, under keys that are written exactly so and are there once.
    pub require: Vec<String>,
    /// `unchanged`: the body must equal what the platform holds now, at this place of the answer to a
    /// GET of the path without its last segment; `""` is all of it.
    pub unchanged: Option<String>,
    /// `except`: with `unchanged`, where it may differ.
    pub except: Vec<String>,
}

/// The demands, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// There is no body.
    None,
    /// It is JSON of this form.
    Json(Box<JsonRule>),
}

/// The form of a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRule {
    only: Vec<Place>,
    forbid: Vec<Place>,
    require: Vec<Place>,
    unchanged: Option<Place>,
    except: Vec<Place>,
}

/// Why a text is no demand of a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBody {
    /// No JSON pointer.
    #[error("{0:?} is no place in a body; write a JSON pointer such as \"/HostConfig/Binds\", in ASCII")]
    Place(String),
    /// A pattern where none can stand.
    #[error("{0:?} has a pattern, but `{1}` names places only")]
    NoPattern(String, &'static str),
    /// No pattern.
    #[error("{text:?} is not a pattern")]
    Pattern {
        /// What was written.
        text: String,
        /// What is wrong with it.
        source: InvalidPattern,
    },
    /// It demands nothing.
    #[error("a body without demands; write body = \"none\", or at least one of only, forbid, require and unchanged")]
    Empty,
    /// `except` alone.
    #[error("`except` says where a body may differ; write `unchanged` beside it")]
    ExceptAlone,
    /// More than [`PLACES_MAX`].
    #[error("`{0}` has more than {PLACES_MAX} places")]
    TooMany(&'static str),
}

/// Why a body does not pass. Names places, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// There is one.
    #[error("it must have no body")]
    NotEmpty,
    /// It is no JSON.
    #[error("its body is not one JSON value (line {line}, column {column})")]
    NotJson {
        /// Line of the mistake, from 1.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// Something stands where nothing may.
    #[error("its body has {0:?}, which is forbidden")]
    Forbidden(String),
    /// Something stands outside of `only`.
    #[error("its body has {0:?}, which `only` does not list, or not with this value")]
    NotListed(String),
    /// Something is missing.
    #[error("its body lacks {0:?}, or has another value there")]
    Missing(String),
    /// A key on the way to what is required stands there twice, or in other letters.
    #[error("its body has {0:?} more than once, or not in these letters, so that servers may read another value")]
    Ambiguous(String),
    /// It differs from what the platform holds.
    #[error("its body differs from what the platform holds at {0:?}")]
    Changed(String),
    /// What the platform holds is not known.
    #[error("what the platform holds now was not read: {0}")]
    Unknown(String),
}

impl BodyRule {
    /// Checks the long form.
    ///
    /// # Errors
    /// See [`InvalidBody`].
    pub fn from_spec(spec: &BodySpec) -> Result<Self, InvalidBody> {
        if spec.is_none {
            return Ok(Self::None);
        }
        let places = |texts: &[String], key: &'static str| {
            if texts.len() > PLACES_MAX {
                return Err(InvalidBody::TooMany(key));
            }
            texts.iter().map(|text| Place::parse(text)).collect::<Result<Vec<_>, _>>()
        };
        let bare = |place: Place, key: &'static str| match place.value {
            Some(_) => Err(InvalidBody::NoPattern(place.text.into(), key)),
            None => Ok(place),
        };
        let rule = JsonRule {
            only: places(&spec.only, "only")?,
            forbid: places(&spec.forbid, "forbid")?,
            require: places(&spec.require, "require")?,
            unchanged: match &spec.unchanged {
                Some(text) => Some(bare(Place::parse(text)?, "unchanged")?),
                None => None,
            },
            except: places(&spec.except, "except")?
                .into_iter()
                .map(|place| bare(place, "except"))
                .collect::<Result<_, _>>()?,
        };
        if rule.unchanged.is_none() && !rule.except.is_empty() {
            return Err(InvalidBody::ExceptAlone);
        }
        if rule.only.is_empty() && rule.forbid.is_empty() && rule.require.is_empty() && rule.unchanged.is_none() {
            return Err(InvalidBody::Empty);
        }
        Ok(Self::Json(Box::new(rule)))
    }

    /// Whether [`check`](Self::check) needs what the platform holds now.
    #[must_use]
    pub fn needs_current(&self) -> bool {
        matches!(self, Self::Json(rule) if rule.unchanged.is_some())
    }

    /// Whether a body passes. `current` is the body of the answer to a GET of the path without its
    /// last segment, where [`needs_current`](Self::needs_current).
    ///
    /// # Errors
    /// See [`BodyRefusal`].
    pub fn check(&self, body: &[u8], current: Option<&[u8]>, namespaces: &[Namespace]) -> Result<(), BodyRefusal> {
        let rule = match self {
            Self::None if body.is_empty() => return Ok(()),
            Self::None => return Err(BodyRefusal::NotEmpty),
            Self::Json(rule) => rule,
        };
        let body =
            Json::read(body).map_err(|error| BodyRefusal::NotJson { line: error.line(), column: error.column() })?;
        let mut path = Vec::new();
        if !rule.only.is_empty() {
            check_only(&rule.only, &body, &mut path, namespaces)?;
        }
        check_forbidden(&rule.forbid, &body, &mut path, namespaces)?;
        for place in &rule.require {
            if !place.is_clear(&body) {
                return Err(BodyRefusal::Ambiguous(place.text.to_string()));
            }
            if !place.values(&body).into_iter().any(|value| place.admits(value, namespaces)) {
                return Err(BodyRefusal::Missing(place.text.to_string()));
            }
        }
        if let Some(at) = &rule.unchanged {
            let unknown = |why: &str| BodyRefusal::Unknown(why.to_owned());
            let current = Json::read(current.ok_or_else(|| unknown("it was not asked for"))?)
                .map_err(|_not_json| unknown("the answer is not JSON"))?;
            let held = at.values(&current);
            let [held] = held.as_slice() else { return Err(unknown("the answer has it not, or twice")) };
            check_unchanged(&rule.except, held, &body, &mut path)?;
        }
        Ok(())
    }
}

/// A JSON pointer, and perhaps a pattern of the value there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    text: Box<str>,
    segments: Vec<Box<str>>,
    value: Option<Pattern>,
}

impl Place {
    fn parse(text: &str) -> Result<Self, InvalidBody> {
        let (pointer, value) = match text.split_once('=') {
            Some((pointer, value)) => (pointer, Some(value)),
            None => (text, None),
        };
        let value = value.map(Pattern::value).transpose();
        let value = value.map_err(|source| InvalidBody::Pattern { text: text.to_owned(), source })?;
        let is_pointer = pointer.is_empty() || pointer.starts_with('/');
        if !is_pointer || !pointer.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidBody::Place(text.to_owned()));
        }
        let segments = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~").into());
        Ok(Self { text: text.into(), segments: segments.collect(), value })
    }

    /// Whether a path is this place, or lies below it.
    fn covers(&self, path: &[String]) -> bool {
        path.len() >= self.segments.len() && self.leads_along(path)
    }

    /// Whether a path is this place, lies below it or on the way to it.
    fn leads_along(&self, path: &[String]) -> bool {
        self.segments.iter().zip(path).all(|(segment, key)| is_at(segment, key))
    }

    fn admits(&self, value: &Json, namespaces: &[Namespace]) -> bool {
        match &self.value {
            None => true,
            Some(pattern) => value.scalar().is_some_and(|text| pattern.matches(text.as_bytes(), namespaces)),
        }
    }

    /// Whether every server finds the same there: no key that leads to it is there twice or in other letters.
    fn is_clear(&self, json: &Json) -> bool {
        let mut values = vec![json];
        for segment in &self.segments {
            let mut next = Vec::new();
            for value in values {
                let found: Vec<_> = value.members().filter(|(key, _value)| is_at(segment, key)).collect();
                let is_clear = match found.as_slice() {
                    [] => true,
                    [(key, _value)] => segment.as_ref() == "*" || segment.as_ref() == key.as_ref(),
                    _several => segment.as_ref() == "*",
                };
                if !is_clear {
                    return false;
                }
                next.extend(found.into_iter().map(|(_key, value)| value));
            }
            values = next;
        }
        true
    }

    /// All values that stand there: several where a segment is `*` or a key is there twice.
    fn values<'j>(&self, json: &'j Json) -> Vec<&'j Json> {
        let mut values = vec![json];
        for segment in &self.segments {
            values = values
                .into_iter()
                .flat_map(Json::members)
                .filter(|(key, _value)| is_at(segment, key))
                .map(|(_key, value)| value)
                .collect();
        }
        values
    }
}

fn is_at(segment: &str, key: &str) -> bool {
    segment == "*" || is_same_key(segment, key)
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Everything has to stand at or below a listed place, or say nothing on the way to one.
fn check_only(
    only: &[Place],
    value: &Json,
    path: &mut Vec<String>,
    namespaces: &[Namespace],
) -> Result<(), BodyRefusal> {
    if only.iter().any(|place| place.covers(path) && place.admits(value, namespaces)) {
        return Ok(());
    }
    let is_on_the_way = only.iter().any(|place| place.leads_along(path) && place.segments.len() > path.len());
    if is_on_the_way && (value.is_container() || *value == Json::Null) {
        return each(value, path, |value, path| check_only(only, value, path, namespaces));
    }
    Err(BodyRefusal::NotListed(pointer(path)))
}

fn check_forbidden(
    forbid: &[Place],
    value: &Json,
    path: &mut Vec<String>,
    namespaces: &[Namespace],
) -> Result<(), BodyRefusal> {
    let is_forbidden = forbid.iter().any(|place| {
        place.covers(path) && if place.value.is_some() { place.admits(value, namespaces) } else { !value.is_empty() }
    });
    if is_forbidden {
        return Err(BodyRefusal::Forbidden(pointer(path)));
    }
    if !forbid.iter().any(|place| place.leads_along(path)) {
        return Ok(());
    }
    each(value, path, |value, path| check_forbidden(forbid, value, path, namespaces))
}

/// Keys are compared as they are here: what the platform holds is what it would write itself.
fn check_unchanged(except: &[Place], held: &Json, asked: &Json, path: &mut Vec<String>) -> Result<(), BodyRefusal> {
    if except.iter().any(|place| place.covers(path)) {
        return if asked.is_container() { Err(BodyRefusal::Changed(pointer(path))) } else { Ok(()) };
    }
    let is_excepted = |key: &str, path: &mut Vec<String>| {
        path.push(key.to_owned());
        let is_excepted = except.iter().any(|place| place.covers(path));
        path.pop();
        is_excepted
    };
    match (held, asked) {
        (Json::Object(held), Json::Object(asked)) => {
            let before: HashMap<&str, &Json> = held.iter().map(|(key, value)| (key.as_str(), value)).collect();
            let mut seen = HashSet::new();
            for (key, value) in asked {
                let is_new = seen.insert(folded(key));
                let before = match before.get(key.as_str()) {
                    Some(before) if is_new => before,
                    None if is_new && is_excepted(key, path) => &Json::Null,
                    Some(_) | None => {
                        path.push(key.clone());
                        return Err(BodyRefusal::Changed(pointer(path)));
                    }
                };
                path.push(key.clone());
                check_unchanged(except, before, value, path)?;
                path.pop();
            }
            let asked: HashSet<&str> = asked.iter().map(|(key, _value)| key.as_str()).collect();
            match held.iter().find(|(key, _value)| !asked.contains(key.as_str())) {
                Some((key, _value)) if !is_excepted(key, path) => {
                    path.push(key.clone());
                    Err(BodyRefusal::Changed(pointer(path)))
                }
                Some(_) | None => Ok(()),
            }
        }
        (Json::List(held), Json::List(asked)) if held.len() == asked.len() => {
            for (index, (held, asked)) in held.iter().zip(asked).enumerate() {
                path.push(index.to_string());
                check_unchanged(except, held, asked, path)?;
                path.pop();
            }
            Ok(())
        }
        (held, asked) if held == asked => Ok(()),
        _ => Err(BodyRefusal::Changed(pointer(path))),
    }
}

fn each(
    value: &Json,
    path: &mut Vec<String>,
    mut check: impl FnMut(&Json, &mut Vec<String>) -> Result<(), BodyRefusal>,
) -> Result<(), BodyRefusal> {
    for (key, value) in value.members() {
        path.push(key.into_owned());
        check(value, path)?;
        path.pop();
    }
    Ok(())
}
