//! Refusals of requests that dynoxide takes and AWS refuses by their members alone. Pure.

use std::collections::HashSet;

use serde_json::Value;

use super::conditions;
use super::settings::Encryption;
use crate::arn_scope::ArnScope;
use crate::protocol::AwsError;

/// Whether a request is checked: one of these actions, or one with a condition.
pub(super) fn is_checked(action: &str, body: &[u8]) -> bool {
    let has = |member: &&str| {
        let name = member.as_bytes();
        body.windows(name.len()).any(|window| window == name)
    };
    matches!(
        action,
        "CreateTable" | "UpdateTable" | "TagResource" | "BatchWriteItem"
    ) || conditions::MEMBERS.iter().any(has)
}

/// Checks a request.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check(action: &str, request: &Value, scope: &ArnScope) -> Result<(), AwsError> {
    let problem = match action {
        "BatchWriteItem" => batch(request),
        "TagResource" => tags(request),
        "UpdateTable" => stream(request).or_else(|| indexes(request)),
        "CreateTable" => stream(request)
            .or_else(|| indexes(request))
            .or_else(|| tags(request))
            .or_else(|| encryption(request, scope)),
        "TransactWriteItems" => {
            let items = request["TransactItems"].as_array().into_iter().flatten();
            let mut writes = items
                .filter_map(Value::as_object)
                .flat_map(|item| item.values());
            writes.find_map(conditions::problem)
        }
        _ => conditions::problem(request),
    };
    match problem {
        Some(problem) => Err(AwsError::bad_request("ValidationException", problem)),
        None => Ok(()),
    }
}

fn stream(request: &Value) -> Option<String> {
    let stream = &request["StreamSpecification"];
    let (is_on, view) = (
        stream["StreamEnabled"] == true,
        stream["StreamViewType"].is_string(),
    );
    let problem = match (stream.is_object(), is_on, view) {
        (true, true, false) => "StreamEnabled=true needs a StreamViewType",
        (true, false, true) => "StreamViewType is only for StreamEnabled=true",
        _ => return None,
    };
    Some(format!(
        "One or more parameter values were invalid: {problem}"
    ))
}

fn encryption(request: &Value, scope: &ArnScope) -> Option<String> {
    let specification = request
        .get("SSESpecification")
        .filter(|it| it.is_object())?;
    Encryption::parse(specification, scope).err()
}

/// Finds an attribute that an index projects twice.
fn indexes(request: &Value) -> Option<String> {
    let created = |key: &str| request[key].as_array().into_iter().flatten();
    let updates = created("GlobalSecondaryIndexUpdates").map(|update| &update["Create"]);
    let mut indexes = created("GlobalSecondaryIndexes")
        .chain(created("LocalSecondaryIndexes"))
        .chain(updates);
    indexes.find_map(|index| {
        let attributes = index["Projection"]["NonKeyAttributes"].as_array()?;
        let twice = repeated(attributes.iter().filter_map(Value::as_str))?;
        Some(format!(
            "One or more parameter values were invalid: NonKeyAttributes has {twice} twice"
        ))
    })
}

fn tags(request: &Value) -> Option<String> {
    let tags = request["Tags"].as_array()?;
    let keys = || tags.iter().filter_map(|tag| tag["Key"].as_str());
    if let Some(twice) = repeated(keys()) {
        return Some(format!("Duplicate key found: {twice}"));
    }
    let own = keys().find(|key| key.to_ascii_lowercase().starts_with("aws:"))?;
    Some(format!(
        "Tag keys that begin with aws: belong to AWS: {own}"
    ))
}

fn batch(request: &Value) -> Option<String> {
    let tables = request["RequestItems"].as_object()?;
    let writes = tables.values().filter_map(Value::as_array).flatten();
    let is_wrong = |write: &&Value| {
        let members = ["PutRequest", "DeleteRequest"];
        members
            .iter()
            .filter(|member| write[**member].is_object())
            .count()
            != 1
    };
    writes.filter(|it| it.is_object()).find(is_wrong)?;
    Some("Each write of a batch must be one of PutRequest and DeleteRequest".to_owned())
}

fn repeated<'v>(mut values: impl Iterator<Item = &'v str>) -> Option<&'v str> {
    let mut seen = HashSet::new();
    values.find(|value| !seen.insert(*value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_that_do_not_go_together_are_refused() {
        let stream = |stream| json!({"StreamSpecification": stream});
        let projection = |attributes| json!({"Projection": {"NonKeyAttributes": attributes}});
        let tags = |keys: &[&str]| {
            let tags: Vec<Value> = keys
                .iter()
                .map(|key| json!({"Key": key, "Value": ""}))
                .collect();
            json!({"Tags": tags})
        };
        let put = json!({"PutRequest": {"Item": {}}});
        let both = json!({"PutRequest": {"Item": {}}, "DeleteRequest": {"Key": {}}});
        let cases = [
            ("CreateTable", stream(json!({"StreamEnabled": true})), false),
            ("UpdateTable", stream(json!({"StreamEnabled": true})), false),
            (
                "UpdateTable",
                stream(json!({"StreamEnabled": false, "StreamViewType": "KEYS_ONLY"})),
                false,
            ),
            (
                "UpdateTable",
                stream(json!({"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"})),
                true,
            ),
            ("UpdateTable", stream(json!({"StreamEnabled": false})), true),
            (
                "CreateTable",
                json!({"SSESpecification": {"Enabled": true, "SSEType": "AES256"}}),
                false,
            ),
            (
                "CreateTable",
                json!({"SSESpecification": {"Enabled": true, "SSEType": "KMS"}}),
                true,
            ),
            (
                "CreateTable",
                json!({"GlobalSecondaryIndexes": [projection(json!(["a", "a"]))]}),
                false,
            ),
            (
                "CreateTable",
                json!({"LocalSecondaryIndexes": [projection(json!(["a", "b"]))]}),
                true,
            ),
            (
                "UpdateTable",
                json!({"GlobalSecondaryIndexUpdates": [{"Create": projection(json!(["a", "a"]))}]}),
                false,
            ),
            ("CreateTable", tags(&["a", "a"]), false),
            ("TagResource", tags(&["AWS:a"]), false),
            ("TagResource", tags(&["a", "A"]), true),
            (
                "BatchWriteItem",
                json!({"RequestItems": {"t": [put]}}),
                true,
            ),
            (
                "BatchWriteItem",
                json!({"RequestItems": {"t": [put, both]}}),
                false,
            ),
            (
                "BatchWriteItem",
                json!({"RequestItems": {"t": [{}]}}),
                false,
            ),
        ];
        for (action, request, is_right) in cases {
            let checked = check(action, &request, &ArnScope::sample());
            assert_eq!(checked.is_ok(), is_right, "{action} {request}");
        }
    }
}
