//! A guest of the tests that attacks its host: how, the name of the function that it is asked about says.
//!
//! `tests/fixtures/README.md` lists the attacks with what each test asserts. What a guest can do without a
//! library is in `tests/fixtures/*.wat`.

use std::process::abort;
use std::time::Duration;

use wicketgate_sdk::bindings::imports::wasi::http::outgoing_handler::handle;
use wicketgate_sdk::bindings::imports::wasi::http::types::{Fields, Method, OutgoingBody, OutgoingRequest};
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    ChangeSet, Endpoint, Endpoints, FunctionDeployment, FunctionPage, FunctionRef, FunctionState, FunctionStatus,
    Functions, Health, NamespaceEntry, NamespacePage, Namespaces, Provider, Result, Scaling, ServiceStatus, Target,
    Watch, clock, config, export_provider,
};

/// Ways to write a path that another reader would take for `/secret`.
const PATHS: [&str; 9] = [
    "/open/%2e%2e/secret",
    "/open/../secret",
    "/open/%2E./secret",
    "/open%2F..%2Fsecret",
    "/open/..%5Csecret",
    "//secret",
    "/open//../secret",
    "/secret%00",
    "/open/..;/secret",
];

/// Places that no grant names.
const ELSEWHERE: [&str; 7] = [
    "http://169.254.169.254/latest/meta-data",
    "http://metadata.google.internal/",
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://localhost/",
    "https://example.com/",
    "http://platform:80/open",
];

/// Fields that a platform or a proxy before it would believe.
const FIELDS: [(&str, &str); 9] = [
    ("Impersonate-User", "system:admin"),
    ("Impersonate-Group", "system:masters"),
    ("X-Remote-User", "admin"),
    ("Authorization", "Bearer stolen"),
    ("Cookie", "session=stolen"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Original-URL", "/secret"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Proxy-Authorization", "Basic stolen"),
];

struct Hostile;

/// A status that says how often something worked that must not.
fn worked(count: usize) -> Result<ServiceStatus> {
    Ok(ServiceStatus { replicas: count as u64, ..ServiceStatus::default() })
}

fn is_answered(request: Request) -> bool {
    request.send().is_ok_and(|answer| answer.success("an attack").is_ok())
}

/// How often the slow body sends a byte, and how many it has: half a second in all.
const DROPS: (u32, Duration) = (10, Duration::from_millis(50));

/// A request whose body comes byte by byte. `None` where the host did not take it.
fn drip() -> Option<u16> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Post).ok()?;
    request.set_authority(Some("platform")).ok()?;
    request.set_path_with_query(Some("/open")).ok()?;
    let body = request.body().ok()?;
    let answer = handle(request, None).ok()?;
    let stream = body.write().ok()?;
    for _ in 0..DROPS.0 {
        stream.blocking_write_and_flush(b"x").ok()?;
        clock::wait(DROPS.1);
    }
    drop(stream);
    OutgoingBody::finish(body, None).ok()?;
    answer.subscribe().block();
    Some(answer.get()?.ok()?.ok()?.status())
}

/// Traps where it is told to.
fn trap_at(service: &str) {
    if service == "trap" {
        abort();
    }
}

impl Provider for Hostile {
    fn open() -> Result<Self> {
        Ok(Self)
    }

    fn get_replicas(&self, service: &str, _namespace: &str) -> Result<ServiceStatus> {
        trap_at(service);
        match service {
            "many-requests" => worked((0..100).filter(|_| is_answered(Request::get("http://platform/open"))).count()),
            "endless-response" => {
                let mut answer = Request::get("http://platform/endless").send()?;
                let mut bytes = 0;
                while let Some(chunk) = answer.read(64 << 10)? {
                    bytes += chunk.len();
                }
                worked(bytes)
            }
            "large-request" => {
                worked(usize::from(is_answered(Request::post("http://platform/open").body(vec![b'x'; 8 << 20]))))
            }
            "header-bomb" => {
                let mut request = Request::get("http://platform/open");
                for _ in 0..100 {
                    request = request.header("accept", "x".repeat(1000));
                }
                worked(usize::from(is_answered(request)))
            }
            "many-fields" => {
                let mut request = Request::get("http://platform/open");
                for _ in 0..1000 {
                    request = request.header("accept", "x");
                }
                worked(usize::from(is_answered(request)))
            }
            "smuggled-fields" => {
                let mut request = Request::get("http://platform/open");
                for (name, value) in FIELDS {
                    request = request.header(name, value);
                }
                worked(usize::from(is_answered(request)))
            }
            "split-header" => worked(usize::from(is_answered(
                Request::get("http://platform/open").header("accept", "a\r\nX-Evil: 1"),
            ))),
            "paths" => {
                worked(PATHS.iter().filter(|path| is_answered(Request::get(format!("http://platform{path}")))).count())
            }
            "query" => worked(usize::from(is_answered(Request::get("http://platform/open?admin=true")))),
            "elsewhere" => worked(ELSEWHERE.iter().filter(|url| is_answered(Request::get(**url))).count()),
            "methods" => {
                let requests = [Request::put("http://platform/open"), Request::delete("http://platform/open")];
                worked(requests.into_iter().map(is_answered).filter(|done| *done).count())
            }
            "writes" => worked(usize::from(is_answered(Request::post("http://platform/open")))),
            "redirect" => worked(usize::from(Request::get("http://platform/redirect").send()?.status() == 200)),
            "slow-body" => worked(usize::from(drip() == Some(200))),
            "silent" => worked(usize::from(is_answered(Request::get("http://platform/silent")))),
            // Those whose attack is where they say that their instances are.
            _ => Ok(ServiceStatus { replicas: 1, available_replicas: 1, ..ServiceStatus::default() }),
        }
    }

    fn set_replicas(&self, service: &str, _namespace: &str, _count: u64) -> Result<()> {
        trap_at(service);
        Ok(())
    }
}

impl Scaling for Hostile {
    fn ensure(&self, service: &str, _: &str, at_least: u64, _version: Option<&str>) -> Result<ServiceStatus> {
        trap_at(service);
        Ok(ServiceStatus { replicas: at_least, available_replicas: at_least, ..ServiceStatus::default() })
    }
}

impl Health for Hostile {
    fn check(&self) -> Result<()> {
        trap_at(&config::get("health").unwrap_or_default());
        Ok(())
    }
}

impl Endpoints for Hostile {
    fn resolve(&self, service: &str, _namespace: &str) -> Result<Vec<Endpoint>> {
        trap_at(service);
        let authority = match service {
            "metadata" => "169.254.169.254:80".to_owned(),
            "metadata-v6" => "[fd00:ec2::254]:80".to_owned(),
            "mapped-metadata" => "[::ffff:169.254.169.254]:80".to_owned(),
            "link-local" => "[fe80::1]:80".to_owned(),
            "not-allowed" => "192.0.2.1:80".to_owned(),
            // `at-PORT` is loopback, `named-PORT` is a name of it.
            _ => match service.strip_prefix("named-") {
                Some(port) => format!("localhost:{port}"),
                None => format!("127.0.0.1:{}", service.strip_prefix("at-").unwrap_or("1")),
            },
        };
        Ok(vec![Endpoint {
            target: Target::Authority(authority),
            path_prefix: String::new(),
            host_header: None,
            tls: false,
            ttl_ms: 60_000,
            instance: String::new(),
        }])
    }
}

/// A function of a namespace that is not its own, and one that is.
fn lies(namespace: &str) -> [FunctionRef; 2] {
    let one = |namespace: &str| FunctionRef { name: "stolen".to_owned(), namespace: namespace.to_owned() };
    [one("kube-system"), one(namespace)]
}

impl Watch for Hostile {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        if cursor == Some("hang") {
            clock::wait(timeout * 1000);
        }
        trap_at(cursor.unwrap_or_default());
        let namespace = namespaces.first().cloned().unwrap_or_default();
        let changed = lies(&namespace).map(|function| FunctionState {
            function,
            status: ServiceStatus { replicas: 1, available_replicas: 1, ..ServiceStatus::default() },
        });
        Ok(ChangeSet {
            changed: changed.into(),
            removed: lies(&namespace).into(),
            cursor: "hang".to_owned(),
            complete: true,
        })
    }
}

impl Functions for Hostile {
    fn list_functions(&self, namespace: &str, _cursor: Option<&str>, _limit: u32) -> Result<FunctionPage> {
        let functions = lies(namespace).map(|function| status(&function.name, &function.namespace));
        Ok(FunctionPage { functions: functions.into(), next: None })
    }

    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        trap_at(service);
        Ok(match service {
            "other-name" => status("stolen", namespace),
            "other-namespace" => status(service, "kube-system"),
            _ => status(service, namespace),
        })
    }

    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        trap_at(&deployment.service);
        Ok(())
    }

    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        trap_at(&deployment.service);
        Ok(())
    }

    fn delete_function(&self, service: &str, _namespace: &str) -> Result<()> {
        trap_at(service);
        Ok(())
    }
}

fn status(service: &str, namespace: &str) -> FunctionStatus {
    FunctionStatus {
        deployment: FunctionDeployment {
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            ..FunctionDeployment::default()
        },
        replicas: 1,
        available_replicas: 1,
        ..FunctionStatus::default()
    }
}

impl Namespaces for Hostile {
    fn list_namespaces(&self, _cursor: Option<&str>, _limit: u32) -> Result<NamespacePage> {
        Ok(NamespacePage { names: vec!["dev".to_owned(), "kube-system".to_owned()], next: None })
    }

    fn get_namespace(&self, _name: &str) -> Result<NamespaceEntry> {
        Ok(NamespaceEntry { name: "kube-system".to_owned(), labels: Vec::new(), annotations: Vec::new() })
    }

    fn create_namespace(&self, _entry: NamespaceEntry) -> Result<()> {
        Ok(())
    }

    fn update_namespace(&self, _entry: NamespaceEntry) -> Result<()> {
        Ok(())
    }

    fn delete_namespace(&self, _name: &str) -> Result<()> {
        Ok(())
    }
}

export_provider! {
    Hostile,
    exports: [Scaling, Watch, Endpoints, Functions, Namespaces, Health],
    name: "hostile",
    description: "Attacks its host, for the tests",
    grants: { "platform": "whatever it can get" },
    config: { "health": "`trap` lets its check trap" },
}
