//! The tenant chart compiled into this program: its defaults, and the merge of values over them.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The chart's name in `spec.chart.spec.chart`.
pub(crate) const NAME: &str = "helm-tenant-chart";

pub(crate) const SCHEMA: &str =
    include_str!("../../helm-charts/helm-tenant-chart/values.schema.json");

const DEFAULTS: &str = include_str!("../../helm-charts/helm-tenant-chart/values.yaml");

pub(crate) static DEFAULT_VALUES: LazyLock<Value> = LazyLock::new(|| {
    let documents = crate::yaml::parse(DEFAULTS).expect("the chart's values.yaml is YAML");
    documents
        .first()
        .expect("the chart's values.yaml has values")
        .root
        .to_json()
});

/// Merges values over the chart's defaults, as Helm does: maps key by key; `null` removes a default; any other value, also
/// a list, replaces the default.
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

/// Returns the value at the end of a path of keys.
pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Returns the entries of a map; none for another value.
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
