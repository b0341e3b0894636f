use super::*;

fn spec(key: &str, places: &[&str]) -> BodySpec {
    let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
    match key {
        "only" => BodySpec { only: places, ..BodySpec::default() },
        "forbid" => BodySpec { forbid: places, ..BodySpec::default() },
        "require" => BodySpec { require: places, ..BodySpec::default() },
        other => panic!("{other}"),
    }
}

/// Why a body does not pass; `None` if it does.
fn check(spec: &BodySpec, body: &str) -> Option<BodyRefusal> {
    let rule = BodyRule::from_spec(spec).unwrap();
    rule.check(body.as_bytes(), None, &["dev".parse().unwrap()]).err()
}

#[test]
fn only_what_is_listed_may_stand_in_a_body() {
    let only =
        spec("only", &["/Image", "/HostConfig/PortBindings", "/HostConfig/NetworkMode=bridge", "/Ns={namespace}"]);
    for yes in [
        "{}",
        "{\"Image\":\"a\"}",
        "{\"image\":{\"anything\":[1]}}",
        "{\"HostConfig\":{}}",
        "{\"HostConfig\":null}",
        "{\"HostConfig\":{\"PortBindings\":{\"8080/tcp\":[{\"HostPort\":\"\"}]}}}",
        "{\"HostConfig\":{\"NetworkMode\":\"bridge\"}}",
        "{\"Ns\":\"dev\"}",
    ] {
        assert_eq!(check(&only, yes), None, "{yes}");
    }
    for (no, place) in [
        ("1", ""),
        ("{\"Cmd\":null}", "/Cmd"),
        ("{\"HostConfig\":1}", "/HostConfig"),
        ("{\"HostConfig\":[1]}", "/HostConfig/0"),
        ("{\"HostConfig\":{\"Binds\":[]}}", "/HostConfig/Binds"),
        ("{\"HostConfig\":{},\"hostConfig\":{\"binds\":[\"/:/x\"]}}", "/hostConfig/binds"),
        ("{\"HostConfig\":{\"NetworkMode\":\"host\"}}", "/HostConfig/NetworkMode"),
        ("{\"HostConfig\":{\"NetworkMode\":\"bridge\",\"networkmode\":\"host\"}}", "/HostConfig/networkmode"),
        ("{\"HostConfig\":{\"NetworkMode\":[\"bridge\"]}}", "/HostConfig/NetworkMode"),
        ("{\"Ns\":\"prod\"}", "/Ns"),
        ("{\"Image/x\":1}", "/Image~1x"),
    ] {
        assert_eq!(check(&only, no), Some(BodyRefusal::NotListed(place.to_owned())), "{no}");
    }
}

#[test]
fn what_is_forbidden_may_be_there_only_when_it_says_nothing() {
    let forbid = spec("forbid", &["/H/Binds", "/H/NetworkMode=host", "/H/NetworkMode=container:*", "/c/*/privileged"]);
    for yes in [
        "{}",
        "[]",
        "{\"H\":{\"Binds\":null}}",
        "{\"H\":{\"Binds\":[],\"NetworkMode\":\"functions\"}}",
        "{\"H\":{\"Binds\":{\"a\":null}}}",
        "{\"c\":[{\"privileged\":false},{\"name\":\"x\"}]}",
        "{\"Binds\":[1]}",
    ] {
        assert_eq!(check(&forbid, yes), None, "{yes}");
    }
    for (no, place) in [
        ("{\"H\":{\"Binds\":[\"/:/x\"]}}", "/H/Binds"),
        ("{\"h\":{\"BINDS\":[\"/:/x\"]}}", "/h/BINDS"),
        ("{\"H\":{\"Bind\u{17F}\":[\"/:/x\"]}}", "/H/Bind\u{17F}"),
        ("{\"H\":{\"Binds\":null,\"Binds\":[1]}}", "/H/Binds"),
        ("{\"H\":{\"Binds\":{\"a\":{}}}}", "/H/Binds"),
        ("{\"H\":{\"NetworkMode\":\"host\"}}", "/H/NetworkMode"),
        ("{\"H\":{\"NetworkMode\":\"container:x\"}}", "/H/NetworkMode"),
        ("{\"H\":{},\"h\":{\"NetworkMode\":\"host\"}}", "/h/NetworkMode"),
        ("{\"c\":[{},{\"privileged\":true}]}", "/c/1/privileged"),
    ] {
        assert_eq!(check(&forbid, no), Some(BodyRefusal::Forbidden(place.to_owned())), "{no}");
    }
}

#[test]
fn what_is_required_has_to_be_there() {
    let require = spec("require", &["/cluster=edge", "/tags/*/key=fn"]);
    assert_eq!(check(&require, "{\"cluster\":\"edge\",\"tags\":[{\"key\":\"x\"},{\"key\":\"fn\"}]}"), None);
    for (no, place) in [
        ("{\"tags\":[{\"key\":\"fn\"}]}", "/cluster=edge"),
        ("{\"cluster\":\"prod\",\"tags\":[{\"key\":\"fn\"}]}", "/cluster=edge"),
        ("{\"cluster\":\"edge\"}", "/tags/*/key=fn"),
    ] {
        assert_eq!(check(&require, no), Some(BodyRefusal::Missing(place.to_owned())), "{no}");
    }
    for no in [
        "{\"cluster\":\"edge\",\"cluster\":\"prod\",\"tags\":[{\"key\":\"fn\"}]}",
        "{\"cluster\":\"prod\",\"cluster\":\"edge\",\"tags\":[{\"key\":\"fn\"}]}",
        "{\"cluster\":\"edge\",\"Cluster\":\"prod\",\"tags\":[{\"key\":\"fn\"}]}",
        "{\"Cluster\":\"edge\",\"tags\":[{\"key\":\"fn\"}]}",
    ] {
        assert_eq!(check(&require, no), Some(BodyRefusal::Ambiguous("/cluster=edge".to_owned())), "{no}");
    }
}

#[test]
fn what_is_no_json_does_not_pass() {
    for no in ["", "x", "{", "{}{}", "{} x", "\u{1f}\u{8b}", &"[".repeat(200)] {
        assert!(matches!(check(&spec("forbid", &["/a"]), no), Some(BodyRefusal::NotJson { .. })), "{no}");
    }
    let rule = BodyRule::from_spec(&BodySpec { is_none: true, ..BodySpec::default() }).unwrap();
    assert_eq!(rule.check(b"", None, &[]), Ok(()));
    assert_eq!(rule.check(b"{}", None, &[]), Err(BodyRefusal::NotEmpty));
}

#[test]
fn a_body_may_have_to_be_what_the_platform_holds() {
    let spec = BodySpec {
        unchanged: Some("/Spec".to_owned()),
        except: vec!["/Mode/Replicated/Replicas".to_owned()],
        ..BodySpec::default()
    };
    let rule = BodyRule::from_spec(&spec).unwrap();
    assert!(rule.needs_current());
    let held = b"{\"ID\":1,\"Spec\":{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":0}},\"Env\":[\"A\",\"B\"]}}";
    let check = |body: &str| rule.check(body.as_bytes(), Some(held), &[]);
    for yes in [
        "{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\",\"B\"]}",
        "{\"Env\":[\"A\",\"B\"],\"Mode\":{\"Replicated\":{}},\"Name\":\"f\"}",
    ] {
        assert_eq!(check(yes), Ok(()), "{yes}");
    }
    for (no, place) in [
        (
            "{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":[]}},\"Env\":[\"A\",\"B\"]}",
            "/Mode/Replicated/Replicas",
        ),
        ("{\"Name\":\"g\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\",\"B\"]}", "/Name"),
        ("{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\",\"C\"]}", "/Env/1"),
        ("{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\"]}", "/Env"),
        ("{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3}}}", "/Env"),
        ("{\"Name\":\"f\",\"Mode\":{\"Global\":{}},\"Env\":[\"A\",\"B\"]}", "/Mode/Global"),
        ("{\"Name\":\"f\",\"name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\",\"B\"]}", "/name"),
        (
            "{\"Name\":\"f\",\"Mode\":{\"Replicated\":{\"Replicas\":3,\"replicas\":9}},\"Env\":[\"A\",\"B\"]}",
            "/Mode/Replicated/replicas",
        ),
        (
            "{\"Name\":\"f\",\"Mounts\":null,\"Mode\":{\"Replicated\":{\"Replicas\":3}},\"Env\":[\"A\",\"B\"]}",
            "/Mounts",
        ),
    ] {
        assert_eq!(check(no), Err(BodyRefusal::Changed(place.to_owned())), "{no}");
    }
    for unknown in [None, Some(b"x".as_slice()), Some(b"{}".as_slice()), Some(b"{\"Spec\":1,\"spec\":2}".as_slice())] {
        assert!(matches!(rule.check(b"{}", unknown, &[]), Err(BodyRefusal::Unknown(_))));
    }
}

#[test]
fn what_is_no_demand_says_what_to_write() {
    let many: Vec<String> = (0..=PLACES_MAX).map(|index| format!("/{index}")).collect();
    for (spec, part) in [
        (BodySpec::default(), "at least one of only"),
        (spec("only", &["Image"]), "write a JSON pointer"),
        (spec("only", &["/\u{e4}"]), "in ASCII"),
        (spec("forbid", &["/a=***"]), "is not a pattern"),
        (BodySpec { except: vec!["/a".into()], ..spec("only", &["/a"]) }, "write `unchanged`"),
        (BodySpec { unchanged: Some("/a=b".into()), ..BodySpec::default() }, "names places only"),
        (BodySpec { forbid: many, ..BodySpec::default() }, "more than 256 places"),
    ] {
        let error = BodyRule::from_spec(&spec).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_body_makes_a_check_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), text in "[\\[\\]{}:,\"a1 ]{0,40}") {
        let spec = BodySpec {
            only: vec!["/a/*".into()], forbid: vec!["/a/1".into()], require: vec!["/a".into()],
            unchanged: Some("/a".into()), except: vec!["/1".into()], is_none: false,
        };
        let rule = BodyRule::from_spec(&spec).unwrap();
        drop(rule.check(&body, Some(text.as_bytes()), &[]));
        drop(rule.check(text.as_bytes(), Some(&body), &[]));
    }
}
