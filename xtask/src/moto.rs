//! moto's server, an implementation of AWS that the tests of the `ecs` plugin run: a virtual environment in `target/moto`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, has, step};
use crate::{debian, root, target};

/// How long making the environment and installing into it may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The packages, each with its version.
const REQUIREMENTS: &str = "tests/fixtures/moto.txt";

/// Makes the environment, unless it has these packages already.
pub(crate) fn environment() -> Task {
    let wanted = fs::read_to_string(root().join(REQUIREMENTS)).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
    let folder = target().join("moto");
    // Written last, so that an environment that was interrupted is made again.
    let mark = folder.join("requirements.txt");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step("making a virtual environment with moto's server (about two minutes, once)");
    let python = python()?;
    attempt(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder), LIMIT)?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
    attempt(install.arg(root().join(REQUIREMENTS)), LIMIT)
        .map_err(|error| format!("{error}; the packages of {REQUIREMENTS} come from PyPI"))?;
    fs::write(&mark, wanted).map_err(|error| format!("{}: {error}", mark.display()))
}

/// A Python that can make environments: Debian's needs a package more.
fn python() -> Result<&'static str, String> {
    let can = |python: &str| {
        Command::new(python).args(["-c", "import ensurepip, venv"]).output().is_ok_and(|output| output.status.success())
    };
    let debians = "/usr/bin/python3";
    match ["python3", debians].into_iter().find(|python| can(python)) {
        Some(python) => Ok(python),
        None if has("apt-get") || Path::new(debians).exists() => {
            debian::install(&["python3", "python3-venv"])?;
            Ok(debians)
        }
        None => Err("there is no Python with venv; install Python 3.10 or newer".to_owned()),
    }
}
