//! The repository as the core sees it: paths, and a [`Tree`] to read them from.
//!
//! A [`RepoPath`] cannot leave the repository. A tree never follows a symbolic link: what it points to may be outside.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

/// Largest file that is read: a tenant's has 3 KiB, what `flux bootstrap` writes almost one MiB.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A path inside the repository: relative, `/`-separated, no `.` or `..`, no empty segment, no control characters.
///
/// [`RepoPath::root`] is the repository itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

/// A text that is no path inside the repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path inside the repository")]
pub struct InvalidPath(String);

/// What is directly in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it is.
    pub path: RepoPath,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, a submodule or the like; never followed.
    Other,
}

/// A repository at one moment. Reading the same path twice gives the same answer.
pub trait Tree: Send + Sync {
    /// The text of a file; `None` where there is no file of that name.
    ///
    /// # Errors
    /// The file is there and cannot be read, is no UTF-8 or larger than [`MAX_FILE_BYTES`].
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError>;

    /// What is directly in a folder, sorted; empty where there is no such folder.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    fn list(&self, folder: &RepoPath) -> Result<Vec<Entry>, TreeError>;
}

/// A file or folder that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The medium says no.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// What was to be read.
        path: RepoPath,
        /// Why not.
        source: io::Error,
    },
    /// Not a text.
    #[error("{path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: RepoPath,
    },
    /// More than [`MAX_FILE_BYTES`].
    #[error("{path} has {bytes} bytes; no file here needs more than {MAX_FILE_BYTES}")]
    TooLarge {
        /// The file.
        path: RepoPath,
        /// Its size.
        bytes: u64,
    },
}

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Edit {
    /// The file.
    pub path: RepoPath,
    /// Its whole new text; `None` deletes it.
    pub content: Option<String>,
}

/// A tree in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryTree(BTreeMap<RepoPath, String>);

/// A tree in a folder on disk.
#[derive(Debug, Clone)]
pub struct FolderTree {
    root: PathBuf,
}

impl RepoPath {
    /// The repository itself.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of `name`, which may have several segments, below this one.
    ///
    /// # Errors
    /// `name` is no path inside the repository.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        let below: Self = name.parse()?;
        Ok(if self.0.is_empty() {
            below
        } else {
            Self(format!("{}/{}", self.0, below.0))
        })
    }

    /// The folder it is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(
            self.0
                .rsplit_once('/')
                .map_or_else(Self::root, |(folder, _)| Self(folder.to_owned())),
        )
    }

    /// The last segment; empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The last segment without `.yaml` or `.yml`, where it has one of them.
    pub fn yaml_stem(&self) -> Option<&str> {
        let name = self.file_name();
        name.strip_suffix(".yaml")
            .or_else(|| name.strip_suffix(".yml"))
    }
}

impl FromStr for RepoPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let segment = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && !segment.eq_ignore_ascii_case(".git")
        };
        let character = |character: char| !character.is_control() && character != '\\';
        if text.split('/').all(segment) && text.chars().all(character) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPath(text.to_owned()))
        }
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl serde::Serialize for RepoPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl MemoryTree {
    /// An empty tree.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Writes a file.
    pub fn insert(&mut self, path: RepoPath, text: impl Into<String>) {
        self.0.insert(path, text.into());
    }

    /// Takes a file away, and gives back what it was.
    pub fn remove(&mut self, path: &RepoPath) -> Option<String> {
        self.0.remove(path)
    }

    /// Every file, by path.
    pub fn files(&self) -> impl Iterator<Item = (&RepoPath, &str)> {
        self.0.iter().map(|(path, text)| (path, text.as_str()))
    }

    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match &edit.content {
                Some(text) => self.insert(edit.path.clone(), text.clone()),
                None => drop(self.remove(&edit.path)),
            }
        }
    }

    /// A copy of the files of another tree below a folder.
    ///
    /// # Errors
    /// The other tree cannot be read.
    pub fn copy_of(tree: &dyn Tree, folder: &RepoPath) -> Result<Self, TreeError> {
        let mut copy = Self::new();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in tree.list(&folder)? {
                match entry.kind {
                    EntryKind::Folder => folders.push(entry.path),
                    EntryKind::File => {
                        if let Some(text) = tree.read(&entry.path)? {
                            copy.insert(entry.path, text);
                        }
                    }
                    EntryKind::Other => {}
                }
            }
        }
        Ok(copy)
    }
}

impl Tree for MemoryTree {
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError> {
        Ok(self.0.get(path).cloned())
    }

    fn list(&self, folder: &RepoPath) -> Result<Vec<Entry>, TreeError> {
        let prefix = if folder.0.is_empty() {
            String::new()
        } else {
            format!("{}/", folder.0)
        };
        let mut entries: Vec<Entry> = Vec::new();
        let below = self
            .0
            .range(RepoPath(prefix.clone())..)
            .map_while(|(path, _)| path.0.strip_prefix(&prefix));
        for rest in below {
            let (name, kind) = match rest.split_once('/') {
                Some((name, _)) => (name, EntryKind::Folder),
                None => (rest, EntryKind::File),
            };
            let path = RepoPath(format!("{prefix}{name}"));
            if entries.last().is_none_or(|last| last.path != path) {
                entries.push(Entry { path, kind });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

impl FolderTree {
    /// The tree in a folder on disk, which is the repository's root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn on_disk(&self, path: &RepoPath) -> PathBuf {
        let mut on_disk = self.root.clone();
        on_disk.extend(path.0.split('/').filter(|segment| !segment.is_empty()));
        on_disk
    }

    /// Whether a folder on the way to the path is a symbolic link.
    fn leaves_the_tree(&self, path: &RepoPath) -> bool {
        std::iter::successors(path.parent(), RepoPath::parent)
            .filter(|folder| !folder.0.is_empty())
            .any(|folder| self.on_disk(&folder).is_symlink())
    }
}

impl Tree for FolderTree {
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError> {
        let failed = |source| TreeError::Io {
            path: path.clone(),
            source,
        };
        let on_disk = self.on_disk(path);
        if self.leaves_the_tree(path) {
            return Ok(None);
        }
        let metadata = match std::fs::symlink_metadata(&on_disk) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(TreeError::TooLarge {
                path: path.clone(),
                bytes: metadata.len(),
            });
        }
        let bytes = std::fs::read(&on_disk).map_err(failed)?;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| TreeError::NotText { path: path.clone() })
    }

    fn list(&self, folder: &RepoPath) -> Result<Vec<Entry>, TreeError> {
        let failed = |source| TreeError::Io {
            path: folder.clone(),
            source,
        };
        let on_disk = self.on_disk(folder);
        let is_link = !folder.0.is_empty() && on_disk.is_symlink();
        if is_link || self.leaves_the_tree(folder) {
            return Ok(Vec::new());
        }
        let found = match std::fs::read_dir(on_disk) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut entries = Vec::new();
        for entry in found {
            let entry = entry.map_err(failed)?;
            // A name that is no path of ours (`.git`, bytes that are no text) is not the repository's.
            let Some(path) = entry
                .file_name()
                .to_str()
                .and_then(|name| folder.join(name).ok())
            else {
                continue;
            };
            let kind = entry.file_type().map_err(failed)?;
            let kind = match (kind.is_file(), kind.is_dir()) {
                (true, _) => EntryKind::File,
                (_, true) => EntryKind::Folder,
                _ => EntryKind::Other,
            };
            entries.push(Entry { path, kind });
        }
        entries.sort();
        Ok(entries)
    }
}

/// Whether nothing is there, or the path goes through a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        text.parse().expect(text)
    }

    #[test]
    fn a_path_cannot_leave_the_repository() {
        let hostile = [
            "",
            "/",
            "/etc",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "../a",
            "./a",
            "a\nb",
            "a\0",
            "a\\b",
            ".git/config",
            "a/.GIT",
        ];
        for text in hostile {
            assert!(text.parse::<RepoPath>().is_err(), "{text:?}");
            assert!(path("folder").join(text).is_err(), "{text:?}");
        }
        let below = path("a").join("b/c.yaml").expect("below");
        assert_eq!(
            (below.as_str(), below.file_name(), below.yaml_stem()),
            ("a/b/c.yaml", "c.yaml", Some("c"))
        );
        assert_eq!(below.parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(RepoPath::root()));
        assert_eq!(RepoPath::root().parent(), None);
    }

    #[test]
    fn both_trees_list_and_read_the_same() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut memory = MemoryTree::new();
        for (file, text) in [
            ("a.yaml", "1"),
            ("b/c.yaml", "2"),
            ("b/d/e", "3"),
            ("b-c", "4"),
        ] {
            let on_disk = folder.path().join(file);
            std::fs::create_dir_all(on_disk.parent().expect("below the root")).expect("a folder");
            std::fs::write(on_disk, text).expect("written");
            memory.insert(path(file), text);
        }
        std::fs::create_dir(folder.path().join(".git")).expect("git's own");
        let disk = FolderTree::new(folder.path());
        for folder in [
            RepoPath::root(),
            path("b"),
            path("b/d"),
            path("a.yaml"),
            path("none"),
        ] {
            assert_eq!(
                disk.list(&folder).expect("listed"),
                memory.list(&folder).expect("listed"),
                "{folder}"
            );
        }
        for file in ["a.yaml", "b/d/e", "b", "none", "a.yaml/x"] {
            assert_eq!(
                disk.read(&path(file)).expect("read"),
                memory.read(&path(file)).expect("read"),
                "{file}"
            );
        }
        assert_eq!(
            MemoryTree::copy_of(&disk, &RepoPath::root()).expect("copied"),
            memory
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_seen_and_never_followed() {
        let outside = tempfile::tempdir().expect("a scratch folder");
        std::fs::write(outside.path().join("secret"), "s").expect("written");
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).expect("linked");
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("file"))
            .expect("linked");
        let tree = FolderTree::new(folder.path());
        let kinds: Vec<EntryKind> = tree
            .list(&RepoPath::root())
            .expect("listed")
            .into_iter()
            .map(|entry| entry.kind)
            .collect();
        assert_eq!(kinds, [EntryKind::Other, EntryKind::Other]);
        for file in ["file", "link/secret"] {
            assert_eq!(tree.read(&path(file)).expect("read"), None, "{file}");
        }
        assert_eq!(tree.list(&path("link")).expect("listed"), []);
    }

    #[test]
    fn what_is_no_text_or_far_too_large_is_an_error() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::write(folder.path().join("bytes"), [0xff, 0xfe]).expect("written");
        let large = std::fs::File::create(folder.path().join("large")).expect("created");
        large.set_len(MAX_FILE_BYTES + 1).expect("grown");
        let tree = FolderTree::new(folder.path());
        assert!(matches!(
            tree.read(&path("bytes")),
            Err(TreeError::NotText { .. })
        ));
        assert!(matches!(
            tree.read(&path("large")),
            Err(TreeError::TooLarge { .. })
        ));
    }
}
