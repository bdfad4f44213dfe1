//! Injected fault of `BatchWriteItem`: some writes are not forwarded, and returned as unprocessed.

use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use serde_json::{Map, Value, json};

use super::{CRC32, DynamoDb, whole_body};
use crate::{
    faults::EntryFaults,
    protocol::{self, AwsError, Reply},
};

impl DynamoDb {
    pub(super) async fn write_some(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        faults: &EntryFaults,
    ) -> Result<Reply, AwsError> {
        let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
            return self.forward(headers, body).await;
        };
        let held_back = hold_back(&mut request, || faults.draw_unprocessed());
        if held_back.is_empty() {
            return self.forward(headers, body).await;
        }
        if request["RequestItems"]
            .as_object()
            .is_none_or(Map::is_empty)
        {
            return Ok(protocol::json(
                protocol::DYNAMODB,
                &json!({"UnprocessedItems": held_back}),
            ));
        }
        let reply = self.forward(headers, request.to_string().into()).await?;
        if !reply.status().is_success() {
            return Ok(reply);
        }
        let (mut head, body) = reply.into_parts();
        let mut response =
            serde_json::from_slice(&whole_body(body).await).unwrap_or_else(|_| json!({}));
        merge(&mut response, held_back);
        head.headers.remove(CRC32);
        Ok(Reply::from_parts(
            head,
            Full::new(response.to_string().into()),
        ))
    }
}

/// Removes the writes that `draw` selects from the request, and returns them by table.
fn hold_back(request: &mut Value, mut draw: impl FnMut() -> bool) -> Map<String, Value> {
    let mut held_back = Map::new();
    let Some(tables) = request
        .get_mut("RequestItems")
        .and_then(Value::as_object_mut)
    else {
        return held_back;
    };
    for (table, writes) in tables.iter_mut() {
        let Some(list) = writes.as_array_mut() else {
            continue;
        };
        let (held, kept): (Vec<_>, Vec<_>) = std::mem::take(list).into_iter().partition(|_| draw());
        *list = kept;
        if !held.is_empty() {
            held_back.insert(table.clone(), Value::Array(held));
        }
    }
    tables.retain(|_, writes| writes.as_array().is_none_or(|list| !list.is_empty()));
    held_back
}

/// Adds the writes held back to the unprocessed items of dynoxide.
fn merge(response: &mut Value, held_back: Map<String, Value>) {
    if !response["UnprocessedItems"].is_object() {
        response["UnprocessedItems"] = json!({});
    }
    for (table, mut writes) in held_back {
        match response["UnprocessedItems"][&table].as_array_mut() {
            Some(list) => list.append(
                writes
                    .as_array_mut()
                    .expect("writes are held back as a list"),
            ),
            None => response["UnprocessedItems"][&table] = writes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_held_back_are_returned_and_not_forwarded() {
        let mut request = json!({"RequestItems": {"a": [1, 2, 3], "b": [4]}});
        let mut n = 0;
        let held_back = hold_back(&mut request, || {
            n += 1;
            n % 2 == 0
        });
        assert_eq!(request, json!({"RequestItems": {"a": [1, 3]}}));
        assert_eq!(
            Value::Object(held_back.clone()),
            json!({"a": [2], "b": [4]})
        );
        let mut response = json!({"UnprocessedItems": {"a": [9]}});
        merge(&mut response, held_back);
        assert_eq!(
            response,
            json!({"UnprocessedItems": {"a": [9, 2], "b": [4]}})
        );
    }
}
