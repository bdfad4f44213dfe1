//! Files that tell kustomize which fields objects have: `configurations`, and the OpenAPI definitions of `crds` and `openapi`.

use super::{Builder, FIX, List};
use crate::lint::fields::{self, Refused};
use crate::lint::finding::Finding;
use crate::yaml::Node;

impl Builder<'_> {
    /// Refuses files that kustomize cannot decode. [`crate::lint::lists`] reports those that do not exist.
    pub(super) fn configurations(&mut self, list: &List) {
        for item in list.items("configurations") {
            self.decode(list, item, fields::check_configuration);
        }
        for item in list.items("crds") {
            self.decode(list, item, fields::check_definitions);
        }
        if let Some(item) = list.root.at(&["openapi", "path"]) {
            self.decode(list, item, fields::check_schema);
        }
    }

    fn decode(
        &mut self,
        list: &List,
        item: &Node<'_>,
        check: impl Fn(&str) -> Result<(), Refused>,
    ) {
        let Some(path) = list.folder.resolve(item.text().unwrap_or_default()) else {
            return;
        };
        let checked = self.read(&path).map(|text| check(&text));
        if let Some(Err(Refused { position, message })) = checked {
            let finding = Finding::of_file(&path, "list", message, FIX);
            self.findings.push(finding.at(position));
        }
    }
}
