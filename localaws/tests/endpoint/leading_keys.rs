//! The leading-keys rule, and call counts per session.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_sdk_sqs::config::Credentials;
use localaws::Endpoint;
use serde_json::{Value, json};

use crate::{
    dynamodb::create_table,
    support::{admin, code, ephemeral, sdk, sdk_as},
};

/// DynamoDB as a session with this tag.
async fn as_tenant(endpoint: &Endpoint, tenant: &str) -> Client {
    let sts = aws_sdk_sts::Client::new(&sdk(&endpoint.url()).await);
    let tag = aws_sdk_sts::types::Tag::builder()
        .key("tenant")
        .value(tenant)
        .build()
        .unwrap();
    let assume = sts
        .assume_role()
        .role_arn("arn:aws:iam::000000000000:role/reader")
        .role_session_name(tenant);
    let keys = assume.tags(tag).send().await.unwrap().credentials.unwrap();
    let credentials = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        None,
        "test",
    );
    Client::new(&sdk_as(&endpoint.url(), credentials).await)
}

async fn query(dynamodb: &Client, tenant: &str) -> Result<i32, String> {
    let query = dynamodb
        .query()
        .table_name("items")
        .key_condition_expression("tenant_id = :t");
    let query = query
        .expression_attribute_values(":t", AttributeValue::S(tenant.into()))
        .send()
        .await;
    query
        .map(|found| found.count)
        .map_err(|error| code(Err::<(), _>(error)))
}

#[tokio::test]
async fn with_the_rule_a_tagged_session_reaches_only_its_partition() {
    let endpoint = ephemeral().await;
    let account = Client::new(&sdk(&endpoint.url()).await);
    create_table(&account, "items").await;
    let put = |dynamodb: &Client, tenant: &str| {
        let put = dynamodb
            .put_item()
            .table_name("items")
            .item("tenant_id", AttributeValue::S(tenant.into()));
        put.item("message_id", AttributeValue::S("1".into())).send()
    };
    for tenant in ["tenant-1", "tenant-2"] {
        put(&account, tenant).await.unwrap();
    }
    let session = as_tenant(&endpoint, "tenant-1").await;
    assert_eq!(
        query(&session, "tenant-2").await,
        Ok(1),
        "without a rule, nothing is enforced"
    );
    let rule = r#"{"tag":"tenant","attribute":"tenant_id"}"#;
    assert_eq!(admin("PUT", &endpoint, "leading-keys", rule).await.0, 200);
    assert_eq!(query(&session, "tenant-1").await, Ok(1));
    assert_eq!(
        query(&session, "tenant-2").await,
        Err("AccessDeniedException".to_owned())
    );
    assert_eq!(
        code(put(&session, "tenant-2").await),
        "AccessDeniedException"
    );
    put(&session, "tenant-1").await.unwrap();
    assert_eq!(
        code(session.scan().table_name("items").send().await),
        "AccessDeniedException"
    );
    assert_eq!(
        query(&account, "tenant-2").await,
        Ok(1),
        "the account's own credentials are not restricted"
    );
    for wrong in [
        "{",
        r#"{"tag":"tenant"}"#,
        r#"{"tag":"t","attribute":"a","x":1}"#,
    ] {
        let (status, answer) = admin("PUT", &endpoint, "leading-keys", wrong).await;
        assert!(
            status == 400 && answer["msg"].is_string(),
            "{wrong}: {answer}"
        );
    }
    let kept: Value = serde_json::from_str(rule).unwrap();
    assert_eq!(
        admin("GET", &endpoint, "leading-keys", "").await.1,
        kept,
        "an invalid rule changes nothing"
    );
    admin("DELETE", &endpoint, "leading-keys", "").await;
    assert_eq!(query(&session, "tenant-2").await, Ok(1));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn calls_are_counted_per_session() {
    let endpoint = ephemeral().await;
    let account = Client::new(&sdk(&endpoint.url()).await);
    create_table(&account, "items").await;
    let session = as_tenant(&endpoint, "tenant-1").await;
    admin("DELETE", &endpoint, "calls", "").await;
    query(&account, "tenant-1").await.unwrap();
    for _ in 0..2 {
        query(&session, "tenant-1").await.unwrap();
    }
    let expected = json!([
        {"session": null, "tags": {}, "calls": {"DynamoDB.Query": 1}},
        {"session": "arn:aws:sts::000000000000:assumed-role/reader/tenant-1", "tags": {"tenant": "tenant-1"},
            "calls": {"DynamoDB.Query": 2}},
    ]);
    assert_eq!(
        admin("GET", &endpoint, "principals", "").await,
        (200, expected)
    );
    endpoint.shutdown().await;
}
