//! Paths of the repository, edits of its files, and the [`Tree`] that the core reads.
//!
//! A [`RepoPath`] cannot leave the repository. A tree never follows a symbolic link, whose target may be outside.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

/// Limit of a file: a tenant's file has 3 KiB, the file of `flux bootstrap` almost 1 MiB.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A path inside the repository: relative, `/`-separated, no `.` or `..`, no empty segment, no control characters.
///
/// [`RepoPath::root`] is the repository itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path inside the repository")]
pub struct InvalidPath(String);

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    pub path: RepoPath,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File,
    Folder,
    /// A symbolic link or a submodule; never followed.
    Other,
}

/// A repository at one moment: two reads of a path return the same.
pub trait Tree: Send + Sync {
    /// Returns the text of a file; `None` if the file does not exist.
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError>;

    /// Returns the sorted entries of a folder; none if the folder does not exist.
    fn list(&self, folder: &RepoPath) -> Result<Vec<FolderEntry>, TreeError>;
}

/// A file or folder that exists and cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{path} cannot be read: {source}")]
    Io { path: RepoPath, source: io::Error },
    #[error("{path} is not UTF-8 text")]
    NotText { path: RepoPath },
    #[error("{path} has {bytes} bytes; no file here needs more than {MAX_FILE_BYTES}")]
    TooLarge { path: RepoPath, bytes: u64 },
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Edit {
    pub path: RepoPath,
    /// The whole new text; `None` deletes the file.
    pub content: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryTree(BTreeMap<RepoPath, String>);

#[derive(Debug, Clone)]
pub struct FolderTree {
    root: PathBuf,
}

impl RepoPath {
    /// The root of the repository.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Returns the path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of `name`, which may have several segments, below this path.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        let below: Self = name.parse()?;
        Ok(if self.0.is_empty() {
            below
        } else {
            Self(format!("{}/{}", self.0, below.0))
        })
    }

    /// Returns the path that an entry of a list in this folder means, however it is spelled: `./a`, `a/`, `b/../a`.
    ///
    /// `None` for an entry that is empty, absolute or outside the repository. A spelling means what Go's `filepath.Join` makes
    /// of it, because kustomize joins so.
    pub fn resolve(&self, entry: &str) -> Option<Self> {
        if entry.is_empty() || entry.starts_with('/') {
            return None;
        }
        let mut steps: Vec<&str> = Vec::new();
        for step in self.0.split('/').chain(entry.split('/')) {
            match step {
                "" | "." => {}
                ".." => drop(steps.pop()?),
                step => steps.push(step),
            }
        }
        if steps.is_empty() {
            Some(Self::root())
        } else {
            steps.join("/").parse().ok()
        }
    }

    /// Whether the path is the folder, or below it.
    pub fn is_in(&self, folder: &Self) -> bool {
        folder.0.is_empty()
            || self
                .0
                .strip_prefix(&folder.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the parent folder; `None` for the root.
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

    /// Returns the last segment; empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// Returns the last segment without `.yaml` or `.yml`; `None` without such an ending.
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
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub fn insert(&mut self, path: RepoPath, text: impl Into<String>) {
        self.0.insert(path, text.into());
    }

    /// Removes a file and returns its text.
    pub fn remove(&mut self, path: &RepoPath) -> Option<String> {
        self.0.remove(path)
    }

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

    /// Copies the files of another tree below a folder.
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

    fn list(&self, folder: &RepoPath) -> Result<Vec<FolderEntry>, TreeError> {
        let prefix = if folder.0.is_empty() {
            String::new()
        } else {
            format!("{}/", folder.0)
        };
        let mut entries: Vec<FolderEntry> = Vec::new();
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
                entries.push(FolderEntry { path, kind });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

impl FolderTree {
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

    fn list(&self, folder: &RepoPath) -> Result<Vec<FolderEntry>, TreeError> {
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
            // A name that is not a valid path (`.git`, bytes that are not UTF-8) is ignored.
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
            entries.push(FolderEntry { path, kind });
        }
        entries.sort();
        Ok(entries)
    }
}

/// Whether the path does not exist, or passes through a file.
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
    fn an_entry_of_a_list_means_the_same_path_however_it_is_spelled() {
        let folder = path("a/b");
        for spelling in [
            "c",
            "./c",
            "c/",
            "c//",
            ".//c",
            "././c/.",
            "x/../c",
            "../b/c",
            "../../a/b/c",
        ] {
            assert_eq!(folder.resolve(spelling), Some(path("a/b/c")), "{spelling}");
        }
        assert_eq!(folder.resolve("../.."), Some(RepoPath::root()));
        assert_eq!(folder.resolve("."), Some(folder.clone()));
        for spelling in ["", "/a/b/c", "../../../c", "../../.git", "c\nd"] {
            assert_eq!(folder.resolve(spelling), None, "{spelling:?}");
        }
        assert!(path("a/b").is_in(&path("a")) && !path("a-b").is_in(&path("a")));
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
    fn a_symbolic_link_is_listed_and_never_followed() {
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
    fn a_file_that_is_not_text_or_too_large_is_an_error() {
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
