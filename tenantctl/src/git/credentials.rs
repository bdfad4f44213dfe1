//! Credentials for the remote: git calls this program as its askpass, which reads the password file.
//!
//! No argument, variable or URL holds the password; git reads it from a pipe. The file is read at each question, so a renewed
//! secret needs no restart.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Environment variable of git, inherited by the askpass: with it this program answers and ends.
const USER_VARIABLE: &str = "TENANTCTL_ASKPASS_USER";
const FILE_VARIABLE: &str = "TENANTCTL_ASKPASS_FILE";
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

/// A user name and the file with the password or token.
#[derive(Debug, Clone)]
pub struct Credentials {
    user: String,
    password_file: PathBuf,
    askpass: PathBuf,
}

impl Credentials {
    /// Returns credentials for git; `askpass` is a program that calls [`answer_askpass`] first, as this one does.
    pub fn new(user: String, password_file: PathBuf, askpass: PathBuf) -> Self {
        Self {
            user,
            password_file,
            askpass,
        }
    }

    pub(super) fn set_on(&self, command: &mut Command) {
        command
            .env("GIT_ASKPASS", &self.askpass)
            .env(USER_VARIABLE, &self.user)
            .env(FILE_VARIABLE, &self.password_file)
            // No helper of the user answers first, or stores the password.
            .args(["-c", "credential.helper="]);
    }
}

/// Answers the question of git if git started this program as its askpass; `None` otherwise.
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
            // A failure of this write cannot be reported anywhere.
            let _ = io::stderr().write_all(line.as_bytes());
            ExitCode::FAILURE
        }
    })
}

/// Answers a question of git, which begins with `Username` or `Password`.
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
    fn askpass_answers_the_user_and_the_first_line_of_the_file() {
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
        Credentials::new("robot".to_owned(), file, "/service".into()).set_on(&mut command);
        assert!(!format!("{command:?}").contains("s3cret"));
        assert!(!format!("{:?}", command.get_envs().collect::<Vec<_>>()).contains("s3cret"));
    }
}
