//! The inputs of a target on disk: its corpus, and what has made it crash.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Largest input that joins a corpus.
const MAX_KEPT_BYTES: usize = 4 * 1024;

/// The inputs of one target.
pub(crate) struct Corpus {
    inputs: PathBuf,
    crashes: PathBuf,
    /// Whether inputs with a new outcome are added.
    is_growing: bool,
}

impl Corpus {
    pub(crate) fn of(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            inputs: folder.join("corpus").join(name),
            crashes: folder.join("crashes").join(name),
            is_growing: std::env::var_os("FUZZ_KEEP").is_some_and(|value| value == "1"),
        }
    }

    /// Every input, crashes first, in the order of their names.
    pub(crate) fn inputs(&self) -> Vec<Vec<u8>> {
        [&self.crashes, &self.inputs].into_iter().flat_map(|folder| files(folder)).collect()
    }

    /// Adds an input, where the corpus is to grow.
    pub(crate) fn keep(&self, input: &[u8]) {
        if self.is_growing && input.len() <= MAX_KEPT_BYTES {
            write(&self.inputs, input);
        }
    }

    /// Keeps what has made the target crash; gives the place.
    pub(crate) fn keep_crash(&self, input: &[u8]) -> PathBuf {
        write(&self.crashes, input)
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    // A target that never crashed has no folder for that.
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the corpus can be read")).collect()
}

/// Named by its content, so that the same input is one file.
fn write(folder: &Path, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder.join(format!("{:016x}", hasher.finish()));
    std::fs::create_dir_all(folder).expect("the folder can be made");
    std::fs::write(&path, input).expect("the input can be written");
    path
}
