//! The review of a GitOps repository: [`lint`] names the file, the line and the fix of every problem.
//!
//! Each file is read once, by as many threads as there are processors, and checked alone first. Its YAML parses, its
//! fields are those of its kind, ids and paths agree, values pass the chart's schema, no version floats. An unknown field
//! is an error, so a wrong indent cannot pass. What a file states about others becomes `Facts`. Lists, references and
//! tenants in two tiers are checked once all facts are there.

mod facts;
mod files;
mod finding;
mod floating;
mod lists;
mod read;
mod references;
mod shape;
mod tenants;
mod values;

pub use self::finding::Finding;
use crate::tree::Tree;

/// Returns every problem of a repository, by path and line; none for a clean one.
pub fn lint(tree: &dyn Tree) -> Vec<Finding> {
    let (files, mut findings) = files::walk(tree);
    let (facts, of_files) = read::read_all(tree, &files);
    findings.extend(of_files);
    findings.extend(lists::check(&files, &facts));
    findings.extend(references::check(&files, &facts));
    findings.extend(tenants::in_two_tiers(&facts));
    findings.sort();
    findings.dedup();
    findings
}
