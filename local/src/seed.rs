//! Seed of a new GitOps repository: the project's `gitops/`, embedded at build time.

use include_dir::{Dir, include_dir};
use tenantctl::plan::Edit;
use tenantctl::tree::{MemoryTree, RepoPath};

static GITOPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../gitops");

pub(crate) fn files() -> Vec<Edit> {
    let mut files = Vec::new();
    let mut folders = vec![&GITOPS];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        files.extend(folder.files().map(|file| {
            let path = file
                .path()
                .to_str()
                .and_then(|path| path.parse::<RepoPath>().ok());
            Edit {
                path: path.expect("the seed's paths are the project's own"),
                content: Some(file.contents_utf8().expect("the seed is text").to_owned()),
            }
        }));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

pub(crate) fn tree() -> MemoryTree {
    let mut tree = MemoryTree::new();
    for Edit { path, content } in files() {
        tree.insert(path, content.unwrap_or_default());
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_passes_its_own_lint() {
        let findings = tenantctl::lint::lint(&tree());
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
