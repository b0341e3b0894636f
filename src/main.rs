//! `wicketgate`: reads the command line, and runs what it asks for.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use wicketgate::app::App;
use wicketgate::app::reload::Origin;
use wicketgate::cli::{Cli, Command, EXIT_START, EXIT_USAGE, Serve, logging, watchdog_arguments};
use wicketgate::config::{chain, places};
use wicketgate::plugin::compile;

/// Each request allocates buffers of several kilobytes, which the system's allocator splits and merges each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(arguments) = watchdog_arguments(std::env::args_os()) {
        return wicketgate::watchdog::run(arguments);
    }
    if let Some(arguments) = compile::arguments(std::env::args_os()) {
        return compile::run(&arguments);
    }
    let environment = |name: &str| std::env::var(name).ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes.
            let is_mistake = error.use_stderr();
            let _closed = error.print();
            return if is_mistake { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(serve) => run(&serve, environment),
        Command::Check(check) => match check.run(environment, &mut io::stdout()) {
            Ok(_written_or_closed) => ExitCode::SUCCESS,
            Err(error) => fail(&chain(&error), EXIT_USAGE),
        },
        Command::Plugin(command) => match command.run(environment, &mut io::stdout()) {
            Ok(outcome) => ExitCode::from(outcome.status()),
            Err(error) => fail(&chain(&error), error.status()),
        },
        Command::Provider(provider) => match provider.run(environment, &mut io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&chain(&error), if error.is_usage() { EXIT_USAGE } else { EXIT_START }),
        },
        Command::Completions { shell } => match wicketgate::cli::completions(shell, &mut io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), EXIT_START),
        },
    }
}

fn run(serve: &Serve, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> ExitCode {
    let config = match serve.configuration(&environment) {
        Ok(config) => config,
        Err(error) => return fail(&chain(&error), EXIT_USAGE),
    };
    logging::start(&config.log, &environment);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let here = std::env::current_dir().unwrap_or_else(|_gone| "/".into());
    let state = config
        .state_directory
        .clone()
        .unwrap_or_else(|| places::state_directory(&environment, places::is_writable, &here));
    let again = serve.clone();
    let origin = Origin { file: serve.config.clone(), reread: Arc::new(move || again.configuration(&environment)) };
    match App::build(config, &state, origin).and_then(App::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&chain(&error), EXIT_START),
    }
}

/// Says what is wrong, and with which status the process ends.
#[expect(clippy::print_stderr, reason = "the last word of a process that cannot go on")]
fn fail(text: &str, status: u8) -> ExitCode {
    eprintln!("wicketgate: {text}");
    ExitCode::from(status)
}
