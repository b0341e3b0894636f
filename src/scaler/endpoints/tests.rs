use super::*;
use crate::provider::{AllowedHost, EndpointPolicy};
use crate::scaler::policy::OwnListeners;

fn policy() -> Arc<AddressPolicy> {
    let allow = vec![AllowedHost::Network("10.0.0.0/8".parse().unwrap())];
    let policy = EndpointPolicy { allow, template: None };
    Arc::new(AddressPolicy::new(&"edge".parse().unwrap(), &policy, Arc::new(OwnListeners::default())))
}

fn endpoint(authority: &str, instance: &str, ttl_ms: u64) -> Endpoint {
    Endpoint {
        target: Target::Authority(authority.into()),
        path_prefix: "".into(),
        host_header: None,
        tls: false,
        ttl: Duration::from_millis(ttl_ms),
        instance: instance.into(),
        via: None,
    }
}

fn set(found: Vec<Endpoint>, previous: Option<&EndpointSet>) -> EndpointSet {
    let policy = previous.map_or_else(policy, |set| Arc::clone(set.endpoints()[0].policy()));
    EndpointSet::new(found, &policy, previous, Instant::now(), 16).unwrap()
}

fn many(count: usize) -> EndpointSet {
    set((0..count).map(|i| endpoint(&format!("10.0.0.{i}:80"), &i.to_string(), 1000)).collect(), None)
}

#[test]
fn the_endpoint_with_fewer_requests_under_way_is_taken() {
    let set = many(2);
    let busy = set.pick().unwrap();
    for _ in 0..20 {
        assert!(!set.pick().unwrap().is_same(&busy));
    }
}

#[test]
fn a_dropped_pick_counts_no_more() {
    let set = many(1);
    let picks: Vec<Pick> = (0..3).map(|_| set.pick().unwrap()).collect();
    assert_eq!(set.endpoints()[0].in_flight(), 3);
    drop(picks);
    assert_eq!(set.endpoints()[0].in_flight(), 0);
}

#[test]
fn two_choices_keep_the_load_even() {
    let set = many(8);
    let picks: Vec<Pick> = (0..800).map(|_| set.pick().unwrap()).collect();
    for endpoint in set.endpoints() {
        let load = endpoint.in_flight();
        assert!((80..=120).contains(&load), "{endpoint:?}");
    }
    drop(picks);
}

#[test]
fn a_lone_caller_uses_all_endpoints() {
    let set = many(2);
    let mut seen = [false; 2];
    for _ in 0..200 {
        let pick = set.pick().unwrap();
        let index = set.endpoints().iter().position(|endpoint| endpoint.is_same(&pick)).unwrap();
        seen[index] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn an_endpoint_that_stays_keeps_its_count_and_another_instance_is_another_endpoint() {
    let first = set(vec![endpoint("10.0.0.1:80", "a", 1000), endpoint("10.0.0.2:80", "b", 1000)], None);
    let picks: Vec<Pick> = (0..4).map(|_| first.pick().unwrap()).collect();
    let second = set(vec![endpoint("10.0.0.1:80", "a", 1000), endpoint("10.0.0.2:80", "c", 1000)], Some(&first));
    let [kept, new] = second.endpoints() else { panic!("{second:?}") };
    assert_eq!((kept.in_flight(), new.in_flight()), (2, 0));
    drop(picks);
    assert_eq!(kept.in_flight(), 0);
}

#[test]
fn the_shortest_time_to_live_bounds_the_set() {
    let asked = Instant::now();
    let found = vec![endpoint("10.0.0.1:80", "a", 5000), endpoint("10.0.0.2:80", "b", 100)];
    let set = EndpointSet::new(found, &policy(), None, asked, 16).unwrap();
    assert_eq!(set.expires(), asked + Duration::from_millis(100));
    assert!(set.renew() < set.expires());
}

#[test]
fn refused_endpoints_are_left_out_and_all_refused_is_an_error() {
    let mixed = set(vec![endpoint("192.0.2.1:80", "x", 1000), endpoint("10.0.0.1:80", "a", 1000)], None);
    assert_eq!(mixed.endpoints().len(), 1);
    let all = EndpointSet::new(vec![endpoint("192.0.2.1:80", "x", 1000)], &policy(), None, Instant::now(), 16);
    assert!(matches!(all, Err(AddressRefused::NotAllowed { .. })), "{all:?}");
}

#[test]
fn a_second_attempt_goes_elsewhere() {
    let two = many(2);
    let first = two.pick().unwrap();
    assert!(!two.pick_other(&first).unwrap().is_same(&first));
    let one = many(1);
    let only = one.pick().unwrap();
    assert!(one.pick_other(&only).is_none());
}

#[test]
fn random_numbers_stay_below_their_bound_and_reach_all() {
    let mut seen = [0_u32; 3];
    for _ in 0..3000 {
        seen[below(3)] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}
