//! A guest that answers for namespaces which are not its own (`tests/guests/hostile`).

use super::guests::guest;
use super::*;
use crate::name::Namespace;
use crate::query::functions::{FunctionDeployment, LogRequest, NamespaceEntry, Secret};

pub(super) async fn hostile(bench: &Bench, change: impl FnOnce(&mut ProviderConfig)) -> Option<PluginProvider> {
    let path = guest("hostile")?;
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
    Some(provider)
}

pub(super) fn named(name: &str) -> FunctionRef {
    FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() }
}

#[tokio::test]
async fn lists_and_watches_are_confined_to_the_providers_namespaces() {
    let bench = Bench::new();
    let Some(provider) = hostile(&bench, |_| {}).await else { return };
    let dev: Namespace = "dev".parse().unwrap();
    let names = |page: crate::query::functions::FunctionPage| {
        page.functions.into_iter().map(|status| status.deployment.namespace).collect::<Vec<_>>()
    };
    assert_eq!(names(provider.list(&dev, None, 10).await.unwrap()), ["dev"]);
    let set = provider.changes(std::slice::from_ref(&dev), None, Duration::from_secs(1)).await.unwrap();
    assert_eq!((set.changed.len(), set.removed.len()), (1, 1));
    assert!(set.changed.iter().all(|(function, _)| function.namespace == dev));
    assert_eq!(provider.list_namespaces(None, 10).await.unwrap().names, ["dev"]);
    assert!(
        bench.exposes(r#"wicketgate_plugin_foreign_entries_total{provider="edge"} 3"#),
        "what was left out is counted"
    );
    // Of one answer nothing can be left out.
    for name in ["other-name", "other-namespace"] {
        let error = provider.get(&named(name), false).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Plugin(PluginFault::BadOutput(_))), "{name}: {error}");
    }
    let error = provider.get_namespace(&dev).await.unwrap_err();
    assert_eq!(error.cause, Cause::Plugin(PluginFault::BadOutput("name")));
}

#[tokio::test]
async fn the_default_provider_may_speak_of_every_namespace() {
    let bench = Bench::new();
    let Some(provider) = hostile(&bench, |config| config.is_default = true).await else { return };
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

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_returns_ends_at_its_wall() {
    let bench = Bench::new();
    let limits = Limits { watch_timeout: Duration::from_secs(5), ..limits() };
    let Some(provider) = hostile(&bench, |config| config.limits = limits).await else { return };
    let dev: Namespace = "dev".parse().unwrap();
    let hang = provider.changes(std::slice::from_ref(&dev), Some("hang"), Duration::from_secs(5));
    let error = hang.await.unwrap_err();
    assert_eq!(error.cause, Cause::Plugin(PluginFault::Budget(Budget::Wall)), "{error}");
    provider.get_replicas(&named("good")).await.unwrap();
}
