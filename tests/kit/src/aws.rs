//! The AWS SDK against the embedded endpoint: the resources an installation creates, and the look-ups of tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};
use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};

/// The region of every resource.
pub const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";
const COMPLETE: &str = "all required fields are set";

/// A stored item: its attributes, all strings.
pub type Item = BTreeMap<String, String>;

/// The SDK's clients for one endpoint.
#[derive(Clone)]
pub struct Aws {
    pub sqs: aws_sdk_sqs::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub ssm: aws_sdk_ssm::Client,
}

/// Queues and table of one environment's consumer.
#[derive(Debug, Clone)]
pub struct Resources {
    /// URL of the queue.
    pub queue: String,
    /// URL of its dead-letter queue.
    pub dead_letters: String,
    /// Name of the table.
    pub table: String,
    name: String,
}

/// Messages in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub visible: u64,
    /// Messages received and not yet deleted.
    pub in_flight: u64,
}

impl Depth {
    pub const EMPTY: Self = Self {
        visible: 0,
        in_flight: 0,
    };
}

impl Aws {
    /// Clients for the endpoint at this URL.
    pub fn of(url: &str) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "tests");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
        }
    }

    /// Creates queue, dead-letter queue and table of an environment, and no parameter.
    ///
    /// # Panics
    /// A call fails.
    pub async fn create(&self, environment: &str) -> Resources {
        let name = format!("consumer-{environment}-x7k");
        let (queue, dead_letters) = self.create_queue(&name).await;
        let index = ("listed", "tenant_id", "listed_at");
        self.create_table(&name, ("tenant_id", "message_id"), index)
            .await;
        Resources {
            queue,
            dead_letters,
            table: name.clone(),
            name,
        }
    }

    /// Creates the payments table of an environment, and no parameter; returns its name.
    ///
    /// # Panics
    /// The call fails.
    pub async fn create_payments(&self, environment: &str) -> String {
        let name = format!("payments-{environment}-x7k");
        let index = ("outbox", "outbox_shard", "outbox_at");
        self.create_table(&name, ("tenant_id", "sk"), index).await;
        name
    }

    /// Creates a table with this hash and range key, and an index by its name and its own two.
    async fn create_table(
        &self,
        name: &str,
        (hash, range): (&str, &str),
        (index, index_hash, index_range): (&str, &str, &str),
    ) {
        let attribute = |name: &str| {
            let built = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S);
            built.build().expect(COMPLETE)
        };
        let key = |name: &str, kind| {
            let built = KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind);
            built.build().expect(COMPLETE)
        };
        let everything = Projection::builder()
            .projection_type(ProjectionType::All)
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .key_schema(key(index_hash, KeyType::Hash))
            .key_schema(key(index_range, KeyType::Range))
            .projection(everything);
        let names = BTreeSet::from([hash, range, index_hash, index_range]);
        let request = self
            .dynamodb
            .create_table()
            .table_name(name)
            .set_attribute_definitions(Some(names.into_iter().map(attribute).collect()))
            .key_schema(key(hash, KeyType::Hash))
            .key_schema(key(range, KeyType::Range))
            .global_secondary_indexes(index.build().expect(COMPLETE))
            .billing_mode(BillingMode::PayPerRequest);
        request.send().await.expect("the table is created");
    }

    /// Writes the parameter that names the payments table of an environment or tenant.
    pub async fn point_payments(&self, holder: &str, table: &str) {
        let arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}");
        self.put(&format!("/{holder}/payments_ddb"), &arn).await;
    }

    /// Creates a queue and its dead-letter queue, which gets a message after five deliveries; returns both URLs.
    ///
    /// # Panics
    /// A call fails.
    pub async fn create_queue(&self, name: &str) -> (String, String) {
        let dead_letters = format!("{name}-dlq");
        let policy =
            json!({ "deadLetterTargetArn": queue_arn(&dead_letters), "maxReceiveCount": 5 });
        let create = async |name: &str, attributes| {
            let create = self.sqs.create_queue().queue_name(name);
            let created = create.set_attributes(attributes).send().await;
            let url = created.expect("the queue is created").queue_url;
            url.expect("a queue has a URL")
        };
        let dead_letters = create(&dead_letters, None).await;
        let redrive = HashMap::from([(Attribute::RedrivePolicy, policy.to_string())]);
        (create(name, Some(redrive)).await, dead_letters)
    }

    /// Writes the parameters that name queue and table of an environment or tenant.
    pub async fn point(&self, holder: &str, to: &Resources) {
        self.put(&format!("/{holder}/consumer_sqs"), &queue_arn(&to.name))
            .await;
        let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}", to.name);
        self.put(&format!("/{holder}/consumer_ddb"), &table).await;
    }

    /// Registers a tenant of a tier, with these resources.
    pub async fn register(&self, tenant: &str, tier: &str, to: &Resources) {
        self.point(tenant, to).await;
        self.put(&format!("/{tenant}/tier"), tier).await;
    }

    /// Deletes a tenant's parameters.
    ///
    /// # Panics
    /// The call fails.
    pub async fn remove(&self, tenant: &str) {
        let names =
            ["consumer_sqs", "consumer_ddb", "tier"].map(|name| format!("/{tenant}/{name}"));
        let deleted = self
            .ssm
            .delete_parameters()
            .set_names(Some(names.into()))
            .send()
            .await;
        assert!(
            deleted
                .expect("the registry is there")
                .invalid_parameters()
                .is_empty()
        );
    }

    /// Writes a parameter.
    ///
    /// # Panics
    /// The call fails.
    pub async fn put(&self, name: &str, value: &str) {
        let request = self
            .ssm
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::String)
            .overwrite(true);
        request.send().await.expect("the parameter is written");
    }

    /// Every item of the environment's table.
    ///
    /// # Panics
    /// A call fails.
    pub async fn items(&self, of: &Resources) -> Vec<Item> {
        let items = self.read_all(&of.table).await;
        items.into_iter().map(strings).collect()
    }

    /// Every item of a table as JSON.
    ///
    /// # Panics
    /// A call fails, or an attribute is of a type that no service writes.
    pub async fn scan(&self, table: &str) -> Vec<Value> {
        let items = self.read_all(table).await;
        items.into_iter().map(plain).collect()
    }

    async fn read_all(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let scan = self.dynamodb.scan().table_name(table).consistent_read(true);
        let mut pages = scan.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            items.extend(page.expect("the table is read").items.unwrap_or_default());
        }
        items
    }

    /// The message ids in the environment's table. Items of two tenants under one id count once.
    pub async fn stored_ids(&self, of: &Resources) -> BTreeSet<String> {
        self.items(of)
            .await
            .into_iter()
            .filter_map(|mut item| item.remove("message_id"))
            .collect()
    }

    /// Messages in the queue at this URL.
    ///
    /// # Panics
    /// The call fails.
    pub async fn depth(&self, url: &str) -> Depth {
        let request = self
            .sqs
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(Attribute::All);
        let attributes = request
            .send()
            .await
            .expect("the queue is there")
            .attributes
            .unwrap_or_default();
        let number = |name| {
            attributes
                .get(&name)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default()
        };
        Depth {
            visible: number(Attribute::ApproximateNumberOfMessages),
            in_flight: number(Attribute::ApproximateNumberOfMessagesNotVisible),
        }
    }

    /// Receives up to ten messages with all attributes, hidden for this many seconds.
    ///
    /// # Panics
    /// The call fails.
    pub async fn receive(&self, url: &str, hidden_s: i32) -> Vec<Message> {
        let request = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .visibility_timeout(hidden_s)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        request
            .send()
            .await
            .expect("the queue is there")
            .messages
            .unwrap_or_default()
    }

    /// Sends one message with these string attributes; returns the id that SQS gave it.
    ///
    /// # Panics
    /// The call fails.
    pub async fn send(&self, url: &str, body: &str, attributes: &[(&str, &str)]) -> String {
        let mut request = self.sqs.send_message().queue_url(url).message_body(body);
        for (name, value) in attributes {
            request = request.message_attributes(*name, string_attribute(value));
        }
        request
            .send()
            .await
            .expect("the queue is there")
            .message_id
            .expect("a message has an id")
    }

    /// Sends messages as a producer would, under these ids.
    ///
    /// # Panics
    /// A call fails.
    pub async fn send_events(&self, url: &str, tenant: &str, ids: &[String]) {
        for chunk in ids.chunks(10) {
            let entry = |(at, id): (usize, &String)| {
                SendMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .message_body(json!({ "event": id }).to_string())
                    .message_attributes("tenant_id", string_attribute(tenant))
                    .message_attributes("producer_environment", string_attribute("pool-1"))
                    .message_attributes("message_id", string_attribute(id))
                    .build()
                    .expect("id and body are set")
            };
            let entries = chunk.iter().enumerate().map(entry).collect();
            let sent = self
                .sqs
                .send_message_batch()
                .queue_url(url)
                .set_entries(Some(entries))
                .send()
                .await;
            assert!(
                sent.expect("the queue is there").failed.is_empty(),
                "every message is accepted"
            );
        }
    }
}

/// New message ids, as a producer makes them.
pub fn event_ids(count: usize) -> Vec<String> {
    (0..count)
        .map(|_| uuid::Uuid::new_v4().to_string())
        .collect()
}

fn strings(attributes: HashMap<String, AttributeValue>) -> Item {
    let text = |value: AttributeValue| match value {
        AttributeValue::S(text) => text,
        other => panic!("an item has strings alone, not {other:?}"),
    };
    attributes
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

fn string_attribute(value: &str) -> MessageAttributeValue {
    let built = MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build();
    built.expect("the data type is set")
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn plain(item: HashMap<String, AttributeValue>) -> Value {
    item.into_iter()
        .map(|(name, value)| (name, plain_value(value)))
        .collect()
}

fn plain_value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => text.into(),
        AttributeValue::N(number) => number.parse::<u64>().expect("whole numbers alone").into(),
        AttributeValue::M(map) => plain(map),
        other => panic!("no such attribute is written: {other:?}"),
    }
}
