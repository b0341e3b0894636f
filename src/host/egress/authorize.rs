//! Which rule lets a request pass: by its head, and where a rule says so by its body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::body::{BoxError, RequestBody};
use super::error::{EgressError, shown};
use super::gate::Gate;
use super::held::Held;
use super::{Access, EgressMeter};
use crate::host::grant::body::BodyRefusal;
use crate::host::grant::path::{check_path, check_query};
use crate::host::grant::rule::{Effect, parameters};
use crate::host::grant::{Mode, Rule};
use crate::name::Namespace;
use crate::query::Budget;
use crate::upstream;

/// What is known of a request before its body was looked at.
pub(super) struct Candidates<'g> {
    /// The rules whose heads match, up to the first that demands nothing of the body. Empty only
    /// where the grant is tried out.
    rules: Vec<&'g Rule>,
}

/// What a request is judged and sent with.
#[derive(Clone, Copy)]
pub(super) struct Terms<'c> {
    pub(super) access: Access,
    pub(super) namespaces: &'c [Namespace],
    pub(super) meter: &'c EgressMeter,
    pub(super) timeouts: upstream::Timeouts,
    pub(super) held: &'c Held,
}

impl Candidates<'_> {
    /// Whether the body decides.
    pub(super) fn look_into_the_body(&self) -> bool {
        self.rules.first().is_some_and(|rule| rule.body().is_some())
    }

    fn needs_current(&self) -> bool {
        self.rules.iter().filter_map(|rule| rule.body()).any(crate::host::grant::BodyRule::needs_current)
    }
}

impl Gate {
    /// The rules that may let a request pass.
    pub(super) fn candidates<B>(
        &self,
        request: &Request<B>,
        access: Access,
        namespaces: &[Namespace],
    ) -> Result<Candidates<'_>, EgressError> {
        let (method, uri) = (request.method(), request.uri());
        check_path(uri.path()).and_then(|()| check_query(uri.query().unwrap_or_default())).map_err(|source| {
            EgressError::UnsafeTarget {
                provider: self.provider.clone(),
                grant: self.name.clone(),
                method: shown(method.as_str()),
                path: shown(uri.path()),
                source,
            }
        })?;
        let mut rules = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.matches(method, uri, request.headers(), namespaces)) {
            rules.push(rule);
            if rule.body().is_none() {
                break;
            }
        }
        let is_open = |rule: &&Rule| access == Access::Full || rule.effect() == Effect::Read;
        match rules.first() {
            Some(_) if rules.iter().any(is_open) => Ok(Candidates { rules }),
            Some(rule) => Err(self.read_only(rule)),
            None => {
                let rule = rule_for(method, uri);
                if self.lets_pass(access, method, &rule, "no rule allows it") {
                    return Ok(Candidates { rules });
                }
                Err(EgressError::NoRule { provider: self.provider.clone(), grant: self.name.clone(), rule })
            }
        }
    }

    /// The rule that lets the request pass; `None` if only a dry run does. `body` is `None` where no
    /// rule looks into it.
    pub(super) async fn decide<'g>(
        &'g self,
        candidates: Candidates<'g>,
        head: &Parts,
        body: Option<&Bytes>,
        terms: Terms<'_>,
    ) -> Result<Option<&'g Rule>, EgressError> {
        let Terms { access, namespaces, .. } = terms;
        let current = match body {
            Some(_) if candidates.needs_current() => Some(self.current(head.uri.path(), terms).await),
            Some(_) | None => None,
        };
        let mut refused = None;
        for rule in candidates.rules {
            let checked = match (rule.body(), body) {
                (None, _) => Ok(()),
                (Some(demands), Some(body)) => match &current {
                    Some(Err(why)) if demands.needs_current() => Err(BodyRefusal::Unknown(why.clone())),
                    Some(Ok(current)) => demands.check(body, Some(current), namespaces),
                    Some(Err(_)) | None => demands.check(body, None, namespaces),
                },
                // Never so: whoever has candidates that look into the body holds it.
                (Some(_), None) => Err(BodyRefusal::Unknown("its body was not read".to_owned())),
            };
            match checked {
                Ok(()) if access == Access::Full || rule.effect() == Effect::Read => return Ok(Some(rule)),
                Ok(()) => return Err(self.read_only(rule)),
                Err(reason) => refused = refused.or(Some((rule, reason))),
            }
        }
        let Some((rule, source)) = refused else { return Ok(None) };
        let shown_rule = rule.to_string();
        if self.lets_pass(access, &head.method, &shown_rule, &source.to_string()) {
            return Ok(None);
        }
        let (provider, grant) = (self.provider.clone(), self.name.clone());
        Err(EgressError::Body { provider, grant, rule: shown_rule, source })
    }

    /// Reads a body to its end, since something has to see all of it before it is sent.
    pub(super) async fn buffer<B>(&self, body: B, meter: &EgressMeter, within: Duration) -> Result<Bytes, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let limit = self.limits.buffered_bytes;
        let too_large = || EgressError::BodyTooLarge {
            provider: self.provider.clone(),
            grant: self.name.clone(),
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
        };
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let unfinished = || EgressError::Unfinished { provider: self.provider.clone(), grant: self.name.clone() };
        let mut body = Box::pin(body);
        let read = async {
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_broken| unfinished())?;
                let Some(data) = frame.data_ref() else { continue };
                meter.count_request_bytes(data.len()).map_err(|budget: Budget| self.budget(budget, meter))?;
                if whole.len().saturating_add(data.len()) > limit {
                    return Err(too_large());
                }
                whole.extend_from_slice(data);
            }
            Ok(whole.freeze())
        };
        tokio::time::timeout(within, read).await.unwrap_or_else(|_elapsed| Err(unfinished()))
    }

    /// What the platform holds now: the answer to a GET of the path without its last segment.
    async fn current(&self, path: &str, terms: Terms<'_>) -> Result<Bytes, String> {
        let Terms { meter, timeouts, held, .. } = terms;
        let parent = match path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _last)) => parent,
        };
        let uri = parent.parse().map_err(|_invalid| "its path is none".to_owned())?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = uri;
        let request =
            self.prepare(&head, RequestBody::whole(Bytes::new()), None, held).map_err(|error| error.to_string())?;
        let response = self
            .pool
            .send(held.client.target(), &mut Some(request), timeouts)
            .await
            .map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the platform answered {}", response.status()));
        }
        let limit = self.limits.buffered_bytes;
        let body = http_body_util::Limited::new(response.into_body(), limit).collect();
        let body =
            tokio::time::timeout(timeouts.response, body).await.map_err(|_elapsed| "it took too long".to_owned())?;
        let body = body.map_err(|_cut| format!("the answer broke off or has more than {limit} bytes"))?.to_bytes();
        meter.count_response_bytes(body.len()).map_err(|budget| format!("over the limit `{}`", budget.setting()))?;
        Ok(body)
    }

    fn read_only(&self, rule: &Rule) -> EgressError {
        EgressError::ReadOnly { provider: self.provider.clone(), grant: self.name.clone(), rule: rule.to_string() }
    }

    /// Whether a request that would be refused is sent all the same.
    fn lets_pass(&self, access: Access, method: &Method, rule: &str, reason: &str) -> bool {
        let is_grantable = *method != Method::CONNECT && *method != Method::TRACE;
        if self.mode != Mode::DryRun || access != Access::Full || !is_grantable {
            return false;
        }
        tracing::warn!(provider = %self.provider, grant = self.name, rule, reason, "this request would be refused; sent all the same, since the grant's mode is \"dry-run\"");
        self.metrics.denied(&self.provider, "dry-run");
        true
    }
}

/// The rule that would allow a request: its method and path, and `*` for the values of its query,
/// which may be secret.
pub(super) fn rule_for(method: &Method, uri: &http::Uri) -> String {
    let mut rule = format!("{method} {}", uri.path());
    for (index, (name, _value)) in parameters(uri.query().unwrap_or_default()).enumerate() {
        rule.push(if index == 0 { '?' } else { '&' });
        rule.push_str(name);
        rule.push_str("=*");
    }
    shown(&rule)
}
