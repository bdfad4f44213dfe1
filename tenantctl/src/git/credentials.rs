//! Credentials for the remote, by askpass: git asks this program, which reads the password's file.
//!
//! The password is in no argument, no variable and no URL; git has it from a pipe. It is read each time it is asked for,
//! so a mounted secret that is renewed is taken up without a restart.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Set in the environment of git, and so of the askpass it starts: makes this program answer and end.
const USER_VARIABLE: &str = "TENANTCTL_ASKPASS_USER";
/// The file that holds the password.
const FILE_VARIABLE: &str = "TENANTCTL_ASKPASS_FILE";
/// Largest password file.
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

/// A user's name and the file that holds the password or token.
#[derive(Debug, Clone)]
pub struct Credentials {
    user: String,
    password_file: PathBuf,
    askpass: PathBuf,
}

impl Credentials {
    /// Credentials that `askpass` hands to git: a program that calls [`answer_askpass`] first of all, as this one does.
    pub fn new(user: String, password_file: PathBuf, askpass: PathBuf) -> Self {
        Self {
            user,
            password_file,
            askpass,
        }
    }

    pub(super) fn hand_to(&self, command: &mut Command) {
        command
            .env("GIT_ASKPASS", &self.askpass)
            .env(USER_VARIABLE, &self.user)
            .env(FILE_VARIABLE, &self.password_file)
            // No helper of the user's comes first, or is told what was used.
            .args(["-c", "credential.helper="]);
    }
}

/// Answers git's question where git has started this program for that; `None` where it was started for anything else.
pub fn answer_askpass() -> Option<ExitCode> {
    let (user, file) = (
        std::env::var(USER_VARIABLE).ok()?,
        std::env::var_os(FILE_VARIABLE)?,
    );
    let question = std::env::args().nth(1).unwrap_or_default();
    let answered = answer(&question, &user, Path::new(&file))
        .and_then(|answer| writeln!(io::stdout(), "{answer}"));
    Some(match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!(
                "the password file {} cannot be read: {error}\n",
                Path::new(&file).display()
            );
            // Nobody is left to tell if this fails, too.
            let _ = io::stderr().write_all(line.as_bytes());
            ExitCode::FAILURE
        }
    })
}

/// What git wants to hear: its questions begin with `Username` or `Password`.
fn answer(question: &str, user: &str, file: &Path) -> io::Result<String> {
    if question.starts_with("Username") {
        return Ok(user.to_owned());
    }
    let mut password = String::new();
    std::fs::File::open(file)?
        .take(MAX_PASSWORD_BYTES)
        .read_to_string(&mut password)?;
    Ok(password.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_first_line_of_the_file_are_what_git_hears() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(
            answer("Username for 'https://host': ", "robot", &file).unwrap(),
            "robot"
        );
        assert_eq!(
            answer("Password for 'https://robot@host': ", "robot", &file).unwrap(),
            "s3cret"
        );
        assert!(
            answer(
                "Password for 'https://host': ",
                "robot",
                &folder.path().join("none")
            )
            .is_err()
        );
    }

    #[test]
    fn no_argument_and_no_variable_holds_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        let mut command = Command::new("git");
        Credentials::new("robot".to_owned(), file, "/service".into()).hand_to(&mut command);
        assert!(!format!("{command:?}").contains("s3cret"));
        assert!(!format!("{:?}", command.get_envs().collect::<Vec<_>>()).contains("s3cret"));
    }
}
