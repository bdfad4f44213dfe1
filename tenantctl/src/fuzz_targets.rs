//! Fuzz targets: lifecycle messages, YAML, and hand-edited files of a repository.

use std::path::Path;

use bolero::check;
use serde_json::json;
use tenantry_tenancy::tenant::Tier;

use crate::lint::lint;
use crate::message::MessageKind;
use crate::plan::plan;
use crate::request::{Request, Wave};
use crate::tree::{FolderTree, MemoryTree, RepoPath, Tree};
use crate::yaml;

/// Random inputs of each target in each test run, beside the kept corpus.
const GENERATED: usize = 20_000;
/// Random inputs of a slow target: one input takes milliseconds.
const GENERATED_SLOW: usize = 200;

#[test]
fn a_lifecycle_message_is_a_request_or_refused_with_a_short_printable_reason() {
    check!(name = "lifecycle")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            for kind in MessageKind::ALL {
                match kind.parse(&text) {
                    Ok(message) => {
                        // The id of an accepted message is safe in a path.
                        let Request::Onboard { tenant, .. } = &message.request else {
                            continue;
                        };
                        assert!(text.contains('{') && !tenant.as_str().contains(['/', '.', '\n']));
                    }
                    Err(bad) => {
                        let reason = bad.to_string();
                        assert!(
                            reason.chars().count() < 1000 && !reason.chars().any(char::is_control),
                            "{reason:?}"
                        );
                        assert!(
                            !reason.contains(['\u{fffe}', '\u{ffff}']),
                            "SQS refuses these: {reason:?}"
                        );
                    }
                }
            }
        });
}

#[test]
fn accepted_yaml_can_be_edited_without_another_change() {
    check!(name = "yaml")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            if let Err(error) = yaml::kustomize::objects(&text) {
                assert!(error.line >= 1 && error.column >= 1);
            }
            let before = match yaml::parse(&text) {
                Ok(documents) => documents,
                Err(error) => {
                    assert!(error.line >= 1 && error.column >= 1);
                    return;
                }
            };
            for document in &before {
                assert!(
                    text.get(document.chunk.clone()).is_some(),
                    "its place is in the text"
                );
                assert!(
                    text.get(document.root.span.clone()).is_some(),
                    "its root's, too"
                );
            }
            let values: Vec<_> = before
                .iter()
                .map(|document| document.root.to_json())
                .collect();
            if let Ok(edited) = yaml::set(&text, 0, &["added", "by"], &json!({"a": [1, "two"]})) {
                let after =
                    yaml::parse(&edited).unwrap_or_else(|error| panic!("{error}: {edited:?}"));
                assert_eq!(
                    after[0].root.to_json()["added"]["by"],
                    json!({"a": [1, "two"]}),
                    "{edited:?}"
                );
                for (was, is) in values.iter().zip(&after).skip(1) {
                    assert_eq!(*was, is.root.to_json(), "another document: {edited:?}");
                }
                let others = |value: &serde_json::Value| {
                    let mut map = value.as_object().cloned().unwrap_or_default();
                    map.remove("added");
                    map
                };
                assert_eq!(
                    others(&values[0]),
                    others(&after[0].root.to_json()),
                    "{edited:?}"
                );
            }
            let first = before
                .first()
                .and_then(|document| document.root.pairs().first()?.key.text().map(str::to_owned));
            if let Some(key) = first
                && let Ok(edited) = yaml::remove(&text, 0, &[&key])
            {
                let after =
                    yaml::parse(&edited).unwrap_or_else(|error| panic!("{error}: {edited:?}"));
                let left = after
                    .first()
                    .and_then(|document| document.root.get(&key).map(|_| ()));
                assert_eq!(left, None, "it is gone: {edited:?}");
            }
        });
}

#[test]
fn no_manual_edit_makes_lint_or_a_plan_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("gitops");
    let folder = FolderTree::new(root);
    let seed = MemoryTree::copy_of(&folder, &RepoPath::root()).expect("the seed can be read");
    let at = |path: &str| {
        format!("application-plane/production/{path}")
            .parse::<RepoPath>()
            .expect("a path")
    };
    let files = [
        at("tenants/premium/tenant-1.yaml"),
        at("tenants/premium/kustomization.yaml"),
    ];
    check!(name = "repository")
        .with_iterations(GENERATED_SLOW)
        .for_each(|input: &[u8]| {
            let mut tree = seed.clone();
            let text = String::from_utf8_lossy(input).into_owned();
            let file = &files[usize::from(text.contains("resources:"))];
            tree.insert(file.clone(), text);
            let findings = lint(&tree);
            let tenant = || "tenant-1".parse().expect("an id");
            let release = || "9.9".parse().expect("a release");
            let requests = [
                Request::Offboard {
                    tenant: tenant(),
                    tier: None,
                    delete_data: true,
                },
                Request::Move {
                    tenant: tenant(),
                    to: Tier::Basic,
                    leave_data: true,
                },
                Request::Deploy {
                    tier: Tier::Premium,
                    release: release(),
                    wave: Wave::All,
                },
            ];
            for request in &requests {
                // The request is planned or refused.
                let _ = plan(&tree, request);
            }
            for finding in &findings {
                assert!(
                    !finding.message.is_empty() && !finding.fix.is_empty(),
                    "{finding:?}"
                );
                assert!(
                    tree.read(&finding.path).is_ok(),
                    "a finding names a path of the repository"
                );
            }
        });
}
