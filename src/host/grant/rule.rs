//! Rules: which requests a grant lets pass.
//!
//! ```text
//! "GET /services*"                                       short form
//! "GET /functions?namespace={namespace}&usage=*"         short form with query parameters
//! { method = "POST", path = "/", headers = { X-Amz-Target = "*.DescribeServices" }, effect = "read" }
//! ```
//!
//! * The method and the bytes of the path match exactly; `*` is within a segment (and a segment that
//!   is only `*` is not empty), `**` is anything, `{namespace}` is one of the provider's namespaces.
//! * Query parameters are closed: one that no rule lists is refused. A listed one has to be there,
//!   unless its pattern is `*` or its name ends with `?`. Every occurrence has to match; `|` stands
//!   between patterns of which one has to (`topic=Job:*|Allocation:*`), since no query has it as it is.
//! * Header fields in `headers` have to be there, and every value has to match. They also pass the
//!   allowlist of fields.
//! * `body` says what may stand in the request's body ([`body`](super::body)). A request whose body does
//!   not pass is not matched, so a later rule may still let it pass.
//! * `effect` says whether the request changes anything: `read` for GET and HEAD, else `write`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri};

use super::body::{BodyRule, BodySpec, InvalidBody};
use super::path::{InvalidPath, check_path};
use super::pattern::{InvalidPattern, Pattern};
use crate::name::{Digest, Namespace};

/// How much of a digest tells one demand of bodies from another.
const BODY_DIGITS: usize = 16;

/// Whether a request changes something on the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// `"read"`: open to a plugin that is not published yet.
    Read,
    /// `"write"`: open only to a published one.
    Write,
}

impl Effect {
    /// What a method means where nothing else was said (RFC 9110 section 9.2.1, without those that
    /// nobody needs here).
    #[must_use]
    pub fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD) { Self::Read } else { Self::Write }
    }

    /// As in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl FromStr for Effect {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err(InvalidRule::Effect(text.to_owned())),
        }
    }
}

/// The long form of a rule, as it stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// `method`.
    pub method: String,
    /// `path`: a pattern.
    pub path: String,
    /// `query`: a pattern for each parameter; a name that ends with `?` may be absent.
    pub query: BTreeMap<String, String>,
    /// `headers`: a pattern for each field.
    pub headers: BTreeMap<String, String>,
    /// `effect`: `read` or `write`.
    pub effect: Option<String>,
    /// `body`: what the body may be; without it anything, or nothing.
    pub body: Option<BodySpec>,
}

/// One rule, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    method: Method,
    path: Pattern,
    query: Vec<QueryRule>,
    headers: Vec<(HeaderName, Pattern)>,
    effect: Effect,
    body: Option<BodyRule>,
    spec: Arc<RuleSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct QueryRule {
    name: String,
    /// One of them has to match.
    values: Vec<Pattern>,
    is_required: bool,
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Not a method, a space and a path.
    #[error("not a rule: {0:?}; write a method and a path, e.g. \"GET /services*\"")]
    Form(String),
    /// No method that may be granted.
    #[error(
        "{0:?} is not a method that can be granted; write GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, one rule for each"
    )]
    Method(String),
    /// A path that can never be sent.
    #[error("{text:?} can never match")]
    Path {
        /// The path as it was written.
        text: String,
        /// What is wrong with it.
        source: InvalidPath,
    },
    /// No pattern.
    #[error("{text:?} is not a pattern")]
    Pattern {
        /// What was written.
        text: String,
        /// What is wrong with it.
        source: InvalidPattern,
    },
    /// The name of a query parameter is empty, named twice, or has characters that are not sent.
    #[error(
        "{0:?} is not the name of a query parameter; write each once, as it is sent, e.g. query = {{ namespace = \"{{namespace}}\" }}"
    )]
    Query(String),
    /// No field name.
    #[error("{0:?} is not the name of a header field")]
    Header(String),
    /// A field that no rule can open.
    #[error("the header field {0:?} never passes, so no rule can ask for it; what authenticates belongs under `auth`")]
    ForbiddenHeader(String),
    /// No demand of a body.
    #[error("body")]
    Body(#[from] InvalidBody),
    /// No effect.
    #[error("{0:?} is not an effect; write \"read\" or \"write\"")]
    Effect(String),
}

/// Methods that can be granted. CONNECT and TRACE ask a server to be something else.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl Rule {
    /// Checks the long form.
    ///
    /// # Errors
    /// See [`InvalidRule`].
    pub fn from_spec(spec: &RuleSpec) -> Result<Self, InvalidRule> {
        let method = METHODS
            .into_iter()
            .find(|method| method.as_str() == spec.method)
            .ok_or_else(|| InvalidRule::Method(spec.method.clone()))?;
        let mut query: Vec<QueryRule> = Vec::with_capacity(spec.query.len());
        for (name, value) in &spec.query {
            let rule = QueryRule::parse(name, value)?;
            if query.iter().any(|other| other.name == rule.name) {
                return Err(InvalidRule::Query(name.clone()));
            }
            query.push(rule);
        }
        let mut headers = Vec::with_capacity(spec.headers.len());
        for (text, value) in &spec.headers {
            let name: HeaderName = text.parse().map_err(|_invalid| InvalidRule::Header(text.clone()))?;
            if crate::host::egress::headers::is_forbidden(&name) {
                return Err(InvalidRule::ForbiddenHeader(text.clone()));
            }
            headers.push((name, parse_value(value)?));
        }
        let effect = match &spec.effect {
            Some(text) => text.parse()?,
            None => Effect::of(&method),
        };
        let body = spec.body.as_ref().map(BodyRule::from_spec).transpose()?;
        // What can be said in two ways is said in the shorter one.
        let spec = RuleSpec {
            query: query.iter().map(QueryRule::key).zip(spec.query.values().cloned()).collect(),
            effect: (effect != Effect::of(&method)).then(|| effect.as_str().to_owned()),
            ..spec.clone()
        };
        // The same rule is written in several ways: `?` sorts behind digits and before letters.
        query.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { method, path: parse_path(&spec.path)?, query, headers, effect, body, spec: Arc::new(spec) })
    }

    /// As it stands in the configuration, in the long form.
    #[must_use]
    pub fn spec(&self) -> &RuleSpec {
        &self.spec
    }

    /// A line that no other rule has: as it is shown, and a digest of what it demands of bodies, which is too
    /// long to read.
    #[must_use]
    pub fn identity(&self) -> String {
        let Some(body) = &self.body else { return self.to_string() };
        let digest = Digest::of(format!("{body:?}").as_bytes()).to_string();
        let digest: String = digest.chars().skip("sha256:".len()).take(BODY_DIGITS).collect();
        format!("{self} {digest}")
    }

    /// The pattern of its path, as it was written.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Whether only method, path and query decide.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.headers.is_empty() && self.body.is_none() && self.effect == Effect::of(&self.method)
    }

    /// Whether the request changes something.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The header fields that this rule asks for, and thereby lets pass.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _pattern)| name)
    }

    /// What it demands of the body.
    #[must_use]
    pub fn body(&self) -> Option<&BodyRule> {
        self.body.as_ref()
    }

    /// Whether the head of a request matches. Its path has passed [`check_path`]; its
    /// [body](Self::body) is another question.
    #[must_use]
    pub fn matches(&self, method: &Method, uri: &Uri, headers: &HeaderMap, namespaces: &[Namespace]) -> bool {
        self.method == *method
            && self.path.matches(uri.path().as_bytes(), namespaces)
            && self.query_matches(uri.query().unwrap_or_default(), namespaces)
            && self.headers.iter().all(|(name, pattern)| {
                let mut values = headers.get_all(name).iter().peekable();
                values.peek().is_some() && values.all(|value| pattern.matches(value.as_bytes(), namespaces))
            })
    }

    /// Names and values are compared as they are sent: an encoded letter is another name.
    fn query_matches(&self, query: &str, namespaces: &[Namespace]) -> bool {
        let listed = |(name, value): (&str, &str)| {
            self.query.iter().any(|rule| rule.name == name && rule.allows(value, namespaces))
        };
        parameters(query).all(listed)
            && self
                .query
                .iter()
                .filter(|rule| rule.is_required)
                .all(|rule| parameters(query).any(|(name, _value)| name == rule.name))
    }
}

/// The parameters of a query, as they are sent.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

impl QueryRule {
    fn parse(name: &str, value: &str) -> Result<Self, InvalidRule> {
        let values = value.split('|').map(parse_value).collect::<Result<Vec<_>, _>>()?;
        let (name, may_be_absent) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name, values.iter().any(Pattern::is_any)),
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'&' | b'=' | b'#' | b'?' | b';' | b'*' | b'{' | b'}'));
        if !is_name {
            return Err(InvalidRule::Query(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), values, is_required: !may_be_absent })
    }

    /// Its name as it is written. What may have any value may be absent anyway.
    fn key(&self) -> String {
        let is_marked = !self.is_required && !self.values.iter().any(Pattern::is_any);
        format!("{}{}", self.name, if is_marked { "?" } else { "" })
    }

    fn allows(&self, value: &str, namespaces: &[Namespace]) -> bool {
        self.values.iter().any(|pattern| pattern.matches(value.as_bytes(), namespaces))
    }
}

fn parse_value(text: &str) -> Result<Pattern, InvalidRule> {
    Pattern::value(text).map_err(|source| InvalidRule::Pattern { text: text.to_owned(), source })
}

fn parse_path(text: &str) -> Result<Pattern, InvalidRule> {
    let pattern = Pattern::path(text).map_err(|source| InvalidRule::Pattern { text: text.to_owned(), source })?;
    check_path(text).map_err(|source| InvalidRule::Path { text: text.to_owned(), source })?;
    Ok(pattern)
}

impl FromStr for Rule {
    type Err = InvalidRule;

    /// Reads the short form.
    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let form = || InvalidRule::Form(text.to_owned());
        let (method, target) = text.split_once(' ').ok_or_else(form)?;
        let target = target.trim();
        if target.is_empty() || target.contains(char::is_whitespace) {
            return Err(form());
        }
        let (path, query_text) = target.split_once('?').unwrap_or((target, ""));
        let mut query = BTreeMap::new();
        for pair in query_text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "*"));
            if query.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(InvalidRule::Query(name.to_owned()));
            }
        }
        Self::from_spec(&RuleSpec { method: method.to_owned(), path: path.to_owned(), query, ..RuleSpec::default() })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (index, rule) in self.query.iter().enumerate() {
            write!(f, "{}{}=", if index == 0 { '?' } else { '&' }, rule.key())?;
            for (place, value) in rule.values.iter().enumerate() {
                write!(f, "{}{value}", if place == 0 { "" } else { "|" })?;
            }
        }
        for (name, value) in &self.headers {
            write!(f, " {name}: {value}")?;
        }
        if self.effect != Effect::of(&self.method) {
            write!(f, " ({})", self.effect.as_str())?;
        }
        match &self.body {
            None => Ok(()),
            Some(BodyRule::None) => f.write_str(" (no body)"),
            Some(BodyRule::Json(_)) => f.write_str(" (body checked)"),
        }
    }
}
