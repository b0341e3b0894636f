//! The guest `hostile`: its requests, against a platform that believes everything. Paths, headers and credentials
//! are tested rule by rule in `host`; here a whole plugin tries.

use tokio::net::TcpListener;

use super::super::guests::{Platform, guest};
use super::*;
use crate::host::grant::{Grant, Rule};

const BODY: &str = match std::str::from_utf8(&[b'x'; 1 << 20]) {
    Ok(text) => text,
    Err(_) => "",
};

fn script(_method: &str, path: &str) -> (u16, &'static str) {
    match path {
        "/redirect" => (302, ""),
        "/endless" => (200, BODY),
        _ => (200, "ok"),
    }
}

/// The limits of an attack, what its grant opens beside the usual, and what is off.
struct Setup {
    limits: Limits,
    rules: Vec<&'static str>,
    first_byte: Duration,
    off: Option<Check>,
}

fn setup(attack: &str, half: Half) -> Setup {
    let is_off = half == Half::Without;
    let mut setup = Setup {
        limits: Limits {
            cpu_time: Duration::from_secs(20),
            call_timeout: Duration::from_secs(60),
            ..Limits::default()
        },
        rules: Vec::new(),
        first_byte: Duration::from_secs(60),
        off: None,
    };
    let limits = &mut setup.limits;
    match attack {
        "paths" => {
            // Each of them looks like this to who does not resolve it.
            setup.rules.push("GET /open/**");
            setup.off = is_off.then_some(Check::Paths);
        }
        "query" if is_off => setup.rules.push("GET /open?admin=*"),
        "methods" if is_off => setup.rules.extend(["PUT /open", "DELETE /open"]),
        "header-bomb" | "many-fields" if is_off => limits.header_bytes = 1 << 20,
        "smuggled-fields" => setup.off = is_off.then_some(Check::Fields),
        "many-requests" if is_off => limits.requests = 1000,
        "large-request" if is_off => {
            limits.request_bytes = 64 << 20;
            limits.host_call_bytes = 64 << 20;
        }
        "endless-response" => limits.response_bytes = if is_off { 64 << 20 } else { 64 << 10 },
        "slow-body" if !is_off => limits.call_timeout = Duration::from_millis(200),
        "silent" if is_off => limits.call_timeout = Duration::from_millis(200),
        "silent" => setup.first_byte = Duration::from_millis(100),
        _ => {}
    }
    setup
}

/// A server that takes connections and says nothing.
async fn silence() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    format!("http://{address}")
}

/// The provider of the attacker, and its configuration.
async fn config(bench: &Bench, platform: &Platform, attack: &str, half: Half) -> ProviderConfig {
    let Setup { limits, rules, first_byte, .. } = setup(attack, half);
    let connect = if attack == "silent" { silence().await } else { platform.serve(script).await };
    let mut grant = Grant::new(connect.parse().unwrap());
    let usual = ["GET /open", "GET /endless", "GET /redirect", "GET /silent", "POST /open"];
    grant.rules = usual.iter().chain(&rules).map(|rule| rule.parse::<Rule>().unwrap()).collect();
    grant.limits.first_byte_timeout = first_byte;
    let mut config = bench.config("good", limits);
    config.component = ComponentSource::File(guest("hostile"));
    if attack == "elsewhere" && half == Half::Without {
        // The operator knows the place by one of the names that the guest tries.
        config.grants.insert("localhost".to_owned(), Grant { rules: vec!["GET /".parse().unwrap()], ..grant.clone() });
    }
    config.grants.insert("platform".to_owned(), grant);
    config
}

async fn candidate(bench: &Bench, config: &ProviderConfig) -> Candidate {
    let egress = Arc::new(Egress::new(config, &EgressMetrics::new(&Registry::default())).unwrap());
    let parts = HostParts { egress, ..bench.parts(config) };
    bench.plugins.load(config, parts).await.map_err(|error| error.refusal).unwrap()
}

/// Fields that a platform would believe.
fn is_believed(name: &str) -> bool {
    ["impersonate", "x-", "authorization", "cookie", "proxy-"].iter().any(|prefix| name.starts_with(prefix))
}

#[tokio::test]
async fn requests_are_what_the_operator_opened() {
    let bench = Bench::new();
    run("requests", async |attack, half| {
        let platform = Platform::default();
        let config = config(&bench, &platform, attack, half).await;
        let provider = PluginProvider::new(&config);
        let candidate = candidate(&bench, &config).await;
        let function = named(attack);
        if attack == "writes" && half == Half::Within {
            // Not published yet: it is asked beside the active generation, about what that was asked.
            let active = bench.provider("good", limits()).await;
            active.get_replicas(&function).await.unwrap();
            let report = super::super::super::super::shadow::shadow(&active, &candidate, &config.swap, &[]).await;
            let wrote = report.differences.iter().any(|difference| difference.field == "effect");
            return match (wrote && !report.is_accepted(), platform.seen().as_slice()) {
                (true, []) => "sends nothing, and refuses the swap".to_owned(),
                (_, seen) => format!("{report}: {seen:?}"),
            };
        }
        provider.publish(candidate);
        let _off = setup(attack, half).off.map(Off::of);
        let answer = provider.get_replicas(&function).await;
        let fields = platform.fields();
        match (attack, &answer) {
            ("smuggled-fields", Ok(_)) => {
                let believed = fields.iter().find(|name| is_believed(name));
                return if believed.is_some() { "passes them on" } else { "leaves them out" }.to_owned();
            }
            ("silent", Ok(status)) if status.replicas == 0 => return "tells the guest in time".to_owned(),
            // The guest's own library says no to some; what counts is what reached the platform.
            (_, Ok(_)) | (_, Err(QueryError { cause: Cause::Platform(_), .. })) => {}
            _ => return told(&answer),
        }
        if platform.seen().is_empty() { "sends nothing" } else { "sends it" }.to_owned()
    })
    .await;
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_others() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let config = config(&bench, &platform, "redirect", Half::Within).await;
    let provider = PluginProvider::new(&config);
    provider.publish(candidate(&bench, &config).await);
    let status = provider.get_replicas(&named("redirect")).await.unwrap();
    assert_eq!((status.replicas, platform.seen().len()), (0, 1));
}

#[tokio::test]
async fn a_field_with_a_line_end_never_reaches_the_platform() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let config = config(&bench, &platform, "split-header", Half::Within).await;
    let provider = PluginProvider::new(&config);
    provider.publish(candidate(&bench, &config).await);
    let worked = provider.get_replicas(&named("split-header")).await.map_or(0, |status| status.replicas);
    assert_eq!((worked, platform.seen()), (0, vec![]));
}
