//! Scaling from zero through `builtin:faas-provider`, as the platform's own record shows it.

use serde_json::json;

use crate::harness::{Gateway, GatewayBuilder, Platform, faas_provider, gateway};

const STATUS: &str = "/system/function/figlet";
const SCALE: &str = "/system/scale-function/figlet";

/// `admin:secret` in base64.
const CREDENTIALS: &str = "Basic YWRtaW46c2VjcmV0";

#[test]
fn a_function_scales_from_zero_and_each_call_carries_the_credentials() {
    let platform = Platform::with_credentials("admin", "secret");
    platform.function(json!({ "name": "figlet", "replicas": 0, "ready_after_polls": 2 }));
    let grant = "auth.basic = { user-file = \"user\", password-file = \"password\" }";
    let gateway = GatewayBuilder::new(&faas_provider(&platform, grant, ""))
        .file("user", "admin\n")
        .file("password", "secret\n")
        .start();

    let reply = gateway.send("POST", "/function/figlet/a?b=c", &[("authorization", "Bearer mine")], "hello");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let echo = reply.json();
    assert_eq!((&echo["path"], &echo["query"], &echo["body"]), (&json!("/a"), &json!("b=c"), &json!("hello")));
    assert!(reply.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", reply.headers);

    let log: Vec<_> = platform.log().into_iter().filter(|seen| seen.text("path").contains("figlet")).collect();
    let lines: Vec<_> = log.iter().map(|seen| seen.line()).collect();
    let status = format!("GET {STATUS}");
    assert_eq!(lines[0], status, "the platform is asked first");
    let scale = lines.iter().position(|line| *line == format!("POST {SCALE}")).expect("one scale request");
    let call = lines.iter().position(|line| line.starts_with("POST /function/figlet")).expect("one call");
    assert!(scale < call, "{lines:?}");
    // Two polls that find nothing, and one that finds an instance.
    assert!(lines[scale + 1..call].iter().filter(|line| **line == status).count() >= 3, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), 2, "{lines:?}");

    for seen in log.iter().filter(|seen| seen.text("path").starts_with("/system/")) {
        assert_eq!(seen.header("authorization"), Some(CREDENTIALS), "{seen:?}");
        assert_eq!(seen.query("namespace"), Some("openfaas-fn"), "{seen:?}");
    }
    // faasd reads the namespace from the body, faas-netes from the query: both are told.
    assert_eq!(log[scale].json(), json!({ "serviceName": "figlet", "replicas": 1, "namespace": "openfaas-fn" }));
    assert_eq!(log[scale].header("content-type"), Some("application/json"));
    // A function must never see the platform's credentials; what its caller sends is its own.
    assert_eq!(log[call].header("authorization"), Some("Bearer mine"));
}

#[test]
fn a_warm_function_waits_for_nobody_and_its_answer_says_so() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let gateway = gateway(&platform, "");
    assert!(gateway.post("/function/figlet", "1").header("server-timing").is_some());
    for _ in 0..20 {
        let reply = gateway.post("/function/figlet", "2");
        assert_eq!((reply.status, reply.header("server-timing")), (200, None), "{:?}", reply.headers);
    }
    assert_eq!(platform.count("POST", SCALE), 1);
    assert_eq!(platform.count("POST", "/function/figlet"), 21);
    assert!(platform.count("GET", STATUS) < 15, "one question for each of 21 requests would be no snapshot");
}

#[test]
fn a_warm_function_is_served_while_its_platform_says_nothing() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let gateway = gateway(&platform, "");
    assert_eq!(gateway.get("/function/figlet").status, 200);
    platform.rule(json!({ "path": "/system/.*", "then": "hang" }));
    let mut connection = gateway.connect();
    for _ in 0..200 {
        assert_eq!(connection.send("GET", "/function/figlet", &[], b"").status, 200);
    }
    platform.release();
}

#[test]
fn five_hundred_callers_of_one_cold_function_cause_one_scale_request() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0, "ready_after_polls": 5 }));
    let gateway = gateway(&platform, "");
    std::thread::scope(|scope| {
        for _ in 0..500 {
            scope.spawn(|| assert_eq!(gateway.get("/function/figlet").status, 200));
        }
    });
    assert_eq!(platform.count("POST", SCALE), 1);
    assert_eq!(platform.count("GET", "/function/figlet"), 500);
}

#[test]
fn the_least_number_of_a_label_is_asked_for() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "labels": { "com.openfaas.scale.min": "3" } }));
    let gateway = gateway(&platform, "");
    assert_eq!(gateway.get("/function/figlet").status, 200);
    let log = platform.log();
    let scale = log.iter().find(|seen| seen.text("path") == SCALE).unwrap();
    assert_eq!(scale.json()["replicas"], 3);
}

#[test]
fn a_factor_of_zero_leaves_the_function_invokable() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1, "labels": { "com.openfaas.scale.factor": "0" } }));
    assert_eq!(gateway(&platform, "").get("/function/figlet").status, 200);
}

#[test]
fn an_unknown_function_is_a_404_with_the_platforms_word() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    let reply = gateway.get("/function/nobody");
    assert_eq!(reply.code(404), "function_not_found");
    assert!(reply.text().contains("nobody"), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), None);
    assert_eq!(platform.count("POST", "/system/"), 0, "nothing is scaled");
}

#[test]
fn a_platform_that_is_down_is_a_503_and_not_a_404() {
    let mut platform = Platform::start();
    let gateway = gateway(&platform, "[scaling]\nquery-attempts = 2\n");
    platform.stop();
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.code(503), "provider_unavailable");
    assert!(reply.header("retry-after").is_some_and(|wait| wait.parse::<u64>().unwrap() > 0), "{:?}", reply.headers);
    assert!(!reply.text().contains(platform.address()), "callers are not told addresses: {}", reply.text());
}

#[test]
fn a_platform_that_hangs_is_a_504_and_holds_up_nobody_else() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    platform.function(json!({ "name": "other", "replicas": 1 }));
    let tables = "[scaling]\nquery-attempts = 1\n[provider.platform.limits]\ncall-timeout = \"1s\"\n";
    let gateway = gateway(&platform, tables);
    platform.rule(json!({ "path": STATUS, "then": "hang" }));
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| gateway.get("/function/figlet"));
        platform.wait_for(1, "GET", STATUS);
        assert_eq!(gateway.get("/function/other").status, 200);
        let reply = hanging.join().unwrap();
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
    });
    platform.release();
}

#[test]
fn an_instance_that_never_comes_is_a_504_at_the_scale_timeout() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "ready_after_polls": 1_000_000 }));
    let gateway = gateway(&platform, "[scaling]\nscale-timeout = \"1s\"\n");
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.code(504), "scale_timeout");
    assert!(reply.header("retry-after").is_some());
}

#[test]
fn too_many_waiting_callers_are_a_503_and_the_first_still_gets_its_answer() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "ready_after_polls": 1_000_000 }));
    let gateway = gateway(&platform, "[scaling]\nwaiting-per-function = 1\n");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/function/figlet"));
        platform.wait_for(1, "POST", SCALE);
        let reply = gateway.get("/function/figlet");
        assert_eq!(reply.code(503), "too_many_waiting");
        assert!(reply.header("retry-after").is_some());
        platform.function(json!({ "name": "figlet", "replicas": 1 }));
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn a_scale_request_that_fails_once_is_sent_again() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet" }));
    platform.rule(json!({ "path": SCALE, "status": 503, "times": 1 }));
    let gateway = gateway(&platform, "");
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(platform.count("POST", SCALE), 2);
}

#[test]
fn a_platform_that_drops_the_scale_request_is_asked_again() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet" }));
    platform.rule(json!({ "path": SCALE, "then": "cut", "times": 1 }));
    assert_eq!(gateway(&platform, "").get("/function/figlet").status, 200);
}

#[test]
fn wrong_credentials_for_the_platform_are_the_operators_problem() {
    let platform = Platform::with_credentials("admin", "secret");
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let gateway = gateway(&platform, "");
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(reply.header("www-authenticate"), None, "the caller has no business with the platform's challenge");
}

#[test]
fn with_scaling_switched_off_a_cold_function_is_a_503() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet" }));
    let gateway = gateway(&platform, "[scaling]\nscale-from-zero = false\n");
    assert_eq!(gateway.get("/function/figlet").code(503), "no_instance");
    assert_eq!(platform.count("POST", SCALE), 0);
}

#[test]
fn openfaas_environment_variables_are_enough() {
    let platform = Platform::with_credentials("admin", "secret");
    platform.function(json!({ "name": "figlet" }));
    for slash in ["", "/"] {
        let gateway = Gateway::with_environment(
            &[
                ("functions_provider_url", &format!("http://{}{slash}", platform.address())),
                ("basic_auth", "true"),
                ("secret_mount_path", "{folder}"),
                ("scale_from_zero", "true"),
            ],
            &[("basic-auth-user", "admin"), ("basic-auth-password", "secret")],
        );
        assert_eq!(gateway.get("/function/figlet").status, 200);
        assert_eq!(gateway.get("/system/functions").status, 401);
        let authorized = gateway.send("GET", "/system/functions", &[("authorization", CREDENTIALS)], "");
        assert_eq!(authorized.status, 200, "{}", authorized.text());
        assert_eq!(authorized.json()[0]["name"], "figlet");
        // Once for each file, although the gateway and its grant name both.
        let said = gateway.output().text();
        for file in ["basic-auth-user", "basic-auth-password"] {
            let warned = said.lines().filter(|line| line.contains("chmod o-rwx") && line.contains(file));
            assert_eq!(warned.count(), 1, "{said}");
        }
    }
}
