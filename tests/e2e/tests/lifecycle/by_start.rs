//! Traces of a start on the machine: files that only their owner reads, and log lines without colors.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::endpoint::Endpoint;
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Process, binary, command_with_clean_env};
use kit::wait::PATIENCE;

use crate::Installation;

/// Each file and folder below this one, and the folder itself, with its permissions.
fn modes(folder: &Path) -> Vec<(PathBuf, u32, bool)> {
    let metadata = std::fs::symlink_metadata(folder).expect("it is there");
    let mut all = vec![(
        folder.to_owned(),
        metadata.permissions().mode(),
        metadata.is_dir(),
    )];
    if metadata.is_dir() {
        for entry in std::fs::read_dir(folder).expect("it is readable") {
            all.extend(modes(&entry.expect("an entry").path()));
        }
    }
    all
}

fn assert_private(folder: &Path) {
    let all = modes(folder);
    assert!(all.len() > 2, "{all:?}");
    for (path, mode, is_folder) in all {
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        assert!(
            !is_folder || mode & 0o777 == 0o700,
            "{}: {mode:o}",
            path.display()
        );
    }
}

/// Gives every file and folder the permissions that an earlier version left.
fn open_up(folder: &Path) {
    for (path, _, is_folder) in modes(folder) {
        let mode = if is_folder { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }
}

#[tokio::test]
async fn the_data_of_local_are_their_owners_alone_after_work_and_over_an_old_folder() {
    let installation = Installation::new().await;
    installation.onboard("tenant-4", "premium").await;
    installation.answers("tenant-4", ["tenant-4"; 3]).await;
    installation.posts_and_lists("tenant-4").await;
    assert_private(installation.folder.path());
    let Installation { mut local, folder } = installation;
    local.process.signal("TERM");
    local.process.exit(PATIENCE).await;
    open_up(folder.path());
    let mut again = Local::start(Some(folder.path())).await;
    assert_private(folder.path());
    again.process.signal("TERM");
    again.process.exit(PATIENCE).await;
    assert_private(folder.path());
}

#[tokio::test]
async fn the_data_of_localaws_are_their_owners_alone_over_a_new_folder_and_an_old_one() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("aws");
    let mut endpoint = Endpoint::kept(folder.clone()).await;
    assert_private(&folder);
    endpoint.process.kill();
    open_up(&folder);
    endpoint.start_again().await;
    assert_private(&folder);
}

/// Ends a program after it has logged at this level, and returns what it printed.
async fn printed(mut command: Command, variables: &[(&str, &str)]) -> String {
    command.envs(variables.iter().copied());
    let mut process = Process::start("the program", command);
    process
        .line("its address", |line| line.contains("http://").then_some(()))
        .await;
    process.signal("TERM");
    process.exit(PATIENCE).await;
    [process.stdout(), process.stderr()].concat().join("\n")
}

#[tokio::test]
async fn no_log_line_has_colors_where_no_terminal_is() {
    // Neither variable makes a pipe a terminal.
    for forced in [
        ("CLICOLOR_FORCE", "1"),
        ("FORCE_COLOR", "1"),
        ("TERM", "xterm-256color"),
    ] {
        let mut localaws = command_with_clean_env(binary("localaws"));
        localaws.args(["--ephemeral", "--listen=0.0.0.0:0"]);
        let lines = printed(localaws, &[("RUST_LOG", "debug"), forced]).await;
        assert!(
            lines.contains("listening on a non-loopback address"),
            "{lines}"
        );
        assert!(!lines.contains('\u{1b}'), "{lines}");
        let local = command(ANYWHERE, ANYWHERE, None);
        let lines = printed(local, &[("LOG_LEVEL", "debug"), forced]).await;
        assert!(!lines.contains('\u{1b}'), "{lines}");
    }
}
