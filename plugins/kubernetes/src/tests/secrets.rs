//! Secrets: written, and never read.

use serde_json::json;
use wicketgate_sdk::testing::take_requests;
use wicketgate_sdk::{ErrorKind, Secret, Secrets};

use super::{always, kubernetes, play, recording, sent};

fn api_key(value: &[u8]) -> Secret {
    Secret { name: "api-key".to_owned(), namespace: "fns".to_owned(), value: value.to_vec() }
}

#[test]
fn secrets_are_made_and_listed_without_their_values() {
    let script = recording("secrets").only(&["create", "list metadata only"]);
    play(script.with_query("list metadata only", "limit", "250"));
    kubernetes().create_secret(api_key(b"test-value-1")).unwrap();
    let page = kubernetes().list_secrets("fns", None, 1000).unwrap();
    assert_eq!((page.names, page.next), (vec!["api-key".to_owned()], None));
    let requests = take_requests();
    let reads = requests.iter().filter(|request| request.method == "GET");
    for request in reads {
        assert!(request.headers[0].1.contains("as=PartialObjectMetadata"), "{request:?}");
    }
    play(recording("secrets").only(&["exists"]));
    assert_eq!(kubernetes().create_secret(api_key(b"test-value-1")).unwrap_err().kind, ErrorKind::AlreadyExists);
}

#[test]
fn an_update_and_a_deletion_are_of_the_secret_that_was_read() {
    let uid = "58d28e15-a4db-49df-b7db-b87f566b8c62";
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let get = || recording("secrets").only(&["get"]).with_header("get", "accept", metadata);
    let body = json!({ "metadata": { "resourceVersion": "643" }, "data": { "api-key": "//4=" } });
    play(get().then(recording("secrets").only(&["patch"]).with_body("patch", body)));
    kubernetes().update_secret(api_key(&[0xff, 0xfe])).unwrap();
    let body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": { "uid": uid } });
    let delete = recording("secrets").only(&["delete"]).with_body("delete", body);
    play(get().then(delete.with_header("delete", "content-type", "application/json")));
    kubernetes().delete_secret("api-key", "fns").unwrap();
    assert_eq!(sent(), 4);
}

#[test]
fn a_secret_of_somebody_else_is_as_good_as_absent() {
    always(200, r#"{"metadata":{"name":"tls","uid":"1","labels":{"app.kubernetes.io/managed-by":"cert-manager"}}}"#);
    let kubernetes = kubernetes();
    let secret = Secret { name: "tls".to_owned(), ..api_key(b"x") };
    assert_eq!(kubernetes.update_secret(secret).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(kubernetes.delete_secret("tls", "fns").unwrap_err().kind, ErrorKind::NotFound);
    assert!(take_requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn a_refusal_that_quotes_the_value_is_not_repeated() {
    always(422, r#"{"kind":"Status","reason":"Invalid","message":"invalid: {\"data\":{\"api-key\":\"s3cret\"}}"}"#);
    let error = kubernetes().create_secret(api_key(b"s3cret")).unwrap_err();
    assert_eq!((error.kind, error.platform_status), (ErrorKind::Invalid, Some(422)));
    assert!(!error.message.contains("s3cret"), "{error:?}");
}

#[test]
fn missing_rights_are_told() {
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let script = recording("forbidden").only(&["secrets"]).with_header("secrets", "accept", metadata);
    let script = script.with_query("secrets", "labelSelector", "app.kubernetes.io/managed-by=gateway");
    play(script.with_query("secrets", "limit", "5"));
    let error = kubernetes().list_secrets("fns", None, 5).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("cannot list resource"), "{error:?}");
}
