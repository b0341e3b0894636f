use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("wicketgate").chain(arguments.iter().copied()))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_command_line_wins_over_the_file() {
    let Command::Serve(serve) = parse(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--state-directory",
        "/s",
        "--log",
        "debug",
    ])
    .unwrap()
    .command
    else {
        panic!("not serve")
    };
    assert_eq!(serve.listen.unwrap().port(), 0);
    assert_eq!(serve.state_directory.as_deref(), Some(std::path::Path::new("/s")));
    assert_eq!(serve.log.as_deref(), Some("debug"));
}

#[test]
fn what_is_wrong_says_what_to_write() {
    let error = parse(&["serve", "--log", "loud"]).unwrap_err().to_string();
    assert!(error.contains("must be off, error, warn"), "{error}");
    assert!(parse(&["serve", "--lisen", "x"]).unwrap_err().to_string().contains("--listen"));
    assert!(parse(&["serve", "--listen", "localhost"]).is_err());
}

#[test]
fn help_names_every_variable_that_is_read() {
    let help = Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
    for name in [
        "functions_provider_url",
        "basic_auth",
        "secret_mount_path",
        "function_namespace",
        "scale_from_zero",
        "read_timeout",
        "write_timeout",
        "upstream_timeout",
        "max_idle_conns",
        "WICKETGATE_LOG",
        "STATE_DIRECTORY",
    ] {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn the_environment_is_a_file_that_can_be_printed() {
    let environment = |name: &str| (name == "functions_provider_url").then(|| "http://p:8081/".to_owned());
    let Source::Environment(translation) = Source::choose(None, environment) else { panic!("not the environment") };
    assert!(translation.toml.contains("connect = \"http://p:8081/\""), "{}", translation.toml);
    let file = std::path::Path::new("x.toml");
    assert_eq!(Source::choose(Some(file), environment), Source::File(file.into()));
    assert_eq!(Source::choose(None, |_name| None), Source::Example);
}

#[test]
fn every_shell_gets_a_script() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        completions(shell, &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("serve") && !script.contains("watchdog"), "{shell}");
    }
}
