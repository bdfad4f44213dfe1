//! docs/tests.md names tests and files that exist.

use std::fs;
use std::path::{Path, PathBuf};

use kit::process::repository;

/// Adds the files with these endings below a folder, except build output and tools.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

#[test]
fn every_test_and_file_that_the_page_names_exists() {
    let root = repository();
    let page = fs::read_to_string(root.join("docs/tests.md")).expect("there is a page");
    let mut sources = Vec::new();
    files(root, &[".rs"], &mut sources);
    let sources: String = sources
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    let (promises, _) = page
        .split_once("\n## Steps")
        .expect("the page lists the steps, too");
    let rows = promises.lines().filter(|line| line.starts_with("| "));
    let names: Vec<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    let is_test = |name: &&&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    for name in names.iter().filter(is_test) {
        assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
    }
    for name in names
        .iter()
        .filter(|name| name.ends_with(".rs") || name.ends_with(".py"))
    {
        assert!(root.join(name).exists(), "no file {name}");
    }
    assert!(
        names.iter().filter(is_test).count() > 20,
        "the page names tests: {names:?}"
    );
}
