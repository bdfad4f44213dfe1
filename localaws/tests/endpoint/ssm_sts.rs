//! SSM and STS through the endpoint.

use aws_sdk_sqs::{config::Credentials, types::MessageSystemAttributeName};
use aws_sdk_ssm::{
    Client,
    types::{ParameterStringFilter, ParameterType, ResourceTypeForTagging, Tag},
};

use crate::support::{code, ephemeral, queue, receive, sdk, sdk_as};

async fn put(ssm: &Client, name: &str, value: &str) {
    let put = ssm
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(ParameterType::String)
        .overwrite(true);
    put.send().await.unwrap();
}

#[tokio::test]
async fn a_parameter_has_versions_and_an_arn() {
    let endpoint = ephemeral().await;
    let ssm = Client::new(&sdk(&endpoint.url()).await);
    put(&ssm, "/tenant-1/consumer_sqs", "one").await;
    put(&ssm, "/tenant-1/consumer_sqs", "two").await;
    let get = |name: &'static str| {
        let get = ssm.get_parameter().name(name).send();
        async { get.await.map(|got| got.parameter.unwrap()) }
    };
    let latest = get("/tenant-1/consumer_sqs").await.unwrap();
    assert_eq!((latest.value.as_deref(), latest.version), (Some("two"), 2));
    let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/tenant-1/consumer_sqs";
    assert_eq!(latest.arn.as_deref(), Some(arn));
    assert_eq!(get(arn).await.unwrap().version, 2);
    assert_eq!(
        get("/tenant-1/consumer_sqs:1")
            .await
            .unwrap()
            .value
            .as_deref(),
        Some("one")
    );
    assert_eq!(
        code(get("/tenant-1/consumer_sqs:9").await),
        "ParameterVersionNotFound"
    );
    assert_eq!(
        code(get("/tenant-2/consumer_sqs").await),
        "ParameterNotFound"
    );
    let again = ssm
        .put_parameter()
        .name("/tenant-1/consumer_sqs")
        .value("x")
        .r#type(ParameterType::String);
    assert_eq!(code(again.send().await), "ParameterAlreadyExists");
    let history = ssm
        .get_parameter_history()
        .name("/tenant-1/consumer_sqs")
        .send()
        .await
        .unwrap();
    assert_eq!(history.parameters.unwrap().len(), 2);
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_secure_string_is_decrypted_only_on_request() {
    let endpoint = ephemeral().await;
    let ssm = Client::new(&sdk(&endpoint.url()).await);
    let put = ssm
        .put_parameter()
        .name("/secret")
        .value("open sesame")
        .r#type(ParameterType::SecureString);
    put.send().await.unwrap();
    let get = |decrypt| {
        ssm.get_parameter()
            .name("/secret")
            .with_decryption(decrypt)
            .send()
    };
    let value = |got: aws_sdk_ssm::operation::get_parameter::GetParameterOutput| {
        got.parameter.unwrap().value.unwrap()
    };
    assert_eq!(value(get(true).await.unwrap()), "open sesame");
    assert!(!value(get(false).await.unwrap()).contains("sesame"));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn parameters_are_listed_by_names_path_and_filter() {
    let endpoint = ephemeral().await;
    let ssm = Client::new(&sdk(&endpoint.url()).await);
    for n in 0..12 {
        put(&ssm, &format!("/pool-1/p{n:02}"), "x").await;
    }
    put(&ssm, "/pool-1/deep/er", "x").await;
    put(&ssm, "/other", "x").await;
    let some = ssm
        .get_parameters()
        .names("/other")
        .names("/missing")
        .send()
        .await
        .unwrap();
    assert_eq!(some.parameters.unwrap().len(), 1);
    assert_eq!(some.invalid_parameters.unwrap(), ["/missing"]);
    let mut eleven = ssm.get_parameters();
    for n in 0..11 {
        eleven = eleven.names(format!("/pool-1/p{n:02}"));
    }
    assert_eq!(code(eleven.send().await), "ValidationException");
    let path = |recursive| {
        let mut pages = ssm
            .get_parameters_by_path()
            .path("/pool-1")
            .recursive(recursive)
            .into_paginator()
            .send();
        async move {
            let mut found = 0;
            while let Some(page) = pages.next().await {
                found += page.unwrap().parameters.unwrap_or_default().len();
            }
            found
        }
    };
    assert_eq!(path(false).await, 12);
    assert_eq!(path(true).await, 13);
    let filter = ParameterStringFilter::builder()
        .key("Name")
        .option("BeginsWith")
        .values("/pool-1/p0");
    let found = ssm
        .describe_parameters()
        .parameter_filters(filter.build().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(found.parameters.unwrap().len(), 10);
    let gone = ssm
        .delete_parameters()
        .names("/other")
        .names("/missing")
        .send()
        .await
        .unwrap();
    assert_eq!(gone.deleted_parameters.unwrap(), ["/other"]);
    assert_eq!(
        code(ssm.delete_parameter().name("/other").send().await),
        "ParameterNotFound"
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn parameters_have_tags() {
    let endpoint = ephemeral().await;
    let ssm = Client::new(&sdk(&endpoint.url()).await);
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let put = ssm
        .put_parameter()
        .name("/a")
        .value("x")
        .r#type(ParameterType::String)
        .tags(tag("team", "a"));
    put.send().await.unwrap();
    let of = ResourceTypeForTagging::Parameter;
    ssm.add_tags_to_resource()
        .resource_type(of.clone())
        .resource_id("/a")
        .tags(tag("cost", "b"))
        .send()
        .await
        .unwrap();
    let remove = ssm
        .remove_tags_from_resource()
        .resource_type(of.clone())
        .resource_id("/a")
        .tag_keys("team");
    remove.send().await.unwrap();
    let list = |id: &'static str| {
        ssm.list_tags_for_resource()
            .resource_type(of.clone())
            .resource_id(id)
            .send()
    };
    assert_eq!(
        list("/a").await.unwrap().tag_list.unwrap(),
        [tag("cost", "b")]
    );
    assert_eq!(code(list("/missing").await), "InvalidResourceId");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn the_credentials_of_an_assumed_role_identify_its_session() {
    let endpoint = ephemeral().await;
    let root = aws_sdk_sts::Client::new(&sdk(&endpoint.url()).await);
    let caller = root.get_caller_identity().send().await.unwrap();
    assert_eq!(caller.account.as_deref(), Some("000000000000"));
    assert_eq!(
        caller.arn.as_deref(),
        Some("arn:aws:iam::000000000000:root")
    );

    let tag = aws_sdk_sts::types::Tag::builder()
        .key("TenantID")
        .value("tenant-1")
        .build()
        .unwrap();
    let assume = root
        .assume_role()
        .role_arn("arn:aws:iam::000000000000:role/tenant")
        .role_session_name("tenant-1");
    let assumed = assume.tags(tag).send().await.unwrap();
    let keys = assumed.credentials.unwrap();
    assert!(keys.access_key_id.starts_with("ASIA"));
    let credentials = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        None,
        "test",
    );
    let role = sdk_as(&endpoint.url(), credentials).await;
    let caller = aws_sdk_sts::Client::new(&role)
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert_eq!(
        caller.arn.as_deref(),
        Some("arn:aws:sts::000000000000:assumed-role/tenant/tenant-1")
    );

    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    aws_sdk_sqs::Client::new(&role)
        .send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    let sender = receive(&sqs, &url).await.remove(0).attributes.unwrap();
    assert_eq!(
        sender[&MessageSystemAttributeName::SenderId],
        caller.user_id.unwrap()
    );
    endpoint.shutdown().await;
}
