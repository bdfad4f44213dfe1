//! The tenant chart that this program is built with: its defaults, and how values are merged over them.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The chart's name, as `spec.chart.spec.chart` has it.
pub(crate) const NAME: &str = "helm-tenant-chart";

/// The schema of the chart's values.
pub(crate) const SCHEMA: &str =
    include_str!("../../helm-charts/helm-tenant-chart/values.schema.json");

const DEFAULTS: &str = include_str!("../../helm-charts/helm-tenant-chart/values.yaml");

/// The chart's own `values.yaml`.
pub(crate) static DEFAULT_VALUES: LazyLock<Value> = LazyLock::new(|| {
    let documents = crate::yaml::parse(DEFAULTS).expect("the chart's values.yaml is YAML");
    documents
        .first()
        .expect("the chart's values.yaml has values")
        .root
        .to_json()
});

/// Values over the chart's defaults, as Helm does it: maps key by key, `null` takes a default away, and everything else,
/// lists too, stands in the default's place.
pub(crate) fn merged(values: &Value) -> Value {
    merge(DEFAULT_VALUES.clone(), values)
}

fn merge(default: Value, value: &Value) -> Value {
    let (Value::Object(mut defaults), Value::Object(values)) = (default, value) else {
        return value.clone();
    };
    for (key, value) in values {
        match defaults.remove(key) {
            Some(_) if value.is_null() => {}
            Some(default) => drop(defaults.insert(key.clone(), merge(default, value))),
            None => drop(defaults.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(defaults)
}

/// The value at the end of a path of keys.
pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// A map's entries; none for anything else.
pub(crate) fn map(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_are_merged_null_deletes_and_lists_are_replaced() {
        let defaults =
            json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": {"x": 1}, "kept": true});
        let values = json!({"a": {"b": 3, "d": null}, "list": [], "gone": null, "new": {"y": 1}});
        let merged = merge(defaults, &values);
        let wanted =
            json!({"a": {"b": 3, "c": 2, "d": null}, "list": [], "kept": true, "new": {"y": 1}});
        assert_eq!(merged, wanted);
    }

    #[test]
    fn the_chart_defaults_are_those_of_the_chart() {
        assert_eq!(
            at(&merged(&json!({})), &["apps", "producer", "enabled"]),
            Some(&json!(true))
        );
        assert_eq!(at(&merged(&json!({})), &["suspended"]), Some(&json!(false)));
    }
}
