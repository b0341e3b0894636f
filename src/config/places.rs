//! Where the gateway keeps its files when the configuration does not say.

use std::path::{Path, PathBuf};

/// The directory of a service that a package installed.
pub const SYSTEM_STATE: &str = "/var/lib/wicketgate";

/// The directory for state: what the environment says (`STATE_DIRECTORY`, which systemd sets from
/// `StateDirectory=`), [`SYSTEM_STATE`] if it is there and can be written, else the user's own
/// (`$XDG_STATE_HOME/wicketgate`, then `$HOME/.local/state/wicketgate`), and without any of them
/// `.wicketgate` in the working directory.
pub fn state_directory(
    environment: impl Fn(&str) -> Option<String>,
    is_writable: impl Fn(&Path) -> bool,
    working_directory: &Path,
) -> PathBuf {
    let named = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories by colons; the first is ours.
    let given = environment("STATE_DIRECTORY").and_then(|text| text.split(':').next().map(PathBuf::from));
    if let Some(directory) = given.filter(|path| path.is_absolute()) {
        return directory;
    }
    if is_writable(Path::new(SYSTEM_STATE)) {
        return SYSTEM_STATE.into();
    }
    if let Some(home) = named("XDG_STATE_HOME") {
        return home.join("wicketgate");
    }
    if let Some(home) = named("HOME") {
        return home.join(".local/state/wicketgate");
    }
    working_directory.join(".wicketgate")
}

/// Whether `path` is a directory that this process may write to, read-only file systems included.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(environment: &[(&str, &str)], writable: bool) -> PathBuf {
        let environment =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        state_directory(environment, |_path| writable, Path::new("/srv/gateway"))
    }

    #[test]
    fn the_first_place_that_exists_is_chosen() {
        let home = [("HOME", "/home/a"), ("XDG_STATE_HOME", "/home/a/state")];
        assert_eq!(chosen(&[("STATE_DIRECTORY", "/var/lib/x:/y"), ("HOME", "/home/a")], true), Path::new("/var/lib/x"));
        assert_eq!(chosen(&home, true), Path::new(SYSTEM_STATE));
        assert_eq!(chosen(&home, false), Path::new("/home/a/state/wicketgate"));
        assert_eq!(chosen(&[("HOME", "/home/a")], false), Path::new("/home/a/.local/state/wicketgate"));
        assert_eq!(chosen(&[("HOME", "relative")], false), Path::new("/srv/gateway/.wicketgate"));
    }
}
