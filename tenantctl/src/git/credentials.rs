//! Credentials for the remote: git calls this program as its askpass, which reads the password file.
//!
//! No argument, variable or URL holds the password; git reads it from a pipe. The file is read at each question, so a renewed
//! secret needs no restart. The answer goes to the server of the repository's address alone: whatever a redirect, a rewrite rule
//! or another setting makes of the address, git then asks for another server, and gets no answer. Over plain HTTP the server must
//! be this machine.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::address::Origin;

/// Environment variable of git, inherited by the askpass: with it this program answers and ends.
const USER_VARIABLE: &str = "TENANTCTL_ASKPASS_USER";
const FILE_VARIABLE: &str = "TENANTCTL_ASKPASS_FILE";
const ORIGIN_VARIABLE: &str = "TENANTCTL_ASKPASS_ORIGIN";
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

    /// Gives a call of git the credentials for one server.
    pub(super) fn set_on(&self, command: &mut Command, origin: &Origin) {
        command
            .env(ORIGIN_VARIABLE, origin.as_str())
            .env("GIT_ASKPASS", &self.askpass)
            .env(USER_VARIABLE, &self.user)
            .env(FILE_VARIABLE, &self.password_file)
            // No helper of the user answers first, or stores the password.
            .args(["-c", "credential.helper="]);
    }
}

/// Answers the question of git if git started this program as its askpass; `None` otherwise.
pub fn answer_askpass() -> Option<ExitCode> {
    let (user, file, origin) = (
        std::env::var(USER_VARIABLE).ok()?,
        std::env::var_os(FILE_VARIABLE)?,
        std::env::var(ORIGIN_VARIABLE).ok()?,
    );
    let question = std::env::args().nth(1).unwrap_or_default();
    if server_in(&question).as_ref().map(Origin::as_str) != Some(&origin) {
        let line =
            format!("git asks for the password of another server than {origin}: it gets none\n");
        // A failure of this write cannot be reported anywhere.
        let _ = io::stderr().write_all(line.as_bytes());
        return Some(ExitCode::FAILURE);
    }
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

/// Returns the server that a question of git is about: `Password for 'https://robot@host': `.
fn server_in(question: &str) -> Option<Origin> {
    let (_, rest) = question.split_once('\'')?;
    let (url, _) = rest.rsplit_once('\'')?;
    Origin::of(url).filter(Origin::is_private)
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
    fn a_question_names_its_server() {
        let server = |question: &str| server_in(question).map(|origin| origin.to_string());
        let wanted = Some("https://host".to_owned());
        for question in [
            "Username for 'https://host': ",
            "Password for 'https://robot@host': ",
            "Password for 'https://o'brien@host:443/a/b.git': ",
        ] {
            assert_eq!(server(question), wanted, "{question}");
        }
        for question in [
            "",
            "Password: ",
            "Password for 'http://host': ",
            "Password for 'ssh://host': ",
        ] {
            assert_eq!(server(question), None, "{question}");
        }
        assert_ne!(server("Password for 'https://host@evil': "), wanted);
    }

    #[test]
    fn no_argument_and_no_variable_holds_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        let mut command = Command::new("git");
        Credentials::new("robot".to_owned(), file, "/service".into())
            .set_on(&mut command, &Origin::of("https://host").unwrap());
        assert!(!format!("{command:?}").contains("s3cret"));
        assert!(!format!("{:?}", command.get_envs().collect::<Vec<_>>()).contains("s3cret"));
    }
}
