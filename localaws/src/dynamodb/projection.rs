//! Projections that are applied to dynoxide's response: attributes that a local index does not have. AWS reads them from
//! the table; dynoxide leaves them out unless a request asks for all attributes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::expressions::{Token, resolve, tokens};

/// The parts of an item that a request asks for: attributes, members of maps, elements of lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Projection {
    members: BTreeMap<String, Projection>,
    elements: BTreeMap<usize, Projection>,
}

impl Projection {
    /// Reads `ProjectionExpression` or `AttributesToGet`, and makes the request ask for all attributes instead.
    pub(super) fn take(request: &mut Map<String, Value>) -> Self {
        let mut projection = Self::default();
        let names = request.get("ExpressionAttributeNames").cloned();
        let names = names.unwrap_or_default();
        if let Some(Value::Array(attributes)) = request.remove("AttributesToGet") {
            for attribute in attributes.iter().filter_map(Value::as_str) {
                projection
                    .members
                    .insert(attribute.to_owned(), Self::default());
            }
        }
        if let Some(Value::String(expression)) = request.remove("ProjectionExpression") {
            for path in expression.split(',') {
                projection.add(path, &names);
            }
        }
        request.insert("Select".into(), "ALL_ATTRIBUTES".into());
        // dynoxide refuses names that no expression uses.
        if let Some(Value::Object(mut names)) = request.remove("ExpressionAttributeNames") {
            let used: Vec<_> = ["KeyConditionExpression", "FilterExpression"]
                .iter()
                .filter_map(|member| request.get(*member)?.as_str())
                .flat_map(tokens)
                .collect();
            names.retain(|name, _| used.contains(&Token::Word(name)));
            if !names.is_empty() {
                request.insert("ExpressionAttributeNames".into(), Value::Object(names));
            }
        }
        projection
    }

    /// Adds a path, such as `a.b[0].#c`.
    fn add(&mut self, path: &str, names: &Value) {
        let mut at = self;
        for part in path.split('.') {
            let mut indexes = part.split('[');
            let name = indexes.next().unwrap_or_default().trim();
            at = at.members.entry(resolve(name, names)).or_default();
            for index in indexes {
                let index = index.trim().trim_end_matches(']').trim().parse();
                at = at.elements.entry(index.unwrap_or(usize::MAX)).or_default();
            }
        }
    }

    /// Removes from each item of a response the parts that the request does not ask for.
    pub(super) fn apply(&self, response: &mut Value) {
        let items = response["Items"].as_array_mut();
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            *item = self.members_of(item);
        }
    }

    fn members_of(&self, map: &Map<String, Value>) -> Map<String, Value> {
        let part = |(name, projection): (&String, &Self)| {
            Some((name.clone(), projection.part_of(map.get(name)?)?))
        };
        self.members.iter().filter_map(part).collect()
    }

    fn part_of(&self, value: &Value) -> Option<Value> {
        if self.members.is_empty() && self.elements.is_empty() {
            return Some(value.clone());
        }
        if let Some(map) = value["M"].as_object() {
            let members = self.members_of(map);
            return (!members.is_empty()).then(|| json!({"M": members}));
        }
        let list = value["L"].as_array()?;
        let parts = self
            .elements
            .iter()
            .filter_map(|(index, projection)| projection.part_of(list.get(*index)?));
        let parts: Vec<_> = parts.collect();
        (!parts.is_empty()).then(|| json!({"L": parts}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_the_parts_that_were_asked_for() {
        let request = json!({
            "KeyConditionExpression": "#k = :x",
            "ProjectionExpression": "a, m.#d, l[1].x , l[0],gone, m.gone",
            "ExpressionAttributeNames": {"#k": "pk", "#d": "d.e", "#kk": "m"},
        });
        let mut request = request.as_object().unwrap().clone();
        let projection = Projection::take(&mut request);
        assert_eq!(
            Value::Object(request),
            json!({
                "KeyConditionExpression": "#k = :x",
                "Select": "ALL_ATTRIBUTES",
                "ExpressionAttributeNames": {"#k": "pk"},
            })
        );
        let mut response = json!({"Count": 1, "Items": [{
            "a": {"S": "1"},
            "b": {"S": "2"},
            "m": {"M": {"d.e": {"N": "3"}, "f": {"N": "4"}}},
            "l": {"L": [{"S": "5"}, {"M": {"x": {"S": "6"}, "y": {"S": "7"}}}, {"S": "8"}]},
        }]});
        projection.apply(&mut response);
        assert_eq!(
            response,
            json!({"Count": 1, "Items": [{
                "a": {"S": "1"},
                "m": {"M": {"d.e": {"N": "3"}}},
                "l": {"L": [{"S": "5"}, {"M": {"x": {"S": "6"}}}]},
            }]})
        );
    }

    #[test]
    fn attributes_to_get_are_whole() {
        let request = json!({"AttributesToGet": ["a.b", "c"], "Select": "SPECIFIC_ATTRIBUTES"});
        let projection = Projection::take(&mut request.as_object().unwrap().clone());
        let mut response = json!({"Items": [{"a.b": {"S": "1"}, "d": {"S": "2"}}]});
        projection.apply(&mut response);
        assert_eq!(response, json!({"Items": [{"a.b": {"S": "1"}}]}));
    }
}
