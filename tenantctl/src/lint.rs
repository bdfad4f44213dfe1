//! The review of a GitOps repository: [`lint`] names the file, the line and the fix of every problem.
//!
//! Files of tenants, pools and templates, and the lists on the way to them, are checked in full: the YAML parses, fields are
//! those of the kind, ids and paths agree, values pass the chart's schema, no version floats. An unknown field is an error, so a
//! wrong indent cannot pass. Of every other file only this is an error: kustomize would refuse it. Anything else about it is a
//! warning.
//!
//! The lists are read first, then each file once, by as many threads as there are processors. What a file states about others
//! becomes `Facts`. Lists, references and tenants in two tiers are checked once all facts are there.

mod build;
mod facts;
mod fields;
mod files;
mod finding;
mod floating;
mod json_patch;
mod lists;
mod manifests;
mod objects;
mod read;
mod references;
mod releases;
mod shape;
mod tenants;
mod values;

pub use self::finding::{Finding, Severity};
use crate::layout;
use crate::tree::{RepoPath, Tree};

/// Returns every problem of a repository, by path and line; none for a clean one.
pub fn lint(tree: &dyn Tree) -> Vec<Finding> {
    let (files, mut findings) = files::walk(tree);
    let (lists, of_lists) = read::read_lists(tree, &files);
    let (facts, of_files) = read::read_all(tree, &files, &lists);
    findings.extend(of_lists);
    findings.extend(of_files);
    findings.extend(lists::check(&files, &lists, &facts));
    findings.extend(references::check(&files, &lists, &facts));
    let objects = facts
        .iter()
        .map(|file| (&file.path, &file.manifests))
        .collect();
    let built = build::check(tree, &files, &lists, &objects);
    findings.extend(tenants::in_two_tiers(&facts));
    findings.extend(tenants::in_namespaces(&facts));
    // If an error in the application plane is reported already, that error is why its lists cannot be built.
    let is_broken = findings
        .iter()
        .any(|finding| finding.is_error() && layout::is_ours(&finding.path));
    let is_new = |finding: &Finding| !(is_broken && layout::is_ours(&finding.path));
    findings.extend(built.into_iter().filter(is_new));
    remove_reported_twice(&mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// Returns the errors of one file alone, as if it had this text.
pub(crate) fn errors_of_file(path: &RepoPath, text: &str) -> Vec<Finding> {
    let mut findings = match files::role(path) {
        Ok(role) => read::check_text(path, &role, text),
        Err((message, fix)) => vec![Finding::of_file(path, "layout", message, fix)],
    };
    findings.retain(Finding::is_error);
    findings
}

/// Drops the finding that a release has another source than the tenants', if another finding says that this source does
/// not exist.
fn remove_reported_twice(findings: &mut Vec<Finding>) {
    let missing: std::collections::BTreeSet<_> = findings
        .iter()
        .filter(|finding| finding.rule == "reference")
        .map(|finding| (finding.path.clone(), finding.line))
        .collect();
    findings.retain(|finding| {
        finding.rule != "source" || !missing.contains(&(finding.path.clone(), finding.line))
    });
}
