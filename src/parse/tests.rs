use super::*;
use proptest::prelude::*;

#[test]
fn a_duration_is_a_number_and_a_unit() {
    for (text, millis) in [
        ("250ms", 250),
        ("5s", 5_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1m30s", 90_000),
        ("0", 0),
        (" 3s ", 3_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn a_duration_without_a_unit_is_refused_with_the_right_form() {
    assert_eq!(duration("5").unwrap_err().to_string(), "\"5\" has no unit; write 5s or 5ms");
    for bad in ["", "s", "-5s", "5 s", "1.5s", "5sec", "5s5", "99999999999999999999s", "20000000d", "1m30", "µs"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn openfaas_durations_are_seconds_or_go_durations() {
    for (text, millis) in
        [("60", 60_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("100ms", 100), ("0", 0), (".5s", 500), ("1000us", 1)]
    {
        assert_eq!(openfaas_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for bad in ["", "1d", "-1s", "1m30", "s", ".s", "1..5s"] {
        assert!(openfaas_duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_size_is_a_number_and_a_unit() {
    for (text, bytes) in [
        ("0", 0),
        ("512", 512),
        ("10MB", 10_000_000),
        ("64MiB", 64 << 20),
        ("1 GiB", 1 << 30),
        ("2kB", 2_000),
        ("7B", 7),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for bad in ["", "MiB", "-1", "1.5MiB", "64mib", "64M", "99999999999TiB"] {
        assert!(size(bad).is_err(), "{bad}");
    }
    assert!(size("64M").unwrap_err().to_string().contains("MiB"));
}

#[test]
fn an_address_is_ip_and_port_or_a_unix_socket() {
    assert_eq!("127.0.0.1:8080".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 8080).into())));
    assert!("[::1]:0".parse::<Address>().is_ok());
    assert_eq!("unix:/run/a.sock".parse(), Ok(Address::Unix("/run/a.sock".into())));
    assert_eq!("unix:///run/a.sock".parse(), Ok(Address::Unix("/run/a.sock".into())));
    assert!(matches!(":8080".parse::<Address>(), Err(InvalidAddress::NoHost(_))));
    assert!(matches!("10.0.0.1".parse::<Address>(), Err(InvalidAddress::NoPort(_))));
    assert!(matches!("localhost:80".parse::<Address>(), Err(InvalidAddress::NotAnAddress(_))));
    assert!(matches!("unix:".parse::<Address>(), Err(InvalidAddress::NoPath(_))));
    assert!(matches!(format!("unix:/{}", "a".repeat(107)).parse::<Address>(), Err(InvalidAddress::PathTooLong(_))));
}

#[test]
fn a_switch_is_exactly_true_or_false() {
    assert_eq!(switch("true"), Ok(true));
    assert_eq!(switch("false"), Ok(false));
    assert_eq!(switch(""), Ok(false));
    assert!(switch("True").is_err());
}

#[test]
fn a_command_is_split_as_a_shell_would() {
    for (text, words) in [
        ("wc -w", &["wc", "-w"][..]),
        ("  sh -c 'echo \"a b\"' ", &["sh", "-c", "echo \"a b\""]),
        (r#"x "a \"b\" \n" c\ d"#, &["x", "a \"b\" \\n", "c d"]),
        ("x '' \"\"", &["x", "", ""]),
        ("x a'b'c", &["x", "abc"]),
        ("x a#b", &["x", "a#b"]),
    ] {
        assert_eq!(argv(text).unwrap(), words, "{text}");
    }
}

#[test]
fn what_only_a_shell_can_do_is_refused() {
    for bad in ["a | b", "a > b", "a $HOME", "a \"$HOME\"", "a `b`", "ls *", "a && b", "a; b", "~/x", "a # b"] {
        assert!(matches!(argv(bad), Err(InvalidArgv::NeedsShell { .. })), "{bad}");
    }
    assert!(matches!(argv("a 'b"), Err(InvalidArgv::OpenQuote { quote: '\'', .. })));
    assert!(matches!(argv("a \"b"), Err(InvalidArgv::OpenQuote { quote: '"', .. })));
    assert!(matches!(argv("a \\"), Err(InvalidArgv::OpenEscape(_))));
    assert_eq!(argv("  "), Err(InvalidArgv::Empty));
    assert_eq!(argv("'' a"), Err(InvalidArgv::Empty));
}

proptest! {
    #[test]
    fn nothing_panics(text in ".{0,40}") {
        drop(duration(&text));
        drop(openfaas_duration(&text));
        drop(size(&text));
        drop(switch(&text));
        drop(argv(&text));
        drop(text.parse::<Address>());
    }

    #[test]
    fn near_misses_do_not_panic(text in "[-0-9.smhdµnu ]{0,24}") {
        if let Ok(span) = duration(&text) {
            // The two grammars agree wherever both accept: a day is ours alone, a bare number theirs.
            if let Ok(other) = openfaas_duration(&text) {
                prop_assert_eq!(span, other);
            }
        }
        drop(size(&text));
    }

    #[test]
    fn a_shown_duration_reads_as_itself(millis in 0u64..1 << 44) {
        let span = Duration::from_millis(millis);
        prop_assert_eq!(duration(&show_duration(span)), Ok(span));
    }

    #[test]
    fn a_shown_size_reads_as_itself(bytes in any::<u64>(), shift in 0u32..41) {
        let bytes = bytes >> shift << shift;
        prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
    }

    #[test]
    fn units_of_time_scale(number in 0u64..100_000) {
        prop_assert_eq!(duration(&format!("{number}s")).unwrap() * 60, duration(&format!("{number}m")).unwrap());
        prop_assert_eq!(duration(&format!("{number}h")).unwrap() * 24, duration(&format!("{number}d")).unwrap());
    }

    #[test]
    fn single_quoted_words_come_back(words in proptest::collection::vec("[^'\0]{1,12}", 1..5)) {
        let text = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        prop_assert_eq!(argv(&text).unwrap(), words);
    }

    #[test]
    fn an_address_shows_as_it_reads(ip in any::<std::net::IpAddr>(), port in any::<u16>()) {
        let address = Address::Tcp((ip, port).into());
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }
}
