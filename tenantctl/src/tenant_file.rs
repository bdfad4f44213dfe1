//! A tenant's (or pool's) file: YAML documents, of which exactly one is the `HelmRelease`.

use crate::layout::HOLD_ANNOTATION;
use crate::yaml::{Document, Node, YamlError, parse};

/// The path of the chart's version in a `HelmRelease`; the one thing that a deployment changes.
pub(crate) const VERSION: [&str; 4] = ["spec", "chart", "spec", "version"];

/// A parsed tenant file.
#[derive(Debug)]
pub(crate) struct TenantFile<'t> {
    pub(crate) documents: Vec<Document<'t>>,
    /// Which of the documents is the `HelmRelease`.
    pub(crate) index: usize,
}

impl<'t> TenantFile<'t> {
    /// Reads a tenant's file.
    ///
    /// # Errors
    /// It is no YAML, or has not exactly one `HelmRelease`.
    pub(crate) fn parse(text: &'t str) -> Result<Self, YamlError> {
        Self::of(parse(text)?)
    }

    /// The same of what has been parsed.
    ///
    /// # Errors
    /// There is not exactly one `HelmRelease`.
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
            return Err(wrong(&second.root, message));
        }
        Ok(Self { documents, index })
    }

    /// The `HelmRelease`.
    pub(crate) fn release(&self) -> &Node<'t> {
        &self.documents[self.index].root
    }

    /// The chart's version.
    ///
    /// # Errors
    /// There is none, or it is no text: then an edit could not keep the file's shape.
    pub(crate) fn version(&self) -> Result<&str, YamlError> {
        let release = self.release();
        let node = release
            .at(&VERSION)
            .ok_or_else(|| wrong(release, "spec.chart.spec.version is missing"))?;
        node.string().ok_or_else(|| {
            wrong(
                node,
                "spec.chart.spec.version must be text: put it in quotes",
            )
        })
    }

    /// The text at a path of the `HelmRelease`.
    pub(crate) fn text(&self, path: &[&str]) -> Option<&str> {
        self.release().at(path).and_then(Node::string)
    }

    /// Why waves skip it.
    pub(crate) fn hold(&self) -> Option<&str> {
        self.text(&["metadata", "annotations", HOLD_ANNOTATION])
    }
}

/// Whether a document is a `HelmRelease`, of whichever version.
pub(crate) fn is_release(root: &Node<'_>) -> bool {
    let is_flux = root
        .get("apiVersion")
        .and_then(Node::text)
        .is_some_and(|api| api.starts_with("helm.toolkit."));
    is_flux && root.get("kind").and_then(Node::text) == Some("HelmRelease")
}

pub(crate) fn wrong(node: &Node<'_>, message: &str) -> YamlError {
    YamlError {
        line: node.line,
        column: node.column,
        message: message.to_owned(),
    }
}
