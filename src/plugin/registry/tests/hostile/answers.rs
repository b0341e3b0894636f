//! The guest `hostile`: what it answers, and where it traps.

use tokio::time::Instant;

use super::*;
use crate::name::Namespace;
use crate::provider::{AllowedHost, EndpointPolicy};
use crate::query::functions::FunctionDeployment;
use crate::scaler::{AddressPolicy, AddressRefused, EndpointSet, OwnListeners};

/// A policy that allows everything that an operator may allow, but for one network of documentation's.
fn policy(allow: &[&str]) -> Arc<AddressPolicy> {
    let own = Arc::new(OwnListeners::default());
    own.set(vec!["127.0.0.1:8080".parse().unwrap()]);
    let allow = allow.iter().map(|network| AllowedHost::Network(network.parse().unwrap())).collect();
    Arc::new(AddressPolicy::new(&"edge".parse().unwrap(), &EndpointPolicy { allow, template: None }, own))
}

#[tokio::test]
async fn endpoints_are_dialled_only_where_they_may() {
    const MOST: [&str; 6] = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fd00::/8", "fe80::/10", "100.64.0.0/10"];
    let bench = Bench::new();
    let provider = lies::hostile(&bench, |_| {}).await;
    run("endpoints", async |guest, half| {
        let found = provider.resolve(&named(guest)).await.unwrap();
        let is_off = half == Half::Without;
        let _off = is_off.then(|| Off::of(if guest == "at-8080" { Check::OwnListeners } else { Check::NeverDialled }));
        let mut allow = MOST.to_vec();
        if is_off && guest == "not-allowed" {
            allow.push("192.0.2.0/24");
        }
        match EndpointSet::new(found, &policy(&allow), None, Instant::now(), 10) {
            Ok(_) => "dials it",
            Err(AddressRefused::NotAllowed { .. }) => "does not dial what was not allowed",
            Err(AddressRefused::Never { .. }) => "never dials it",
            Err(AddressRefused::OwnListener { .. }) => "does not dial itself",
            Err(AddressRefused::Malformed(_)) => "cannot read it",
        }
        .to_owned()
    })
    .await;
}

/// What was shown of another namespace.
fn confined(names: &[&str]) -> String {
    if names.iter().all(|name| *name == "dev") { "leaves them out" } else { "shows them" }.to_owned()
}

#[tokio::test]
async fn answers_are_confined_to_the_providers_namespaces() {
    let bench = Bench::new();
    run("namespaces", async |guest, half| {
        let is_off = half == Half::Without;
        let provider = lies::hostile(&bench, |config| config.is_default = is_off && guest == "list-namespaces").await;
        let _off = is_off.then(|| Off::of(Check::Confined));
        let dev: Namespace = "dev".parse().unwrap();
        match guest {
            "list-functions" => {
                let page = provider.list(&dev, None, 10).await.unwrap();
                let names: Vec<_> = page.functions.iter().map(|status| status.deployment.namespace.as_str()).collect();
                confined(&names)
            }
            "changes" => {
                let set = provider.changes(std::slice::from_ref(&dev), None, Duration::from_secs(1)).await.unwrap();
                let functions = set.changed.iter().map(|(function, _)| function).chain(&set.removed);
                confined(&functions.map(|function| function.namespace.as_str()).collect::<Vec<_>>())
            }
            "list-namespaces" => {
                let page = provider.list_namespaces(None, 10).await.unwrap();
                confined(&page.names.iter().map(String::as_str).collect::<Vec<_>>())
            }
            "get-namespace" => told(&provider.get_namespace(&dev).await),
            _ => told(&provider.get(&named(guest), false).await),
        }
    })
    .await;
}

#[tokio::test]
async fn a_trap_takes_its_instance_and_nothing_else() {
    let bench = Bench::new();
    run("traps", async |guest, half| {
        let provider = lies::hostile(&bench, |config| config.config = serde_json::json!({ "health": "trap" })).await;
        let _off = (half == Half::Without).then(|| Off::of(Check::Discard));
        let trap = named("trap");
        let deployment =
            FunctionDeployment { service: "trap".into(), namespace: "dev".into(), ..FunctionDeployment::default() };
        let namespaces = [figlet().namespace];
        let again = async || told(&provider.resolve(&named("at-80")).await);
        let trapped = match guest {
            "get-replicas" => told(&provider.get_replicas(&trap).await),
            "set-replicas" => told(&provider.set_replicas(&trap, 1).await),
            "ensure" => told(&provider.ensure(&trap, 1, None).await),
            "resolve" => told(&provider.resolve(&trap).await),
            "check" => told(&provider.check().await),
            "get-function" => told(&provider.get(&trap, false).await),
            "deploy-function" => told(&provider.deploy(&deployment).await),
            "update-function" => told(&provider.update(&deployment).await),
            "delete-function" => told(&provider.delete(&trap).await),
            // The one instance of watches.
            "changes" => {
                let changes = async |cursor| provider.changes(&namespaces, cursor, Duration::from_secs(1)).await;
                let trapped = told(&changes(Some("trap")).await);
                return told_twice(&trapped, &told(&changes(None).await));
            }
            other => format!("knows no {other}"),
        };
        told_twice(&trapped, &again().await)
    })
    .await;
}

fn told_twice(trapped: &str, next: &str) -> String {
    if next == "answers" { trapped.to_owned() } else { format!("{trapped}, and the next one too") }
}
