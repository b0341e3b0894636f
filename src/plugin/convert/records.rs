//! Every record that a guest answers with, made of any bytes and converted: what the fuzz target `records` and
//! `tests/fuzz.rs` drive. Nothing of the gateway calls it.

use super::super::bindings::{guest, types};
use super::{Foreign, change_set, endpoints, functions, lists, provider_error, service_status};
use super::{KEY_MAX_BYTES, PAIRS_MAX, TEXT_MAX_BYTES};
use crate::name::Namespace;
use crate::query::{Pairs, ServiceStatus};

/// Lengths of texts and lists on both sides of the contract's bounds.
const EDGES: [usize; 14] = [252, 253, 254, 255, 256, 257, 512, 513, 1000, 1001, 4096, 4097, 8192, 8193];

/// Numbers at the ends of their ranges.
const NUMBERS: [u64; 8] = [0, 1, 99, 100, 101, 599, 3_600_001, u64::MAX];

/// Bytes that are read as whatever is needed next; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn number(&mut self) -> u64 {
        let choice = self.byte();
        NUMBERS.get(usize::from(choice)).copied().unwrap_or_else(|| {
            let bytes = std::array::from_fn(|_| self.byte());
            u64::from_le_bytes(bytes)
        })
    }

    /// A number as the low bits of another.
    fn low(&mut self) -> u32 {
        u32::try_from(self.number() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    fn float(&mut self) -> f64 {
        f64::from_bits(self.number())
    }

    /// A length: mostly short, now and then at a bound.
    fn length(&mut self, choices: &[usize]) -> usize {
        let choice = usize::from(self.byte());
        match choice.checked_sub(240) {
            Some(edge) => choices.get(edge).copied().unwrap_or(0),
            None => choice % 8,
        }
    }

    fn text(&mut self) -> String {
        let length = self.length(&EDGES);
        if length >= 8 {
            let filler = char::from(self.byte() % 0x60 + 0x20);
            return String::from(filler).repeat(length);
        }
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// A name of a namespace: often the one that is asked about.
    fn namespace(&mut self) -> String {
        if self.flag() { "dev".to_owned() } else { self.text() }
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        // Up to 1001: longer ones would only cost time.
        let length = self.length(EDGES.get(..10).unwrap_or_default());
        (0..length).map(|_| make(self)).collect()
    }

    fn pairs(&mut self) -> Vec<(String, String)> {
        self.list(|bytes| (bytes.text(), bytes.text()))
    }

    fn status(&mut self) -> types::ServiceStatus {
        types::ServiceStatus {
            replicas: self.number(),
            available_replicas: self.number(),
            min_replicas: self.maybe(Self::number),
            max_replicas: self.maybe(Self::number),
            scaling_factor: self.maybe(Self::low),
            labels: self.pairs(),
            annotations: self.pairs(),
            version: self.maybe(Self::text),
            extra: self.pairs(),
        }
    }

    fn function(&mut self) -> types::FunctionRef {
        types::FunctionRef { name: self.text(), namespace: self.namespace() }
    }

    fn endpoint(&mut self) -> guest::endpoints::Endpoint {
        use guest::endpoints::Target;
        let target = if self.flag() { Target::Authority(self.text()) } else { Target::Grant(self.text()) };
        guest::endpoints::Endpoint {
            target,
            path_prefix: self.text(),
            host_header: self.maybe(Self::text),
            tls: self.flag(),
            ttl_ms: self.low(),
            instance: self.text(),
        }
    }

    fn resources(&mut self) -> guest::functions::FunctionResources {
        guest::functions::FunctionResources {
            memory: self.maybe(Self::text),
            cpu: self.maybe(Self::text),
            extra: self.pairs(),
        }
    }

    fn deployed(&mut self) -> guest::functions::FunctionStatus {
        let deployment = guest::functions::FunctionDeployment {
            service: self.text(),
            namespace: self.namespace(),
            image: self.text(),
            env_process: self.maybe(Self::text),
            env_vars: self.pairs(),
            constraints: self.list(Self::text),
            secrets: self.list(Self::text),
            labels: self.pairs(),
            annotations: self.pairs(),
            limits: self.maybe(Self::resources),
            requests: self.maybe(Self::resources),
            read_only_root_filesystem: self.flag(),
            extra: self.pairs(),
        };
        guest::functions::FunctionStatus {
            deployment,
            replicas: self.number(),
            available_replicas: self.number(),
            created_at_ms: self.maybe(Self::number),
            usage: self.maybe(|bytes| guest::functions::FunctionUsage {
                cpu_millicores: bytes.float(),
                total_memory_bytes: bytes.float(),
            }),
            invocation_count: self.maybe(Self::float),
        }
    }
}

fn is_bounded(pairs: &Pairs) -> bool {
    pairs.len() <= PAIRS_MAX
        && pairs.iter().all(|(key, value)| key.len() <= KEY_MAX_BYTES && value.len() <= TEXT_MAX_BYTES)
}

fn is_status(status: &ServiceStatus) -> bool {
    is_bounded(&status.labels)
        && is_bounded(&status.annotations)
        && status.scaling_factor.is_none_or(|percent| percent <= 100)
}

/// Makes one answer of the bytes and converts it.
///
/// # Panics
/// What the contract forbids was taken.
pub fn convert(input: &[u8]) {
    let Ok(dev) = "dev".parse::<Namespace>() else { return };
    let mut bytes = Bytes(input);
    let mut foreign = Foreign::default();
    match bytes.byte() % 9 {
        0 => {
            if let Ok(status) = service_status(bytes.status()) {
                assert!(is_status(&status), "{status:?}");
            }
        }
        1 => {
            let error = types::ProviderError {
                kind: types::ErrorKind::Internal,
                message: bytes.text(),
                retry_after_ms: bytes.maybe(Bytes::number),
                platform_status: bytes.maybe(|bytes| u16::try_from(bytes.low() & 0xffff).unwrap_or(0)),
                extra: bytes.pairs(),
            };
            if let Ok(error) = provider_error(error) {
                assert!(error.message.len() <= super::MESSAGE_MAX_BYTES);
                assert!(error.platform_status.is_none_or(|status| (100..=599).contains(&status)));
            }
        }
        2 => {
            let set = guest::watch::ChangeSet {
                changed: bytes
                    .list(|bytes| guest::watch::FunctionState { function: bytes.function(), status: bytes.status() }),
                removed: bytes.list(Bytes::function),
                cursor: bytes.text(),
                complete: bytes.flag(),
            };
            if let Ok(set) = change_set(set, std::slice::from_ref(&dev), &mut foreign) {
                assert!(set.changed.iter().all(|(function, status)| function.namespace == dev && is_status(status)));
                assert!(set.removed.iter().all(|function| function.namespace == dev));
            }
        }
        3 => {
            if let Ok(found) = endpoints::endpoints(bytes.list(Bytes::endpoint), |grant| grant == "a") {
                for endpoint in found {
                    assert!(!endpoint.ttl.is_zero(), "{endpoint:?}");
                    assert!(endpoint.path_prefix.is_empty() || endpoint.path_prefix.starts_with('/'), "{endpoint:?}");
                    assert!(!endpoint.path_prefix.contains("/../"), "{endpoint:?}");
                }
            }
        }
        4 => {
            let page = guest::functions::FunctionPage {
                functions: bytes.list(Bytes::deployed),
                next: bytes.maybe(Bytes::text),
            };
            if let Ok(page) = functions::function_page(page, &dev, 1000, &mut foreign) {
                assert!(page.functions.iter().all(|status| status.deployment.namespace == "dev"));
            }
        }
        5 => {
            let page =
                guest::namespaces::NamespacePage { names: bytes.list(Bytes::text), next: bytes.maybe(Bytes::text) };
            if let Ok(page) = lists::namespace_page(page, 1000) {
                assert!(page.names.iter().all(|name| name.parse::<Namespace>().is_ok()), "{page:?}");
            }
        }
        6 => {
            let page = guest::secrets::SecretPage { names: bytes.list(Bytes::text), next: bytes.maybe(Bytes::text) };
            if let Ok(page) = lists::secret_page(page, 1000) {
                assert!(page.names.len() <= 1000);
            }
        }
        7 => {
            let messages = bytes.list(|bytes| guest::logs::LogMessage {
                name: bytes.text(),
                namespace: bytes.namespace(),
                instance: bytes.text(),
                timestamp_ms: bytes.number(),
                text: bytes.text(),
            });
            let batch = guest::logs::LogBatch { messages, next: bytes.maybe(Bytes::text) };
            if let Ok(batch) = lists::log_batch(batch, "dev", 1000, &mut foreign) {
                let is_own = |namespace: &str| namespace == "dev" || namespace.is_empty();
                assert!(batch.messages.iter().all(|message| is_own(&message.namespace)));
            }
        }
        _ => {
            let platform = guest::about::Platform {
                name: bytes.text(),
                orchestration: bytes.text(),
                release: bytes.text(),
                sha: bytes.text(),
            };
            if let Ok(platform) = lists::platform(platform) {
                assert!(!platform.name.chars().any(char::is_control), "{platform:?}");
            }
        }
    }
}
