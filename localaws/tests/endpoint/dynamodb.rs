//! DynamoDB through the endpoint.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        PointInTimeRecoverySpecification, PutRequest, ScalarAttributeType, WriteRequest,
    },
};

use crate::support::{code, ephemeral, recovery, sdk};

/// A table like the consumer's.
pub(crate) async fn create_table(dynamodb: &Client, name: &str) {
    let key = |name: &str, kind: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let text = |name: &str| {
        let definition = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S);
        definition.build().unwrap()
    };
    let create = dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    let create = create
        .key_schema(key("tenant_id", KeyType::Hash))
        .key_schema(key("message_id", KeyType::Range));
    let create = create
        .attribute_definitions(text("tenant_id"))
        .attribute_definitions(text("message_id"));
    create.send().await.unwrap();
}

fn put(message_id: &str) -> WriteRequest {
    let put = PutRequest::builder()
        .item("tenant_id", AttributeValue::S("tenant-1".into()))
        .item("message_id", AttributeValue::S(message_id.into()));
    WriteRequest::builder()
        .put_request(put.build().unwrap())
        .build()
}

#[tokio::test]
async fn a_batch_writes_items_and_duplicates_are_refused() {
    let endpoint = ephemeral().await;
    let dynamodb = Client::new(&sdk(&endpoint.url()).await);
    create_table(&dynamodb, "items").await;
    let writes = (0..25).map(|n| put(&n.to_string())).collect();
    let outcome = dynamodb
        .batch_write_item()
        .request_items("items", writes)
        .send()
        .await
        .unwrap();
    assert!(outcome.unprocessed_items.unwrap_or_default().is_empty());
    let query = dynamodb
        .query()
        .table_name("items")
        .key_condition_expression("tenant_id = :t");
    let query = query.expression_attribute_values(":t", AttributeValue::S("tenant-1".into()));
    assert_eq!(query.send().await.unwrap().count, 25);
    let twice = dynamodb
        .batch_write_item()
        .request_items("items", vec![put("a"), put("a")])
        .send()
        .await;
    assert_eq!(code(twice), "ValidationException");
    let nowhere = dynamodb.describe_table().table_name("nowhere").send().await;
    assert_eq!(code(nowhere), "ResourceNotFoundException");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_table_arn_is_accepted_as_a_table_name() {
    let endpoint = ephemeral().await;
    let dynamodb = Client::new(&sdk(&endpoint.url()).await);
    create_table(&dynamodb, "items").await;
    let table = dynamodb
        .describe_table()
        .table_name("items")
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    let arn = table.table_arn.unwrap();
    assert_eq!(arn, "arn:aws:dynamodb:us-east-1:000000000000:table/items");
    dynamodb
        .batch_write_item()
        .request_items(&arn, vec![put("a")])
        .send()
        .await
        .unwrap();
    assert_eq!(
        dynamodb.scan().table_name(&arn).send().await.unwrap().count,
        1
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn point_in_time_recovery_stays_enabled_until_the_table_is_deleted() {
    let endpoint = ephemeral().await;
    let dynamodb = Client::new(&sdk(&endpoint.url()).await);
    let status = || async {
        recovery(&dynamodb, "items")
            .await
            .point_in_time_recovery_status
            .unwrap()
            .as_str()
            .to_owned()
    };
    let missing = dynamodb
        .describe_continuous_backups()
        .table_name("items")
        .send()
        .await;
    assert_eq!(code(missing), "TableNotFoundException");
    create_table(&dynamodb, "items").await;
    assert_eq!(status().await, "DISABLED");
    let enabled = PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(true)
        .build()
        .unwrap();
    let update = dynamodb.update_continuous_backups().table_name("items");
    update
        .point_in_time_recovery_specification(enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(status().await, "ENABLED");
    dynamodb
        .delete_table()
        .table_name("items")
        .send()
        .await
        .unwrap();
    create_table(&dynamodb, "items").await;
    assert_eq!(status().await, "DISABLED");
    endpoint.shutdown().await;
}
