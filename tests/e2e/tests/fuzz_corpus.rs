//! Every fuzz target has a corpus in the folder that bolero reads, and every corpus has a target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            below(&entry, found);
        }
        found.push(entry);
    }
}

#[test]
fn every_fuzz_target_has_a_corpus_and_every_corpus_a_target() {
    let root = kit::process::repository();
    let mut paths = Vec::new();
    for member in [
        "shared",
        "producer",
        "consumer",
        "payments",
        "local",
        "localaws",
        "tenantctl",
    ] {
        below(&root.join(member), &mut paths);
    }
    let kept: BTreeSet<PathBuf> = paths
        .iter()
        .filter(|path| {
            path.ends_with("corpus")
                && path
                    .read_dir()
                    .is_ok_and(|mut files| files.next().is_some())
        })
        .cloned()
        .collect();
    let mut wanted = BTreeSet::new();
    for file in paths
        .iter()
        .filter(|path| path.ends_with("fuzz_targets.rs"))
    {
        let text = fs::read_to_string(file).expect("a source file");
        let names = text
            .split("check!(name = \"")
            .skip(1)
            .map(|rest| rest.split('"').next().expect("a name"));
        wanted.extend(names.map(|name| file.with_file_name("__fuzz__").join(name).join("corpus")));
    }
    assert!(wanted.len() >= 14, "{wanted:?}");
    assert_eq!(kept, wanted);
}
