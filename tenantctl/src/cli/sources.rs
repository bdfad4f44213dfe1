//! From the arguments to a repository that can be read, or changed.

use std::path::{Path, PathBuf};

use super::arguments::Global;
use super::exit::{CliError, Exit};
use super::progress::Progress;
use crate::git::{Address, Credentials, Repository, Settings};
use crate::tree::{FolderTree, Tree};

/// The folder of mirrors within the user's cache folder.
const CACHE_FOLDER: &str = "tenantctl";

/// Opens the repository for changes.
pub(super) fn repository(global: &Global) -> Result<Repository, CliError> {
    let address = address(global)?;
    if let Some(folder) = address
        .local_path()
        .filter(|path| !is_bare(path) && path.is_dir())
    {
        return Err(CliError::usage(format!(
            "{} is a folder, not a bare repository: changes are pushed; name the repository they are pushed to",
            folder.display()
        )));
    }
    open(global, address)
}

/// The repository as it is now: the branch's head, or what is in a folder.
pub(super) fn tree(global: &Global, progress: &Progress) -> Result<Box<dyn Tree>, CliError> {
    let address = address(global)?;
    if let Some(folder) = address.local_path().filter(|path| !is_bare(path)) {
        if !folder.is_dir() {
            let message = format!("{} is no folder and no repository", folder.display());
            return Err(CliError::new("no_repository", Exit::Remote, message));
        }
        return Ok(Box::new(FolderTree::new(folder)));
    }
    let repository = open(global, address)?;
    progress.show("fetching");
    let head = repository.turn()?.fetch()?;
    progress.show("reading");
    Ok(Box::new(repository.snapshot(&head)?))
}

fn address(global: &Global) -> Result<Address, CliError> {
    let named = global.repository.as_deref();
    let text = named
        .ok_or_else(|| CliError::usage("no repository: set --repository or GITOPS_REPOSITORY"))?;
    text.parse().map_err(CliError::usage)
}

fn open(global: &Global, address: Address) -> Result<Repository, CliError> {
    Ok(Repository::open(Settings {
        address,
        branch: global.branch.clone(),
        author: global.author.clone(),
        cache: cache(global)?,
        credentials: credentials(global)?,
        timeout: global.git_timeout_seconds,
    })?)
}

fn credentials(global: &Global) -> Result<Option<Credentials>, CliError> {
    let Some(file) = &global.password_file else {
        return Ok(None);
    };
    // Git's calls have another working folder.
    let file = std::path::absolute(file).map_err(CliError::usage)?;
    let askpass = std::env::current_exe().map_err(|error| {
        CliError::unexpected(format!("this program's own path is not known: {error}"))
    })?;
    Ok(Some(Credentials::new(
        global.username.clone(),
        file,
        askpass,
    )))
}

/// The folder of mirrors, as the XDG base directories have it.
fn cache(global: &Global) -> Result<PathBuf, CliError> {
    if let Some(folder) = &global.cache_dir {
        return std::path::absolute(folder).map_err(CliError::usage);
    }
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let base = base.ok_or_else(|| {
        CliError::usage("no place for the repository's mirror: set --cache-dir or GITOPS_CACHE_DIR")
    })?;
    Ok(base.join(CACHE_FOLDER))
}

/// Whether git would take the path for a bare repository.
fn is_bare(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir()
}
