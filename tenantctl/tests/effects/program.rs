//! The `tenantctl` binary as a process without this process's environment.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::remote::Remote;

/// The program, with the environment of every call.
#[derive(Clone)]
pub(crate) struct Program {
    repository: String,
    home: PathBuf,
    variables: Vec<(String, String)>,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Uses a bare repository by its path.
    pub(crate) fn of(remote: &Remote) -> Self {
        Self::at(&remote.address(), remote)
    }

    /// Uses a repository at another address; the user's home is beside the remote.
    pub(crate) fn at(address: &str, remote: &Remote) -> Self {
        let home = remote.scratch().join("home");
        std::fs::create_dir_all(&home).unwrap();
        Self {
            repository: address.to_owned(),
            home,
            variables: Vec::new(),
        }
    }

    /// Uses another home, and so another mirror.
    pub(crate) fn at_home(&self, name: &str) -> Self {
        let home = self.home.with_file_name(name);
        std::fs::create_dir_all(&home).unwrap();
        Self {
            home,
            ..self.clone()
        }
    }

    /// Adds an environment variable.
    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut other = self.clone();
        other.variables.push((name.to_owned(), value.into()));
        other
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantctl"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", &self.home)
            .env("GITOPS_REPOSITORY", &self.repository);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(arguments).current_dir(&self.home);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("it starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Calls the program, which must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Calls the program with JSON output.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let ran = self.run(&[&["--output=json"], arguments].concat());
        assert_eq!(ran.stderr, "", "{arguments:?}");
        (
            ran.code,
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}")),
        )
    }

    /// Onboards a tenant at release 0.0.
    pub(crate) fn onboard(&self, tenant: &str, tier: &str) -> Ran {
        self.run(&["onboard", tenant, "--tier", tier, "--release", "0.0"])
    }
}

impl Ran {
    /// Returns standard output and standard error.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}
