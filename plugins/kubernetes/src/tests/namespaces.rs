//! Namespaces: those with OpenFaaS's mark.

use serde_json::json;
use wicketgate_sdk::{ErrorKind, NamespaceEntry, Namespaces};

use super::{always, kubernetes, play, recording, sent};

const UID: &str = "49d2c680-04b7-4e9f-9dcf-5f8597ee7a36";

fn staging() -> NamespaceEntry {
    NamespaceEntry {
        name: "fns-staging".to_owned(),
        labels: vec![("team".to_owned(), "a".to_owned())],
        annotations: Vec::new(),
    }
}

#[test]
fn a_namespace_is_made_shown_and_deleted() {
    let body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": { "uid": UID } });
    let script = recording("namespaces").only(&["create", "get", "delete"]).with_body("delete", body);
    play(script.with_header("delete", "content-type", "application/json"));
    let kubernetes = kubernetes();
    kubernetes.create_namespace(staging()).unwrap();
    let entry = kubernetes.get_namespace("fns-staging").unwrap();
    assert!(entry.annotations.contains(&("openfaas".to_owned(), "1".to_owned())), "{entry:?}");
    kubernetes.delete_namespace("fns-staging").unwrap();
    assert_eq!(sent(), 4);
}

#[test]
fn a_namespace_that_is_there_and_one_that_may_not_be_touched() {
    always(409, r#"{"kind":"Status","reason":"AlreadyExists","message":"namespaces \"fns-staging\" already exists"}"#);
    assert_eq!(kubernetes().create_namespace(staging()).unwrap_err().kind, ErrorKind::AlreadyExists);
    always(200, r#"{"metadata":{"name":"kube-system","uid":"1"}}"#);
    assert_eq!(sent(), 1);
    for outcome in [
        kubernetes().delete_namespace("kube-system"),
        kubernetes().update_namespace(NamespaceEntry { name: "kube-system".to_owned(), ..staging() }),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.message.contains("openfaas=1"), "{error:?}");
    }
    assert_eq!(sent(), 2, "nothing was written");
}

#[test]
fn an_update_replaces_labels_and_leaves_kubernetes_own() {
    let patch = json!({ "metadata": {
        "resourceVersion": "629",
        "labels": { "team": null, "tier": "edge" },
        "annotations": { "openfaas": "1" },
    } });
    let get = recording("namespaces").only(&["get"]);
    let write = recording("namespaces").only(&["delete"]).with_body("delete", patch);
    let write =
        write.with_header("delete", "content-type", "application/merge-patch+json").with_method("delete", "PATCH");
    play(get.then(write));
    let labels = vec![("tier".to_owned(), "edge".to_owned())];
    kubernetes().update_namespace(NamespaceEntry { labels, ..staging() }).unwrap();
}

#[test]
fn a_list_names_only_those_that_are_marked() {
    play(recording("namespaces").only(&["list by label"]).without_query("list by label", "labelSelector").with_query(
        "list by label",
        "limit",
        "250",
    ));
    let page = kubernetes().list_namespaces(None, 1000).unwrap();
    assert_eq!((page.names, page.next), (vec!["fns-staging".to_owned()], None));
    play(recording("namespaces").only(&["list"]).with_query("list", "limit", "250"));
    let page = kubernetes().list_namespaces(None, 1000).unwrap();
    assert!(!page.names.iter().any(|name| name == "kube-system" || name == "default"), "{:?}", page.names);
}
