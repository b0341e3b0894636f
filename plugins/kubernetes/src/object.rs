//! Kubernetes' objects, as far as they are read. Every field may be absent: the API leaves out zeros
//! and empty lists, and writes `null` for some of them. They are read by hand from parsed JSON, since
//! derived readers of this many types would be half of the component.

use serde_json::{Map, Value, json};
use wicketgate_sdk::Pairs;

/// The longest key of a label or an annotation that the contract takes, in bytes.
const KEY_BYTES: usize = 253;

/// The longest value, in bytes.
const VALUE_BYTES: usize = 8192;

/// The most pairs.
const PAIRS: usize = 256;

/// What `kubectl apply` keeps beside an object: all of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Something that an answer holds.
pub(crate) trait Read: Sized {
    /// `None` for what is no such thing at all.
    fn read(value: &Value) -> Option<Self>;
}

/// A text; empty if it is absent.
pub(crate) fn text(value: &Value, key: &str) -> String {
    optional_text(value, key).unwrap_or_default()
}

fn optional_text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

/// The texts of an object; numbers are written out, as quantities may be numbers.
fn texts(value: &Value, key: &str) -> Pairs {
    let mut texts = Pairs::new();
    for (name, value) in value.get(key).and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::String(text) => texts.push((name.clone(), text.clone())),
            Value::Number(number) => texts.push((name.clone(), number.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }
    texts
}

/// A JSON object of texts. Inserted one by one: collecting would sort, and each instance of a sort costs
/// kilobytes.
pub(crate) fn object(pairs: &Pairs) -> Map<String, Value> {
    let mut object = Map::new();
    for (key, value) in pairs {
        object.insert(key.clone(), json!(value));
    }
    object
}

/// The entries of a list; none if it is absent.
pub(crate) fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[derive(Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) creation_timestamp: Option<String>,
    is_going: bool,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
}

impl Read for Metadata {
    fn read(object: &Value) -> Option<Self> {
        let value = object.get("metadata").filter(|value| value.is_object())?;
        Some(Self {
            name: text(value, "name"),
            uid: text(value, "uid"),
            resource_version: text(value, "resourceVersion"),
            creation_timestamp: optional_text(value, "creationTimestamp"),
            is_going: optional_text(value, "deletionTimestamp").is_some(),
            labels: texts(value, "labels"),
            annotations: texts(value, "annotations"),
        })
    }
}

impl Metadata {
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// The labels, as far as the contract takes them.
    pub(crate) fn label_pairs(&self) -> Pairs {
        pairs(&self.labels)
    }

    pub(crate) fn annotation_pairs(&self) -> Pairs {
        pairs(&self.annotations)
    }

    /// Whether the object is being deleted.
    pub(crate) fn is_going(&self) -> bool {
        self.is_going
    }
}

/// The value of a key.
pub(crate) fn find<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn pairs(texts: &Pairs) -> Pairs {
    let fits =
        |(key, value): &&(String, String)| *key != LAST_APPLIED && key.len() <= KEY_BYTES && value.len() <= VALUE_BYTES;
    texts.iter().filter(fits).take(PAIRS).cloned().collect()
}

/// A list, or a page of it.
pub(crate) struct List<T> {
    pub(crate) resource_version: String,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
    pub(crate) items: Vec<T>,
}

impl<T: Read> Read for List<T> {
    fn read(value: &Value) -> Option<Self> {
        let metadata = value.get("metadata").filter(|value| value.is_object())?;
        let items = entries(value, "items").iter().map(T::read).collect::<Option<_>>()?;
        Some(Self {
            resource_version: text(metadata, "resourceVersion"),
            next: optional_text(metadata, "continue").filter(|token| !token.is_empty()),
            items,
        })
    }
}

pub(crate) struct Deployment {
    pub(crate) metadata: Metadata,
    pub(crate) replicas: Option<u64>,
    pub(crate) available_replicas: u64,
    /// Whether the status is that of what is wished for now.
    pub(crate) is_current: bool,
    /// `spec.selector.matchLabels`.
    pub(crate) selector: Pairs,
    /// `spec.template.spec`.
    pub(crate) pod: Value,
}

impl Read for Deployment {
    fn read(value: &Value) -> Option<Self> {
        let metadata = Metadata::read(value)?;
        let number = |place: &str| value.pointer(place).and_then(Value::as_u64);
        Some(Self {
            metadata,
            replicas: number("/spec/replicas"),
            available_replicas: number("/status/availableReplicas").unwrap_or(0),
            is_current: number("/status/observedGeneration") >= number("/metadata/generation"),
            selector: value
                .pointer("/spec/selector")
                .map(|selector| texts(selector, "matchLabels"))
                .unwrap_or_default(),
            pod: value.pointer("/spec/template/spec").cloned().unwrap_or_default(),
        })
    }
}

impl Deployment {
    /// The function's own container: that of its name, else the first.
    pub(crate) fn container(&self) -> Option<&Value> {
        let containers = entries(&self.pod, "containers");
        let own = containers.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(&self.metadata.name));
        own.or(containers.first())
    }

    pub(crate) fn node_selector(&self) -> Pairs {
        texts(&self.pod, "nodeSelector")
    }

    /// The names of the Secrets that are mounted, on their own or projected together.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut names = Vec::new();
        for volume in entries(&self.pod, "volumes") {
            names.extend(volume.pointer("/secret").map(|secret| text(secret, "secretName")));
            let sources = volume.get("projected").map_or(&[][..], |projected| entries(projected, "sources"));
            names.extend(sources.iter().filter_map(|source| Some(text(source.get("secret")?, "name"))));
        }
        names.retain(|name| !name.is_empty());
        names
    }
}

/// `resources.limits` or `resources.requests` of a container.
pub(crate) fn amounts(container: &Value, key: &str) -> Option<Pairs> {
    let resources = container.get("resources")?;
    resources.get(key)?;
    Some(texts(resources, key))
}

/// What a `PATCH` of the `scale` subresource answers. A count of 0 is left out.
pub(crate) struct Scale {
    pub(crate) resource_version: String,
    pub(crate) replicas: u64,
}

impl Read for Scale {
    fn read(value: &Value) -> Option<Self> {
        let replicas = value.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(0);
        Some(Self { resource_version: Metadata::read(value)?.resource_version, replicas })
    }
}

/// What is taken as it came.
impl Read for Value {
    fn read(value: &Value) -> Option<Self> {
        value.is_object().then(|| value.clone())
    }
}
