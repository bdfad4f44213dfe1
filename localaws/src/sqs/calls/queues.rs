//! Operations on queues: creation, listing, attributes, tags.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::required;
use crate::{
    arn_scope::ArnScope,
    sqs::{
        api::{
            CreateQueue, Empty, GetQueueAttributes, GetQueueUrl, ListDeadLetterSourceQueues,
            ListQueues, QueueAttributes, QueueRequest, QueueTags, QueueUrl, QueueUrls,
            SetQueueAttributes, SourceQueueUrls, TagQueue, UntagQueue,
        },
        error::{SqsError, SqsResult},
        limits::{LIST_RESULTS, MS_PER_S, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX},
        names::QueueName,
        queue::Queue,
        service::{CallContext, Sqs},
        settings,
    },
};

type Map = BTreeMap<String, String>;

impl Sqs {
    pub(super) async fn create_queue(
        &self,
        request: CreateQueue,
        context: &CallContext,
    ) -> SqsResult<QueueUrl> {
        let name = QueueName::parse(&required(request.queue_name, "QueueName")?)?;
        let attributes = request.attributes.unwrap_or_default();
        let tags = request.tags.unwrap_or_default();
        check_tags(&tags)?;
        self.transact(|state, now_ms| {
            state.core.create(&name, &attributes, tags, now_ms)?;
            Ok(QueueUrl {
                queue_url: state.core.scope.queue_url(&context.host, &name),
            })
        })
        .await
    }

    pub(super) fn get_queue_url(
        &self,
        request: GetQueueUrl,
        context: &CallContext,
    ) -> SqsResult<QueueUrl> {
        let text = required(request.queue_name, "QueueName")?;
        let state = self.state();
        let scope = &state.core.scope;
        if request
            .owner
            .is_some_and(|owner| owner != *scope.account_id)
        {
            return Err(SqsError::QueueDoesNotExist);
        }
        let name = QueueName::parse(&text).or(Err(SqsError::QueueDoesNotExist))?;
        state.core.find(&name)?;
        Ok(QueueUrl {
            queue_url: scope.queue_url(&context.host, &name),
        })
    }

    pub(super) fn list_queues(
        &self,
        request: &ListQueues,
        context: &CallContext,
    ) -> SqsResult<QueueUrls> {
        let page = Page::parse(request.max_results, request.next_token.as_deref())?;
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let state = self.state();
        let names = state.core.list(prefix, page.after.as_ref(), page.size + 1);
        let (queue_urls, next_token) = page.cut(names, &state.core.scope, context);
        Ok(QueueUrls {
            queue_urls,
            next_token: next_token.filter(|_| request.max_results.is_some()),
        })
    }

    pub(super) fn list_sources(
        &self,
        request: ListDeadLetterSourceQueues,
        context: &CallContext,
    ) -> SqsResult<SourceQueueUrls> {
        let url = required(request.queue_url, "QueueUrl")?;
        let page = Page::parse(request.max_results, request.next_token.as_deref())?;
        let state = self.state();
        let name = state.core.scope.queue_of_url(&url)?;
        state.core.find(&name)?;
        let names = state
            .core
            .sources_of(&name)
            .filter(|name| page.after.as_ref().is_none_or(|a| *name > a));
        let (queue_urls, next_token) = page.cut(names, &state.core.scope, context);
        Ok(SourceQueueUrls {
            queue_urls,
            next_token,
        })
    }

    pub(super) async fn delete_queue(&self, request: QueueRequest) -> SqsResult<Empty> {
        let url = required(request.queue_url, "QueueUrl")?;
        self.transact(|state, _| {
            let name = state.core.scope.queue_of_url(&url)?;
            state.core.delete(&name)
        })
        .await?;
        Ok(Empty {})
    }

    pub(super) async fn purge_queue(&self, request: QueueRequest) -> SqsResult<Empty> {
        let url = required(request.queue_url, "QueueUrl")?;
        self.transact(|state, now_ms| {
            let name = state.core.scope.queue_of_url(&url)?;
            state.core.purge(&name, now_ms)
        })
        .await?;
        Ok(Empty {})
    }

    pub(super) async fn get_queue_attributes(
        &self,
        request: GetQueueAttributes,
    ) -> SqsResult<QueueAttributes> {
        let url = required(request.queue_url, "QueueUrl")?;
        let requested = request.attribute_names.unwrap_or_default();
        if let Some(unknown) = requested
            .iter()
            .find(|name| *name != "All" && !settings::is_known(name))
        {
            return Err(SqsError::InvalidAttributeName(unknown.clone()));
        }
        // A transaction, because advancing the queue may delete expired messages.
        self.transact(|state, now_ms| {
            let name = state.core.scope.queue_of_url(&url)?;
            let scope = state.core.scope.clone();
            let mut attributes = describe(state.core.find_advanced(&name, now_ms)?, &scope);
            if !requested.iter().any(|name| name == "All") {
                attributes.retain(|name, _| requested.iter().any(|requested| requested == name));
            }
            Ok(QueueAttributes { attributes })
        })
        .await
    }

    pub(super) async fn set_queue_attributes(
        &self,
        request: SetQueueAttributes,
    ) -> SqsResult<Empty> {
        let url = required(request.queue_url, "QueueUrl")?;
        let attributes = required(request.attributes, "Attributes")?;
        self.transact(|state, now_ms| {
            let name = state.core.scope.queue_of_url(&url)?;
            state.core.set_attributes(&name, &attributes, now_ms)
        })
        .await?;
        Ok(Empty {})
    }

    pub(super) async fn tag_queue(&self, request: TagQueue) -> SqsResult<Empty> {
        let added = required(request.tags, "Tags")?;
        check_tags(&added)?;
        self.change_tags(request.queue_url, |tags| {
            tags.extend(added);
            check_tags(tags)
        })
        .await
    }

    pub(super) async fn untag_queue(&self, request: UntagQueue) -> SqsResult<Empty> {
        let keys = required(request.tag_keys, "TagKeys")?;
        self.change_tags(request.queue_url, |tags| {
            tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await
    }

    pub(super) fn list_queue_tags(&self, request: QueueRequest) -> SqsResult<QueueTags> {
        let url = required(request.queue_url, "QueueUrl")?;
        let state = self.state();
        let id = state.queue_of_url(&url)?;
        Ok(QueueTags {
            tags: state
                .core
                .queue(id)
                .map(|queue| queue.tags.clone())
                .unwrap_or_default(),
        })
    }

    async fn change_tags(
        &self,
        url: Option<String>,
        change: impl FnOnce(&mut Map) -> SqsResult<()>,
    ) -> SqsResult<Empty> {
        let url = required(url, "QueueUrl")?;
        self.transact(|state, _| {
            let name = state.core.scope.queue_of_url(&url)?;
            state.core.change_tags(&name, change)
        })
        .await?;
        Ok(Empty {})
    }
}

/// Returns all attributes of a queue.
fn describe(queue: &Queue, scope: &ArnScope) -> BTreeMap<&'static str, String> {
    let counts = queue.counts();
    let mut map = queue.settings.render();
    map.extend([
        ("QueueArn", scope.queue_arn(&queue.name)),
        ("ApproximateNumberOfMessages", counts.ready.to_string()),
        (
            "ApproximateNumberOfMessagesNotVisible",
            counts.in_flight.to_string(),
        ),
        (
            "ApproximateNumberOfMessagesDelayed",
            counts.delayed.to_string(),
        ),
        (
            "CreatedTimestamp",
            (queue.created_ms / MS_PER_S).to_string(),
        ),
        (
            "LastModifiedTimestamp",
            (queue.modified_ms / MS_PER_S).to_string(),
        ),
    ]);
    map
}

fn check_tags(tags: &Map) -> SqsResult<()> {
    let reason = if tags.len() > TAGS_MAX {
        format!("Too many tags for queue, maximum {TAGS_MAX} allowed.")
    } else if tags
        .keys()
        .any(|key| key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX)
    {
        format!("Tag keys must be between 1 and {TAG_KEY_CHARS_MAX} characters in length.")
    } else if tags
        .keys()
        .any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        "Tag keys must not start with 'aws:'.".to_owned()
    } else if tags
        .values()
        .any(|value| value.chars().count() > TAG_VALUE_CHARS_MAX)
    {
        format!("Tag values must be at most {TAG_VALUE_CHARS_MAX} characters in length.")
    } else {
        return Ok(());
    };
    Err(SqsError::InvalidParameterValue(reason))
}

/// One page of a listing. The token is the last name of the page before.
struct Page {
    size: usize,
    after: Option<QueueName>,
}

impl Page {
    fn parse(max_results: Option<i64>, token: Option<&str>) -> SqsResult<Self> {
        let largest = *LIST_RESULTS.end();
        let asked = max_results.unwrap_or(largest);
        if !LIST_RESULTS.contains(&asked) {
            return Err(SqsError::parameter(
                asked,
                "MaxResults",
                "MaxResults must be between 1 and 1000.",
            ));
        }
        let decode = |token: &str| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
            QueueName::parse(std::str::from_utf8(&bytes).ok()?).ok()
        };
        let after = token
            .map(|token| {
                decode(token)
                    .ok_or_else(|| SqsError::parameter(token, "NextToken", "Not a valid token."))
            })
            .transpose()?;
        Ok(Self {
            size: usize::try_from(asked).unwrap_or(usize::MAX),
            after,
        })
    }

    /// Returns the URLs of the page, and the token of the next page if there is one.
    fn cut<'a>(
        &self,
        names: impl Iterator<Item = &'a QueueName>,
        scope: &ArnScope,
        context: &CallContext,
    ) -> (Vec<String>, Option<String>) {
        let names: Vec<_> = names.take(self.size + 1).collect();
        let page = &names[..names.len().min(self.size)];
        let more = names.len() > self.size;
        let token = page
            .last()
            .filter(|_| more)
            .map(|name| BASE64_URL_SAFE_NO_PAD.encode(name.as_str()));
        (
            page.iter()
                .map(|name| scope.queue_url(&context.host, name))
                .collect(),
            token,
        )
    }
}
