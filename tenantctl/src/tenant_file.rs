//! The file of a tenant or pool: YAML documents, exactly one of them a `HelmRelease`.

use crate::layout::HOLD_ANNOTATION;
use crate::yaml::{Document, Node, YamlError, parse};

/// Key of the chart's version in a `HelmRelease`. A deployment changes this value alone.
pub(crate) const VERSION: [&str; 4] = ["spec", "chart", "spec", "version"];

#[derive(Debug)]
pub(crate) struct TenantFile<'t> {
    pub(crate) documents: Vec<Document<'t>>,
    /// Index of the `HelmRelease` in `documents`.
    pub(crate) index: usize,
}

impl<'t> TenantFile<'t> {
    pub(crate) fn parse(text: &'t str) -> Result<Self, YamlError> {
        Self::of(parse(text)?)
    }

    /// Finds the `HelmRelease` in parsed documents.
    pub(crate) fn of(documents: Vec<Document<'t>>) -> Result<Self, YamlError> {
        let mut releases = documents
            .iter()
            .enumerate()
            .filter(|(_, document)| is_release(&document.root));
        let Some((index, _)) = releases.next() else {
            let message =
                "no HelmRelease (helm.toolkit.fluxcd.io/v2); a tenant's file has exactly one";
            return Err(YamlError {
                line: 1,
                column: 1,
                message: message.to_owned(),
            });
        };
        if let Some((_, second)) = releases.next() {
            let message = "a second HelmRelease; a tenant's file has exactly one";
            return Err(YamlError::at(&second.root, message));
        }
        Ok(Self { documents, index })
    }

    pub(crate) fn release(&self) -> &Node<'t> {
        &self.documents[self.index].root
    }

    pub(crate) fn version(&self) -> Result<&str, YamlError> {
        let release = self.release();
        let node = release
            .at(&VERSION)
            .ok_or_else(|| YamlError::at(release, "spec.chart.spec.version is missing"))?;
        node.string().ok_or_else(|| {
            YamlError::at(
                node,
                "spec.chart.spec.version must be text: put it in quotes",
            )
        })
    }

    pub(crate) fn text(&self, path: &[&str]) -> Option<&str> {
        self.release().at(path).and_then(Node::string)
    }

    /// Reason why waves skip the release.
    pub(crate) fn hold(&self) -> Option<&str> {
        self.text(&["metadata", "annotations", HOLD_ANNOTATION])
    }
}

/// Whether a document is a `HelmRelease` of any version.
pub(crate) fn is_release(root: &Node<'_>) -> bool {
    let is_flux = root
        .get("apiVersion")
        .and_then(Node::text)
        .is_some_and(|api| api.starts_with("helm.toolkit."));
    is_flux && root.get("kind").and_then(Node::text) == Some("HelmRelease")
}
