//! Floating versions and images: those that mean something else tomorrow.

use super::facts::Facts;
use super::finding::Findings;
use crate::request::ReleaseVersion;
use crate::yaml::{Node, NodeKind};

/// Requires a chart version that [`ReleaseVersion`] writes.
pub(super) fn tenant_version(findings: &mut Findings, node: &Node<'_>) {
    let version = node.string().unwrap_or_default();
    let release = version.strip_suffix(".x").unwrap_or(version);
    let is_release = release
        .parse::<ReleaseVersion>()
        .is_ok_and(|release| release.chart_version() == version);
    if !is_release {
        let message =
            format!("the chart's version is {version:?}, which does not name one release");
        findings.add(
            "floating",
            node,
            message,
            "write MAJOR.MINOR.x or MAJOR.MINOR.PATCH, for example 0.0.x",
        );
    }
}

/// Checks the charts, artifacts and images of a document outside the tenants' files.
pub(super) fn check(facts: &mut Facts, findings: &mut Findings, root: &Node<'_>) {
    let api = root
        .get("apiVersion")
        .and_then(Node::text)
        .unwrap_or_default();
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let group = api.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("helm.toolkit.fluxcd.io", "HelmRelease") => release(findings, root),
        ("source.toolkit.fluxcd.io", "OCIRepository") => artifact(findings, root),
        // Flux watches the tags of these images.
        ("image.toolkit.fluxcd.io", _) | (_, "CustomResourceDefinition") => {}
        _ => images(facts, findings, root),
    }
}

fn release(findings: &mut Findings, root: &Node<'_>) {
    if let Some(chart) = root.at(&["spec", "chart", "spec"]) {
        let node = chart.get("version").unwrap_or(chart);
        let version = chart
            .get("version")
            .and_then(Node::text)
            .unwrap_or_default();
        if !is_bounded(version) {
            let message = format!("the chart's version is {version:?}, which has no upper end");
            findings.add(
                "floating",
                node,
                message,
                "name a version, or a range with an upper end, for example 1.2.x",
            );
        }
    }
    if let Some(values) = root.at(&["spec", "values"]) {
        tags(findings, values);
    }
}

fn artifact(findings: &mut Findings, root: &Node<'_>) {
    let reference = root.at(&["spec", "ref"]);
    let text = |key| {
        reference
            .and_then(|reference| reference.get(key))
            .and_then(Node::text)
    };
    let is_fixed = text("digest").is_some()
        || text("semver").is_some_and(is_bounded)
        || text("tag").is_some_and(|tag| !tag.is_empty() && tag != "latest");
    if !is_fixed {
        let place = reference.unwrap_or_else(|| root.reported_at(&["spec"]));
        findings.add(
            "floating",
            place,
            "the artifact has no fixed tag, version or digest",
            "set spec.ref.digest, or a tag other than latest",
        );
    }
}

/// Whether a range of versions has an upper end.
fn is_bounded(range: &str) -> bool {
    let is_fixed = |term: &str| {
        let version = term.trim_start_matches(['=', 'v', '~', '^']);
        term.starts_with('<') || version.starts_with(|first: char| first.is_ascii_digit())
    };
    let alternative = |part: &str| part.split([' ', ',']).any(|term| is_fixed(term.trim()));
    !range.trim().is_empty() && range.split("||").all(alternative)
}

/// Finds `image.tag: latest` anywhere in the values of a chart.
fn tags(findings: &mut Findings, node: &Node<'_>) {
    for item in node.items() {
        tags(findings, item);
    }
    for pair in node.pairs() {
        let tag = (pair.key.text() == Some("image"))
            .then(|| pair.value.get("tag"))
            .flatten();
        if let Some(tag) = tag.filter(|tag| tag.text() == Some("latest")) {
            findings.add(
                "floating",
                tag,
                "the tag latest means another image tomorrow",
                "name a version",
            );
        }
        tags(findings, &pair.value);
    }
}

/// Finds containers' images without a fixed tag. A kustomization may give a tag to an image without one.
fn images(facts: &mut Facts, findings: &mut Findings, node: &Node<'_>) {
    for item in node.items() {
        images(facts, findings, item);
    }
    for pair in node.pairs() {
        if let (Some("image"), NodeKind::Scalar { text, .. }) = (pair.key.text(), &pair.value.kind)
        {
            let last = text.rsplit('/').next().unwrap_or(text);
            if last.ends_with(":latest") {
                let message = format!("{text} means another image tomorrow");
                findings.add(
                    "floating",
                    &pair.value,
                    message,
                    "name a version or a digest",
                );
            } else if !last.contains([':', '@', '$']) && !text.is_empty() {
                facts
                    .bare_images
                    .push((text.to_string(), (&pair.value).into()));
            }
        }
        images(facts, findings, &pair.value);
    }
}

#[cfg(test)]
mod tests {
    use super::is_bounded;

    #[test]
    fn a_range_without_an_upper_end_floats() {
        for range in [
            "1.2.3",
            "v1.2.3",
            "=1.2.3",
            "1.2.x",
            "1.x",
            "~1.2",
            "^1.2",
            ">=1.0 <2",
            "<2",
            "1.2 - 1.4",
            "1.x || 2.x",
        ] {
            assert!(is_bounded(range), "{range}");
        }
        for range in ["", " ", "*", "x", "latest", ">=1.0", ">1", "1.x || *"] {
            assert!(!is_bounded(range), "{range}");
        }
    }
}
