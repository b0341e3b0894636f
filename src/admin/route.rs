//! Which operation a path of the admin API names: pure, no I/O.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

/// An operation of the admin API, before its input is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: what this is.
    Root,
    /// `/healthz`: the process answers.
    Health,
    /// `/readyz`: the gateway wants requests.
    Ready,
    /// `/system/info`.
    Info,
    /// `/system/functions`: list, deploy, update, delete.
    Functions,
    /// `/system/function/{name}`.
    Function(String),
    /// `/system/scale-function/{name}`.
    Scale(String),
    /// `/system/namespaces`.
    Namespaces,
    /// `/system/namespace/{name}`; the name may be empty, since `faas-cli` creates that way.
    Namespace(Option<String>),
    /// `/system/secrets`.
    Secrets,
    /// `/system/logs`.
    Logs,
}

impl Route {
    /// Reads a path. `None`: there is no such route.
    pub(super) fn of(path: &str) -> Option<Self> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let system = match decoded.as_ref() {
            "/" => return Some(Self::Root),
            "/healthz" => return Some(Self::Health),
            "/readyz" => return Some(Self::Ready),
            other => other.strip_prefix("/system/")?,
        };
        Some(match system.split_once('/') {
            None => match system {
                "info" => Self::Info,
                "functions" => Self::Functions,
                "namespaces" => Self::Namespaces,
                "secrets" => Self::Secrets,
                "logs" => Self::Logs,
                _ => return None,
            },
            Some(("namespace", "")) => Self::Namespace(None),
            Some((kind, name)) if is_name(name) => match kind {
                "function" => Self::Function(name.to_owned()),
                "scale-function" => Self::Scale(name.to_owned()),
                "namespace" => Self::Namespace(Some(name.to_owned())),
                _ => return None,
            },
            Some(_) => return None,
        })
    }

    /// Whether the route has this method. GET does not imply HEAD, as in OpenFaaS.
    pub(super) fn allows(&self, method: &Method) -> bool {
        match self {
            Self::Root
            | Self::Health
            | Self::Ready
            | Self::Info
            | Self::Function(_)
            | Self::Namespaces
            | Self::Logs => method == Method::GET,
            Self::Scale(_) => method == Method::POST,
            Self::Functions | Self::Namespace(_) | Self::Secrets => {
                [Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method)
            }
        }
    }

    /// Whether callers must show that they may.
    pub(super) fn is_guarded(&self) -> bool {
        !matches!(self, Self::Root | Self::Health | Self::Ready)
    }
}

/// OpenFaaS's expression for names in paths. Lengths and dots are checked where the name is read,
/// so that they get a sentence instead of a 404.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The parameters of a query, decoded as forms are: `+` is a space, the last value of a name wins.
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// A parameter; empty is absent.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self
            .0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .rfind(|(key, _)| decode(key) == name)?;
        Some(decode(value).into_owned()).filter(|value| !value.is_empty())
    }

    /// A switch, with Go's spellings of true; everything else is false.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8_lossy().into_owned().into();
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_name_their_operations() {
        assert_eq!(Route::of("/system/functions"), Some(Route::Functions));
        assert_eq!(Route::of("/system/function/fig%6Cet"), Some(Route::Function("figlet".into())));
        assert_eq!(Route::of("/system/scale-function/a.b"), Some(Route::Scale("a.b".into())));
        assert_eq!(Route::of("/system/namespace/"), Some(Route::Namespace(None)));
        assert_eq!(Route::of("/system/namespace/dev"), Some(Route::Namespace(Some("dev".into()))));
        assert_eq!(Route::of("/"), Some(Route::Root));
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "/system/functions/",
            "/system/function/",
            "/system/function/a/b",
            "/system/function/a%2Fb",
            "/system/function/a~b",
            "/system/alert",
            "/system/telemetry",
            "/system",
            "/system/",
            "/ui/",
            "/healthz/",
            "/system/namespace",
            "/system/function/%FF",
            "",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn head_and_options_are_not_implied() {
        for path in ["/healthz", "/system/functions", "/system/info"] {
            let route = Route::of(path).unwrap();
            assert!(route.allows(&Method::GET));
            assert!(!route.allows(&Method::HEAD), "{path}");
            assert!(!route.allows(&Method::OPTIONS), "{path}");
        }
        assert!(!Route::of("/system/scale-function/a").unwrap().allows(&Method::GET));
    }

    #[test]
    fn the_last_value_of_a_parameter_wins() {
        let uri = "/?namespace=a&namespace=b+c%21&usage=1&empty=&follow=yes".parse().unwrap();
        let query = Query::of(&uri);
        assert_eq!(query.get("namespace").as_deref(), Some("b c!"));
        assert_eq!(query.get("empty"), None);
        assert_eq!(query.get("absent"), None);
        assert!(query.flag("usage"));
        assert!(!query.flag("follow"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(path in "/?[a-z/%.0-9-]{0,60}", query in "[a-z=&%+0-9]{0,60}") {
            drop(Route::of(&path));
            drop(Query(&query).get("a"));
        }
    }
}
