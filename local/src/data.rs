//! Data folder: a lock, so that one process uses it, and a format version.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use localaws::private_files;

use crate::repository::{CACHE, LAST_APPLIED, REPOSITORY};

const FORMAT: &str = "1";
/// Files and folders that this program makes in the folder. The endpoint has its own.
const FILES: &[&str] = &["lock", "format", REPOSITORY, CACHE, LAST_APPLIED];

/// A locked data folder; unlocked on drop.
pub(crate) struct DataFolder {
    folder: PathBuf,
    _lock: File,
}

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error(
        "--data-dir: cannot write to {folder}: {reason}; choose another folder, or run with --ephemeral"
    )]
    Unwritable { folder: PathBuf, reason: io::Error },
    #[error(
        "--data-dir: {0} is in use by another process; stop that process, or choose another folder"
    )]
    InUse(PathBuf),
    #[error(
        "--data-dir: {folder} has format {found}, this version reads {FORMAT}; move it away or choose another folder"
    )]
    OtherVersion { folder: PathBuf, found: String },
}

impl DataFolder {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Locks the folder; creates it if it is missing.
pub(crate) fn open(folder: &Path) -> Result<DataFolder, DataError> {
    let unwritable = |reason| DataError::Unwritable {
        folder: folder.into(),
        reason,
    };
    private_files::own_folder(folder, FILES).map_err(unwritable)?;
    let lock = private_files::own_file(&folder.join("lock")).map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DataError::InUse(folder.into())),
        Err(TryLockError::Error(reason)) => return Err(unwritable(reason)),
    }
    let version = folder.join("format");
    match fs::read_to_string(&version) {
        Ok(found) if found.trim() == FORMAT => {}
        Ok(found) => {
            return Err(DataError::OtherVersion {
                folder: folder.into(),
                found: found.trim().to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&version, format!("{FORMAT}\n")).map_err(unwritable)?;
            private_files::restrict(&version);
        }
        Err(reason) => return Err(unwritable(reason)),
    }
    Ok(DataFolder {
        folder: folder.into(),
        _lock: lock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_until_it_is_dropped() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("deep/data");
        let first = open(&folder).unwrap();
        assert!(matches!(open(&folder), Err(DataError::InUse(_))));
        drop(first);
        open(&folder).unwrap();
    }

    #[test]
    fn an_unusable_folder_is_reported_in_one_line_that_says_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("format"), "99\n").unwrap();
        let other = open(scratch.path()).err().unwrap().to_string();
        assert!(
            other.contains("format 99") && other.contains("choose another folder"),
            "{other}"
        );
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let unwritable = open(&file.join("data")).err().unwrap().to_string();
        assert!(
            unwritable.contains("cannot write") && unwritable.contains("--ephemeral"),
            "{unwritable}"
        );
        assert!(!other.contains('\n') && !unwritable.contains('\n'));
    }
}
