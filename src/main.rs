//! `wicketgate`: reads the command line, and runs what it asks for.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
