//! Which configuration is used: a file, OpenFaaS's environment, or the bundled example.

use std::path::{Path, PathBuf};

use crate::config::environment::{self, Translation};
use crate::config::{Config, ConfigError, EXAMPLE};
use crate::plugin;

/// Which configuration is used.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The file of `--config`.
    File(PathBuf),
    /// OpenFaaS's environment.
    Environment(Translation),
    /// [`EXAMPLE`].
    Example,
}

impl Source {
    /// The first that there is. A file wins over the environment, which then is not looked at.
    pub fn choose(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(file) = file {
            return Self::File(file.to_owned());
        }
        environment::translate(environment).map_or(Self::Example, Self::Environment)
    }

    /// Reads and checks it. What the environment says and means nothing is a warning.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        let builtins: Vec<&str> = plugin::builtin::names().collect();
        let here = std::path::absolute(".").unwrap_or_else(|_no_working_directory| "/".into());
        match self {
            Self::File(path) => Config::from_file(path, &builtins),
            Self::Environment(translation) => {
                let mut config = Config::from_toml(
                    &translation.toml,
                    "OpenFaaS's environment (`wicketgate check --print`)",
                    &here,
                    &builtins,
                )?;
                config.warnings.extend(translation.warnings.iter().cloned());
                Ok(config)
            }
            Self::Example => Config::from_toml(EXAMPLE, "the bundled example", &here, &builtins),
        }
    }

    /// Reads and checks it with the files that it names, as a start needs them. Blocks for that.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read_with_files(&self) -> Result<Config, ConfigError> {
        let config = self.read()?;
        let base = match self {
            Self::File(path) => path.as_path(),
            // A file in the working directory, if there were one.
            Self::Environment(_) | Self::Example => Path::new("wicketgate.toml"),
        };
        let base = std::path::absolute(base).unwrap_or_else(|_no_working_directory| "/".into());
        config.try_files(&self.text()?, base.parent().unwrap_or(Path::new("/")))?;
        Ok(config)
    }

    /// It as TOML.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn text(&self) -> Result<String, ConfigError> {
        match self {
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })
            }
            Self::Environment(translation) => Ok(translation.toml.clone()),
            Self::Example => Ok(EXAMPLE.into()),
        }
    }
}
