//! A guest that answers for namespaces which are not its own (`tests/guests/hostile`).

use super::guests::guest;
use super::*;
use crate::name::Namespace;
use crate::query::functions::{FunctionDeployment, LogRequest, NamespaceEntry, Secret};

pub(super) async fn hostile(bench: &Bench, change: impl FnOnce(&mut ProviderConfig)) -> PluginProvider {
    let path = guest("hostile");
    let mut config = bench.config(
        "good",
        Limits { cpu_time: Duration::from_secs(20), call_timeout: Duration::from_secs(60), ..limits() },
    );
    config.component = ComponentSource::File(path);
    change(&mut config);
    let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
    let parts = HostParts { egress, ..bench.parts(&config) };
    let candidate = bench.plugins.load(&config, parts).await.map_err(|error| error.refusal).unwrap();
    let provider = PluginProvider::new(&config);
    provider.publish(candidate);
    provider
}

#[tokio::test]
async fn what_was_left_out_is_counted() {
    let bench = Bench::new();
    let provider = hostile(&bench, |_| {}).await;
    let dev: Namespace = "dev".parse().unwrap();
    assert_eq!(provider.list(&dev, None, 10).await.unwrap().functions.len(), 1);
    let set = provider.changes(std::slice::from_ref(&dev), None, Duration::from_secs(1)).await.unwrap();
    assert_eq!((set.changed.len(), set.removed.len()), (1, 1));
    assert!(bench.exposes(r#"wicketgate_plugin_foreign_entries_total{provider="edge"} 3"#));
}

#[tokio::test]
async fn the_default_provider_may_speak_of_every_namespace() {
    let bench = Bench::new();
    let provider = hostile(&bench, |config| config.is_default = true).await;
    assert_eq!(provider.list_namespaces(None, 10).await.unwrap().names, ["dev", "kube-system"]);
    provider.get_replicas(&FunctionRef { namespace: "kube-system".parse().unwrap(), ..figlet() }).await.unwrap();
}

#[tokio::test]
async fn a_provider_is_asked_about_no_other_namespace() {
    let bench = Bench::new();
    let provider = bench.provider("good", limits()).await;
    let other: Namespace = "kube-system".parse().unwrap();
    let function = FunctionRef { namespace: other.clone(), ..figlet() };
    let deployment = FunctionDeployment { service: "a".into(), namespace: "kube-system".into(), ..Default::default() };
    let entry = NamespaceEntry { name: "kube-system".into(), ..Default::default() };
    let secret = Secret { name: "a".into(), namespace: "kube-system".into(), value: Vec::new() };
    let request = LogRequest { name: "a".into(), namespace: "kube-system".into(), ..Default::default() };
    let second = Duration::from_secs(1);
    let errors = [
        provider.get_replicas(&function).await.err(),
        provider.set_replicas(&function, 1).await.err(),
        provider.ensure(&function, 1, None).await.err(),
        provider.resolve(&function).await.err(),
        provider.get(&function, false).await.err(),
        provider.delete(&function).await.err(),
        provider.list(&other, None, 1).await.err(),
        provider.deploy(&deployment).await.err(),
        provider.update(&deployment).await.err(),
        provider.get_namespace(&other).await.err(),
        provider.create_namespace(&entry).await.err(),
        provider.update_namespace(&entry).await.err(),
        provider.delete_namespace(&other).await.err(),
        provider.list_secrets(&other, None, 1).await.err(),
        provider.create_secret(&secret).await.err(),
        provider.update_secret(&secret).await.err(),
        provider.delete_secret("a", &other).await.err(),
        provider.logs(&request, None, 1, second).await.err(),
        provider.changes(std::slice::from_ref(&other), None, second).await.err(),
    ];
    for (index, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("question {index} was answered"));
        assert_eq!(error.cause, Cause::NoProvider, "question {index}: {error}");
    }
}
