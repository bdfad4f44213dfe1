//! A bare repository with the project's seed on its branch, and a second writer to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tenantctl::git::{Author, Repository, Settings};

pub(crate) const TENANTS: &str = "application-plane/production/tenants";

/// The project's seed of a GitOps repository.
pub(crate) fn seed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the project")
        .join("gitops")
}

/// A bare repository, deleted on drop.
pub(crate) struct Remote {
    scratch: TempDir,
}

impl Remote {
    pub(crate) fn seeded() -> Self {
        let remote = Self::empty();
        let seed = seed();
        let work_tree = format!("--work-tree={}", seed.to_str().expect("a text"));
        remote.git(&[&work_tree, "add", "--all", "."]);
        remote.git(&[&work_tree, "commit", "--quiet", "--message=Seed"]);
        remote
    }

    pub(crate) fn empty() -> Self {
        let remote = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        remote.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        remote.git(&["config", "http.receivepack", "true"]);
        remote
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("gitops.git")
    }

    pub(crate) fn address(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// The parent folder, for other files of a test.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the output of git on the repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = git(
            self.scratch.path(),
            &[&["--git-dir=gitops.git"], arguments].concat(),
        );
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "main"])
    }

    /// Returns the number of commits on the branch.
    pub(crate) fn commits(&self) -> usize {
        self.git(&["rev-list", "--count", "main"]).parse().unwrap()
    }

    /// Returns a file at the head.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let output = git(
            self.scratch.path(),
            &[
                "--git-dir=gitops.git",
                "cat-file",
                "blob",
                &format!("main:{path}"),
            ],
        );
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Returns the files below a folder at the head.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let listed = self.git(&[
            "ls-tree",
            "-r",
            "--name-only",
            "main",
            &format!("{folder}/"),
        ]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Commits a file as another writer does.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let file = self.scratch.path().join("content");
        std::fs::write(&file, content).unwrap();
        let blob = self.git(&["hash-object", "-w", file.to_str().unwrap()]);
        self.git(&["read-tree", "main"]);
        self.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},{path}"),
        ]);
        let tree = self.git(&["write-tree"]);
        let commit = self.git(&["commit-tree", &tree, "-p", "main", "-m", "By hand"]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
    }

    /// Opens the repository at an address, with a mirror of this name.
    pub(crate) fn open(&self, address: &str, mirror: &str) -> Repository {
        Repository::open(Settings {
            address: address.parse().unwrap(),
            branch: "main".parse().unwrap(),
            author: Author::tenantctl(),
            cache: self.scratch().join(mirror),
            credentials: None,
            timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        executable(&self.path().join("hooks").join(name), script);
    }
}

/// Runs a future to its end on this thread.
pub(crate) fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

pub(crate) fn executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Calls git without the settings of any user.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_"))
    {
        command.env_remove(name);
    }
    let (name, mail) = ("Other Writer", "other@example.com");
    command
        .args(arguments)
        .current_dir(folder)
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ])
        .envs([("GIT_AUTHOR_NAME", name), ("GIT_AUTHOR_EMAIL", mail)])
        .envs([("GIT_COMMITTER_NAME", name), ("GIT_COMMITTER_EMAIL", mail)])
        .output()
        .expect("there is a git")
}
