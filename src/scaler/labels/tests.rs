use proptest::prelude::*;

use super::*;

fn status(labels: &[(&str, &str)]) -> ServiceStatus {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ServiceStatus { labels, ..ServiceStatus::default() }
}

fn settings(labels: &[(&str, &str)]) -> (u64, u64, u32, usize) {
    let (settings, bad) = ScaleSettings::of(&status(labels));
    (settings.min, settings.max, settings.factor, bad.len())
}

#[test]
fn without_labels_the_defaults_hold() {
    assert_eq!(settings(&[]), (1, 5, 10, 0));
    assert_eq!(settings(&[(MIN, ""), (MAX, ""), (FACTOR, "")]), (1, 5, 10, 0));
}

#[test]
fn labels_win_over_the_platform_and_the_platform_over_defaults() {
    let mut status = status(&[(MIN, "2")]);
    status.min_replicas = Some(3);
    status.max_replicas = Some(9);
    status.scaling_factor = Some(50);
    assert_eq!(ScaleSettings::of(&status), (ScaleSettings { min: 2, max: 9, factor: 50 }, Vec::new()));
}

#[test]
fn what_is_no_number_falls_back_and_is_reported() {
    for bad in ["-1", "+1", "1.0", "one", " 1", "0x1"] {
        assert_eq!(settings(&[(MIN, bad), (MAX, bad), (FACTOR, bad)]), (1, 5, 10, 3), "{bad:?}");
    }
    let mut with_platform = status(&[(MAX, "many")]);
    with_platform.max_replicas = Some(7);
    assert_eq!(ScaleSettings::of(&with_platform).0.max, 7);
}

#[test]
fn what_is_outside_its_range_is_brought_into_it_and_reported() {
    assert_eq!(settings(&[(MAX, "0")]), (1, 1, 10, 1));
    assert_eq!(settings(&[(FACTOR, "101")]), (1, 5, 100, 1));
    assert_eq!(settings(&[(MIN, "18446744073709551615"), (MAX, "18446744073709551616")]), (1000, 1000, 10, 2));
}

#[test]
fn a_least_number_above_the_greatest_is_lowered_only_to_one_that_somebody_set() {
    assert_eq!(settings(&[(MIN, "8")]), (8, 8, 10, 0));
    assert_eq!(settings(&[(MIN, "8"), (MAX, "3")]), (3, 3, 10, 1));
    // The default least number is nobody's mistake.
    assert_eq!(settings(&[(MAX, "1"), (MIN, "")]), (1, 1, 10, 0));
}

#[test]
fn factor_zero_and_least_zero_are_taken_and_a_request_still_wakes_one_instance() {
    assert_eq!(settings(&[(FACTOR, "0"), (MIN, "0")]), (0, 5, 0, 0));
    assert_eq!(ScaleSettings::of(&status(&[(FACTOR, "0"), (MIN, "0")])).0.wake(), 1);
}

#[test]
fn the_report_names_label_value_and_what_is_used() {
    let (_, bad) = ScaleSettings::of(&status(&[(FACTOR, "150")]));
    let text = bad[0].to_string();
    for part in [FACTOR, "\"150\"", "0 to 100", "100 is used"] {
        assert!(text.contains(part), "{text}");
    }
}

proptest! {
    #[test]
    fn any_labels_give_settings_inside_their_ranges(
        min in "[-+0-9a ]{0,22}", max in "[-+0-9a ]{0,22}", factor in ".{0,8}",
        platform in any::<(Option<u64>, Option<u64>, Option<u32>)>(),
    ) {
        let mut status = status(&[(MIN, &min), (MAX, &max), (FACTOR, &factor)]);
        (status.min_replicas, status.max_replicas, status.scaling_factor) = platform;
        let (settings, _) = ScaleSettings::of(&status);
        prop_assert!(settings.min <= settings.max);
        prop_assert!((1..=REPLICAS_MAX).contains(&settings.max));
        prop_assert!(settings.factor <= 100);
        prop_assert!((1..=settings.max).contains(&settings.wake()));
    }

    #[test]
    fn numbers_inside_their_ranges_are_taken_exactly(min in 0..=1000_u64, more in 0..=1000_u64, factor in 0..=100_u32) {
        let max = (min + more).clamp(1, 1000);
        let found = settings(&[(MIN, &min.to_string()), (MAX, &max.to_string()), (FACTOR, &factor.to_string())]);
        prop_assert_eq!(found, (min, max, factor, 0));
    }
}
