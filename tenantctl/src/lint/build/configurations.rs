//! Files that tell kustomize which fields of objects it changes: `configurations`, and the OpenAPI definitions of `crds`.

use super::{Builder, FIX, List};
use crate::lint::fields::{self, Refused};
use crate::lint::finding::Finding;

type Check = fn(&str) -> Result<(), Refused>;

const FILES: [(&str, Check); 2] = [
    ("configurations", fields::check_configuration),
    ("crds", fields::check_definitions),
];

impl Builder<'_> {
    /// Refuses files that kustomize cannot decode. [`crate::lint::lists`] reports those that do not exist.
    pub(super) fn configurations(&mut self, list: &List) {
        for (key, check) in FILES {
            for item in list.items(key) {
                let entry = item.text().unwrap_or_default();
                let Some(path) = list.folder.resolve(entry) else {
                    continue;
                };
                let checked = self.read(&path).map(|text| check(&text));
                if let Some(Err(Refused { position, message })) = checked {
                    let finding = Finding::of_file(&path, "list", message, FIX);
                    self.findings.push(finding.at(position));
                }
            }
        }
    }
}
