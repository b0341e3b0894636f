use proptest::prelude::*;

use super::*;

fn openfaas_fn() -> Namespace {
    "openfaas-fn".parse().unwrap()
}

fn place<'a>(query: Option<&str>, default: &'a Namespace) -> Place<'a> {
    Place { query: query.map(str::to_owned), default }
}

fn read(text: &str) -> Result<(FunctionRef, FunctionDeployment), InvalidInput> {
    deployment(&Bytes::copy_from_slice(text.as_bytes()), place(None, &openfaas_fn()))
}

#[test]
fn a_deployment_is_read_as_go_reads_it() {
    let (function, deployment) = read(
        r#"{"SERVICE":"figlet","Image":"ghcr.io/openfaas/figlet","envprocess":"figlet","envVars":{"a":"b","n":null},
            "labels":null,"constraints":["x"],"limits":{"Memory":"128Mi","nvidia.com/gpu":"1"},"unknown":{"x":[1]},
            "readOnlyRootFilesystem":true,"namespace":""}"#,
    )
    .unwrap();
    assert_eq!(function.to_string(), "figlet.openfaas-fn");
    assert_eq!(deployment.namespace, "openfaas-fn");
    assert_eq!(deployment.env_process.as_deref(), Some("figlet"));
    assert_eq!(deployment.env_vars.unwrap(), Pairs::from([("a".into(), "b".into()), ("n".into(), String::new())]));
    assert_eq!(deployment.labels, None);
    let limits = deployment.limits.unwrap();
    assert_eq!(limits.memory.as_deref(), Some("128Mi"));
    assert_eq!(limits.extra.get("nvidia.com/gpu").map(String::as_str), Some("1"));
    assert!(deployment.read_only_root_filesystem);
}

#[test]
fn the_exact_spelling_of_a_key_wins() {
    let (function, _) = read(r#"{"SERVICE":"other","service":"figlet","image":"x"}"#).unwrap();
    assert_eq!(function.name.as_str(), "figlet");
}

#[test]
fn each_refusal_names_what_is_wrong() {
    for (body, message) in [
        ("", "the body is empty; send a JSON object"),
        ("[]", "the body must be a JSON object, not a list"),
        ("{}", "service is missing"),
        (r#"{"service":"a"}"#, "image is missing"),
        (r#"{"service":1}"#, "service must be a string, not a number"),
        (
            r#"{"service":"a b","image":"x"}"#,
            "service: ' ' is not allowed in a name; write letters, digits, '-', '_' or '.'",
        ),
        (
            r#"{"service":"a","image":"x","namespace":"b.c"}"#,
            "namespace \"b.c\" must not have a dot: the last dot of name.namespace separates the two",
        ),
        (r#"{"service":"a","image":"x","labels":{"k":1}}"#, "labels.k must be a string, not a number"),
        (r#"{"service":"a","image":"x","limits":{"cpu":1}}"#, "limits.cpu must be a string, not a number"),
        (r#"{"service":"a","image":"x","secrets":"s"}"#, "secrets must be a list of strings, not a string"),
    ] {
        assert_eq!(read(body).unwrap_err().to_string(), message, "{body}");
    }
    assert!(matches!(read("{"), Err(InvalidInput::Json(_))));
}

#[test]
fn a_scale_request_takes_zero_but_no_sign_no_fraction_and_no_silence() {
    let default = openfaas_fn();
    let read = |body: &'static str, query| {
        scaling(&Bytes::from_static(body.as_bytes()), "figlet".parse().unwrap(), place(query, &default))
    };
    let (function, count) = read(r#"{"replicas":0}"#, None).unwrap();
    assert_eq!((function.to_string().as_str(), count), ("figlet.openfaas-fn", 0));
    let (function, count) = read(r#"{"serviceName":"figlet","replicas":3,"namespace":"dev"}"#, None).unwrap();
    assert_eq!((function.to_string().as_str(), count), ("figlet.dev", 3));
    assert_eq!(read(r#"{"replicas":1}"#, Some("dev")).unwrap().0.to_string(), "figlet.dev");
    assert_eq!(read(r#"{"replicas":1,"namespace":"dev"}"#, Some("dev")).unwrap().0.to_string(), "figlet.dev");
    for bad in [
        r#"{"replicas":-1}"#,
        r#"{"replicas":1.5}"#,
        r#"{"replicas":"1"}"#,
        "{}",
        r#"{"replicas":1,"serviceName":"x"}"#,
    ] {
        assert!(read(bad, None).is_err(), "{bad}");
    }
    assert!(matches!(read(r#"{"replicas":1,"namespace":"a"}"#, Some("b")), Err(InvalidInput::Differs { .. })));
}

#[test]
fn a_secret_has_its_value_as_text_or_as_base64() {
    let default = openfaas_fn();
    let read = |body: &'static str| secret(&Bytes::from_static(body.as_bytes()), place(None, &default));
    assert_eq!(read(r#"{"name":"s","value":"text","rawValue":"AAE="}"#).unwrap().1.value, b"text");
    assert_eq!(read(r#"{"name":"s","value":"","rawValue":"AAE="}"#).unwrap().1.value, [0, 1]);
    assert_eq!(read(r#"{"name":"s","rawValue":"%"}"#).unwrap_err(), InvalidInput::Base64);
    assert_eq!(read(r#"{"value":"x"}"#).unwrap_err(), InvalidInput::Missing("name"));
    assert!(read(r#"{"name":"../s"}"#).is_err());
}

#[test]
fn a_namespace_is_named_by_path_or_body_and_never_by_two_different_names() {
    let read = |body: &'static str, path: Option<&str>| {
        namespace_entry(&Bytes::from_static(body.as_bytes()), path.map(str::to_owned)).map(|(name, _)| name.to_string())
    };
    assert_eq!(read(r#"{"name":"dev"}"#, None).unwrap(), "dev");
    assert_eq!(read(r#"{"labels":{"openfaas":"1"}}"#, Some("dev")).unwrap(), "dev");
    assert!(read(r#"{"name":"dev"}"#, Some("prod")).is_err());
    assert!(read("{}", None).is_err());
}

proptest! {
    #[test]
    fn reading_never_panics(body in "\\PC{0,200}|\\{\"service\":\\PC{0,40}\\}") {
        drop(read(&body));
    }
}
