use proptest::prelude::*;

use super::*;

fn policy(allow: Vec<AllowedHost>, own: &[&str]) -> AddressPolicy {
    let listeners = Arc::new(OwnListeners::default());
    listeners.set(own.iter().map(|address| address.parse().unwrap()).collect());
    AddressPolicy::new(&"edge".parse().unwrap(), &EndpointPolicy { allow, template: None }, listeners)
}

fn network(text: &str) -> AllowedHost {
    AllowedHost::Network(text.parse().unwrap())
}

fn everything() -> Vec<AllowedHost> {
    vec![network("0.0.0.0/0"), network("::/0"), AllowedHost::Suffix("*.internal".into())]
}

#[test]
fn nothing_is_allowed_by_default_and_the_refusal_says_what_to_write() {
    let refused = policy(Vec::new(), &[]).check_authority("10.0.0.7:8080").unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("10.0.0.7:8080") && text.contains("[provider.edge.endpoints]"), "{text}");
    assert!(policy(Vec::new(), &[]).check_authority("figlet.internal:80").is_err());
}

#[test]
fn an_allowed_network_admits_its_addresses_and_no_others() {
    let policy = policy(vec![network("10.1.0.0/16")], &[]);
    assert!(policy.check_authority("10.1.2.3:80").is_ok());
    assert!(policy.check_authority("[::ffff:10.1.2.3]:80").is_ok());
    assert!(policy.check_authority("10.2.0.1:80").is_err());
    assert!(policy.check_authority("[fd00::1]:80").is_err());
}

#[test]
fn dangerous_addresses_are_refused_even_if_everything_is_allowed() {
    let policy = policy(everything(), &[]);
    for bad in [
        "169.254.169.254:80",
        "169.254.170.2:80",
        "100.100.100.200:80",
        "192.0.0.192:80",
        "168.63.129.16:80",
        "0.0.0.0:80",
        "0.1.2.3:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "[::]:80",
        "[ff02::1]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "[fd20:ce::254]:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::1]:80",
        "[::a9fe:a9fe]:80",
    ] {
        let refused = policy.check_authority(bad);
        assert!(matches!(refused, Err(AddressRefused::Never { .. })), "{bad}: {refused:?}");
    }
    assert!(policy.check_authority("127.0.0.1:80").is_ok());
    assert!(policy.check_authority("[::1]:80").is_ok());
}

#[test]
fn a_name_is_checked_again_when_it_became_an_address() {
    let policy = policy(vec![network("10.0.0.0/8"), AllowedHost::Suffix("*.internal".into())], &[]);
    assert!(policy.check_authority("other.example:80").is_ok(), "it may mean an allowed network");
    assert!(policy.check_connect("other.example", "10.0.0.1:80".parse().unwrap()).is_ok());
    assert!(policy.check_connect("other.example", "192.0.2.1:80".parse().unwrap()).is_err());
    assert!(policy.check_connect("figlet.internal", "192.0.2.1:80".parse().unwrap()).is_ok());
    assert!(policy.check_connect("figlet.internal", "169.254.169.254:80".parse().unwrap()).is_err());
}

#[test]
fn names_compare_as_dns_compares_them() {
    let policy =
        policy(vec![AllowedHost::Name("Figlet.Example".into()), AllowedHost::Suffix("*.internal".into())], &[]);
    assert!(policy.check_authority("figlet.example.:80").is_ok());
    assert!(policy.check_authority("A.Internal:80").is_ok());
    assert!(policy.check_authority("x.figlet.example:80").is_err());
    assert!(policy.check_authority("internal:80").is_err());
    assert!(policy.check_authority("notinternal:80").is_err());
}

#[test]
fn the_gateway_never_dials_itself() {
    let policy = policy(everything(), &["0.0.0.0:8080", "127.0.0.1:8082"]);
    for own in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:8082"] {
        assert!(matches!(policy.check_authority(own), Err(AddressRefused::OwnListener { .. })), "{own}");
    }
    assert!(policy.check_authority("127.0.0.1:8081").is_ok());
    assert!(policy.check_authority("192.0.2.1:8080").is_ok(), "another machine's port 8080");
    assert!(policy.check_authority("127.0.0.2:8082").is_ok(), "that listener has one address");
}

#[test]
fn what_is_not_host_and_port_is_refused() {
    for bad in [
        "", "10.0.0.1", ":80", "a:", "a:0", "a:+1", "a:65536", "a b:80", "[::1:80", "::1:80", "a/b:80", "-a:80",
        "u@h:80",
    ] {
        assert!(matches!(Authority::parse(bad), Err(AddressRefused::Malformed(_))), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn reading_an_authority_never_panics(text in ".{0,80}") {
        drop(Authority::parse(&text));
    }

    #[test]
    fn an_address_outside_the_allowed_network_never_passes(ip in any::<u32>(), port in 1_u16..) {
        let policy = policy(vec![network("10.0.0.0/8")], &[]);
        let ip = Ipv4Addr::from(ip);
        prop_assert_eq!(policy.check_authority(&format!("{ip}:{port}")).is_ok(), ip.octets()[0] == 10);
    }
}
