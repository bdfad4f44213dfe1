//! Files and folders that only their owner reads: queues, tables and parameters of other people's systems may be in them.
//!
//! Folders get mode 0700 and files 0600, also those of earlier starts. Nothing is changed beside what the caller names.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bit of a folder that others may write into, such as `/tmp`.
const STICKY: u32 = 0o1000;
/// Folder that a file system makes in an empty volume.
const VOLUME_FOLDER: &str = "lost+found";
/// Permission bits of the group and of others.
const OTHERS: u32 = 0o077;

/// Creates a data folder, or makes an existing one private: the folder, and its entries with these names or with such a
/// name and a `-`, as SQLite names its logs.
///
/// A folder that other programs use, or that another user owns (such as a volume's), stays as it is, with a warning.
///
/// # Errors
/// When the folder cannot be created.
pub fn own_folder(folder: &Path, names: &[&str]) -> io::Result<()> {
    if !folder.exists() {
        return DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder);
    }
    // Reports a file in the folder's place as an error of the folder.
    DirBuilder::new().recursive(true).create(folder)?;
    let is_own = |name: &str| {
        names
            .iter()
            .any(|own| name == *own || name.starts_with(&format!("{own}-")))
    };
    let entries: Vec<_> = fs::read_dir(folder)?.filter_map(Result::ok).collect();
    let (own, others): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter(|entry| entry.file_name() != VOLUME_FOLDER)
        .partition(|entry| entry.file_name().to_str().is_some_and(is_own));
    for entry in &own {
        restrict(&entry.path());
    }
    let mode = fs::metadata(folder)?.mode();
    let is_shared = mode & STICKY != 0 || (own.is_empty() && !others.is_empty());
    if !is_shared {
        // A volume's folder may have another owner; the call then fails, and the warning below reports it.
        let _ = fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE));
    }
    if fs::metadata(folder)?.mode() & OTHERS != 0 {
        tracing::warn!(
            folder = %folder.display(),
            "data folder not private: other users may list it; choose a folder of its own"
        );
    }
    Ok(())
}

/// Creates a file unless it exists, and makes it private.
///
/// # Errors
/// When the file cannot be opened.
pub fn own_file(path: &Path) -> io::Result<fs::File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)?;
    restrict(path);
    Ok(file)
}

/// Makes a file, or a folder and all below it, private. Links stay as they are.
pub fn restrict(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if metadata.is_dir() {
        set_mode(path, FOLDER_MODE);
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            restrict(&entry.path());
        }
    } else if metadata.is_file() {
        // Git's objects are read-only, and its hooks are programs.
        set_mode(path, metadata.mode() & 0o777 & !OTHERS);
    }
}

fn set_mode(path: &Path, mode: u32) {
    let is_set = fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o7777 == mode);
    if !is_set && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::warn!(path = %path.display(), %error, "change of a data file's permissions failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn allow_all(path: &Path) {
        let all = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(all)).unwrap();
    }

    #[test]
    fn a_new_folder_and_a_new_file_are_their_owners() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("deep/data");
        own_folder(&folder, &["aws.db"]).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(folder.parent().unwrap()), 0o700);
        let file = folder.join("aws.db");
        own_file(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert!(own_folder(&file, &[]).is_err());
    }

    #[test]
    fn a_folder_of_an_earlier_start_becomes_private_with_all_below_it() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data");
        fs::create_dir_all(folder.join("git/objects")).unwrap();
        for file in ["aws.db", "aws.db-wal", "git/HEAD", "git/objects/a", "mine"] {
            fs::write(folder.join(file), "x").unwrap();
            allow_all(&folder.join(file));
        }
        std::os::unix::fs::symlink(folder.join("mine"), folder.join("git/link")).unwrap();
        for sub in ["", "git", "git/objects"] {
            allow_all(&folder.join(sub));
        }
        own_folder(&folder, &["aws.db", "git"]).unwrap();
        for sub in ["", "git", "git/objects"] {
            assert_eq!(mode(&folder.join(sub)), 0o700, "{sub}");
        }
        for file in ["aws.db", "aws.db-wal", "git/HEAD", "git/objects/a"] {
            assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
        }
        assert_eq!(mode(&folder.join("mine")), 0o644, "it is not the caller's");
    }

    #[test]
    fn a_folder_that_others_use_stays_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let shared = scratch.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("theirs"), "x").unwrap();
        allow_all(&shared);
        own_folder(&shared, &["aws.db"]).unwrap();
        assert_eq!(mode(&shared), 0o755);
        let sticky = scratch.path().join("tmp");
        fs::create_dir(&sticky).unwrap();
        fs::set_permissions(&sticky, Permissions::from_mode(0o1777)).unwrap();
        own_folder(&sticky, &["aws.db"]).unwrap();
        assert_eq!(mode(&sticky), 0o1777);
    }
}
