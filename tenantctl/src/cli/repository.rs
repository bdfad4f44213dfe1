//! Opens the repository of the arguments, for reading or for changes.

use std::path::{Path, PathBuf};

use super::arguments::Global;
use super::exit::{CliError, Exit};
use super::progress::Progress;
use crate::git::{Address, Credentials, Repository, Settings};
use crate::tree::{FolderTree, Tree};

const CACHE_FOLDER: &str = "tenantctl";

/// Opens the repository for changes.
pub(super) fn open(global: &Global) -> Result<Repository, CliError> {
    let address = address(global)?;
    if let Some(folder) = address
        .local_path()
        .filter(|path| !is_bare(path) && path.is_dir())
    {
        return Err(CliError::usage(format!(
            "{} is a folder, not a bare repository: changes are pushed, so name the repository to push to",
            folder.display()
        )));
    }
    open_at(global, address)
}

/// Opens the present repository for reading: the head of the branch, or a folder.
pub(super) fn read(global: &Global, progress: &Progress) -> Result<Box<dyn Tree>, CliError> {
    let address = address(global)?;
    if let Some(folder) = address.local_path().filter(|path| !is_bare(path)) {
        if !folder.is_dir() {
            let message = format!("{} is neither a folder nor a repository", folder.display());
            return Err(CliError::new("no_repository", Exit::Remote, message));
        }
        return Ok(Box::new(FolderTree::new(folder)));
    }
    let repository = open_at(global, address)?;
    progress.show("fetching");
    let head = repository.lock()?.fetch()?;
    progress.show("reading");
    Ok(Box::new(repository.snapshot(&head)?))
}

fn address(global: &Global) -> Result<Address, CliError> {
    let named = global.repository.as_deref();
    let text = named
        .ok_or_else(|| CliError::usage("no repository: set --repository or GITOPS_REPOSITORY"))?;
    text.parse().map_err(CliError::usage)
}

fn open_at(global: &Global, address: Address) -> Result<Repository, CliError> {
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
    // Git runs in another working folder.
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

/// Returns the folder of mirrors, by the XDG base directories.
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
