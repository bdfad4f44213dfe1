//! One commit as a [`Tree`], read through a single `git cat-file --batch`.
//!
//! A folder is read once and cached; a file is read on demand. A request to git holds an object's id, never a path.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

use super::failure::GitError;
use super::names::Oid;
use super::program::Git;
use crate::tree::{EntryKind, FolderEntry, MAX_FILE_BYTES, RepoPath, Tree, TreeError};

const FOLDER_MODE: &[u8] = b"40000";
/// Prefix of the mode of a regular file; links begin with 12, submodules with 16.
const FILE_MODE_PREFIX: &[u8] = b"100";

pub struct Snapshot {
    commit: Oid,
    objects: Mutex<Objects>,
    folders: Mutex<HashMap<RepoPath, Folder>>,
}

/// The entries of a folder, by name.
type Folder = Arc<BTreeMap<String, (EntryKind, Oid)>>;

struct Objects {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// An object of git.
struct Object {
    bytes: u64,
    /// `None` if the object is larger than the caller's limit.
    content: Option<Vec<u8>>,
}

impl Snapshot {
    pub(super) fn new(git: &Git, commit: &Oid) -> Result<Self, GitError> {
        let objects = Objects::start(git)?;
        let snapshot = Self {
            commit: commit.clone(),
            objects: Mutex::new(objects),
            folders: Mutex::default(),
        };
        let tree = format!("{commit}^{{tree}}");
        let root = snapshot
            .objects
            .lock()
            .read(&tree, u64::MAX)
            .map_err(|source| GitError::Io {
                action: "cat-file".to_owned(),
                source,
            })?;
        let root = root.and_then(|object| entries(&object.content?, commit.as_str().len() / 2));
        let root = root
            .ok_or_else(|| GitError::unexpected("cat-file", "the commit is not in the mirror"))?;
        snapshot
            .folders
            .lock()
            .insert(RepoPath::root(), Arc::new(root));
        Ok(snapshot)
    }

    pub fn commit(&self) -> &Oid {
        &self.commit
    }

    /// Returns the entries of a folder; `None` if it does not exist.
    fn folder(&self, path: &RepoPath) -> io::Result<Option<Folder>> {
        if let Some(known) = self.folders.lock().get(path) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(above) = path.parent() else {
            return Ok(None);
        };
        let Some(above) = self.folder(&above)? else {
            return Ok(None);
        };
        let Some((EntryKind::Folder, oid)) = above.get(path.file_name()) else {
            return Ok(None);
        };
        let object = self
            .objects
            .lock()
            .read(oid.as_str(), u64::MAX)?
            .ok_or_else(missing)?;
        let content = object
            .content
            .and_then(|bytes| entries(&bytes, oid.as_str().len() / 2));
        let folder: Folder = Arc::new(content.ok_or_else(missing)?);
        self.folders
            .lock()
            .insert(path.clone(), Arc::clone(&folder));
        Ok(Some(folder))
    }
}

impl Tree for Snapshot {
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError> {
        let failed = |source| TreeError::Io {
            path: path.clone(),
            source,
        };
        let Some(above) = path.parent() else {
            return Ok(None);
        };
        let Some(folder) = self.folder(&above).map_err(failed)? else {
            return Ok(None);
        };
        let Some((EntryKind::File, oid)) = folder.get(path.file_name()) else {
            return Ok(None);
        };
        let object = self
            .objects
            .lock()
            .read(oid.as_str(), MAX_FILE_BYTES)
            .map_err(failed)?;
        let object = object.ok_or_else(|| failed(missing()))?;
        let Some(content) = object.content else {
            return Err(TreeError::TooLarge {
                path: path.clone(),
                bytes: object.bytes,
            });
        };
        String::from_utf8(content)
            .map(Some)
            .map_err(|_| TreeError::NotText { path: path.clone() })
    }

    fn list(&self, folder: &RepoPath) -> Result<Vec<FolderEntry>, TreeError> {
        let found = self.folder(folder).map_err(|source| TreeError::Io {
            path: folder.clone(),
            source,
        })?;
        let Some(found) = found else {
            return Ok(Vec::new());
        };
        // A name that is not a valid path is ignored.
        let entry = |(name, (kind, _)): (&String, &(EntryKind, Oid))| {
            Some(FolderEntry {
                path: folder.join(name).ok()?,
                kind: *kind,
            })
        };
        let mut entries: Vec<FolderEntry> = found.iter().filter_map(entry).collect();
        entries.sort();
        Ok(entries)
    }
}

impl Objects {
    fn start(git: &Git) -> Result<Self, GitError> {
        let mut command = git.command(&["cat-file", "--batch"]);
        // A missing object is reported on standard output, so standard error is not needed.
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(GitError::NoProgram)?;
        let requests = child.stdin.take().expect("standard input is piped");
        let answers = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    /// Reads an object; `None` if it does not exist.
    fn read(&mut self, name: &str, max_bytes: u64) -> io::Result<Option<Object>> {
        self.requests.write_all(format!("{name}\n").as_bytes())?;
        let mut head = String::new();
        if self.answers.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(bytes) = head
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|size| size.parse::<u64>().ok())
        else {
            return Ok(None);
        };
        // A newline follows the content.
        let mut rest = (&mut self.answers).take(bytes + 1);
        let content = if bytes <= max_bytes {
            let mut content = Vec::new();
            rest.read_to_end(&mut content)?;
            if content.pop() != Some(b'\n') || content.len() as u64 != bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(content)
        } else {
            io::copy(&mut rest, &mut io::sink())?;
            None
        };
        Ok(Some(Object { bytes, content }))
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // The process only reads; both calls fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses the entries of a tree object: `MODE NAME\0OID` each. `None` for other bytes.
fn entries(mut bytes: &[u8], oid_bytes: usize) -> Option<BTreeMap<String, (EntryKind, Oid)>> {
    let mut found = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let (mode, name) = (&bytes[..space], bytes.get(space + 1..end)?);
        let oid = bytes.get(end + 1..end + 1 + oid_bytes)?;
        let kind = match mode {
            FOLDER_MODE => EntryKind::Folder,
            mode if mode.starts_with(FILE_MODE_PREFIX) => EntryKind::File,
            _ => EntryKind::Other,
        };
        // No path can name a file whose name is not UTF-8.
        if let Ok(name) = std::str::from_utf8(name) {
            found.insert(name.to_owned(), (kind, Oid::of_bytes(oid)));
        }
        bytes = &bytes[end + 1 + oid_bytes..];
    }
    Some(found)
}

fn missing() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the mirror lacks an object; delete the mirror and try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_object_is_parsed_and_a_truncated_one_refused() {
        let mut bytes = Vec::new();
        for (mode, name) in [
            ("100644", "a.yaml"),
            ("120000", "link"),
            ("160000", "module"),
            ("40000", "sub"),
        ] {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(&[7; 20]);
        }
        let found = entries(&bytes, 20).expect("whole");
        let kinds: Vec<_> = found
            .iter()
            .map(|(name, (kind, _))| (name.as_str(), *kind))
            .collect();
        let (file, folder, other) = (EntryKind::File, EntryKind::Folder, EntryKind::Other);
        assert_eq!(
            kinds,
            [
                ("a.yaml", file),
                ("link", other),
                ("module", other),
                ("sub", folder)
            ]
        );
        for end in [1, 10, bytes.len() - 1] {
            assert!(entries(&bytes[..end], 20).is_none(), "{end}");
        }
    }
}
