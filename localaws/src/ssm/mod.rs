//! SSM Parameter Store.
//!
//! The state is in memory under one lock. A change is answered once it is on disk. A `SecureString` is stored as plain
//! text, and shown as opaque text unless the client asks for decryption.

mod api;
mod error;
mod filters;
mod names;
mod pages;
mod parameters;
mod patterns;
mod persist;
mod render;
mod rules;
mod tags;

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::persist::SCHEMA;
use self::{
    api::{
        DescribeParameters, GetParameterHistory, GetParametersByPath, LabelsRequest, NameRequest,
        NamesRequest, PutParameter, TagsRequest,
    },
    error::{SsmError, SsmResult},
    filters::{DESCRIBE_KEYS, PATH_KEYS, ParameterFilter},
    names::{Selector, exact},
    pages::{name_token, page, page_size, token_name, with_token},
    parameters::{Kind, NewVersion, Parameter, Parameters, TAGS_MAX},
    persist::ParameterChange,
};
use crate::{
    arn_scope::ArnScope,
    protocol::{self, AwsError, Reply, now_ms},
    store::{LoadError, Store},
};

/// Names per `GetParameters` or `DeleteParameters` (AWS).
const NAMES_MAX: usize = 10;
/// Results per page: of a path, and of the other listings (AWS).
const PATH_PAGE_MAX: i64 = 10;
const PAGE_MAX: i64 = 50;

#[derive(Debug)]
pub(crate) struct Ssm {
    scope: ArnScope,
    parameters: Mutex<Parameters>,
    store: Store,
}

/// Parameters, loaded but not yet served.
#[derive(Debug)]
pub(crate) struct LoadedParameters {
    scope: ArnScope,
    parameters: Parameters,
}

impl LoadedParameters {
    /// Loads the data file; without one, there are no parameters.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(scope: ArnScope, conn: Option<&Connection>) -> Result<Self, LoadError> {
        let parameters = conn.map(persist::load).transpose()?.unwrap_or_default();
        Ok(Self { scope, parameters })
    }

    /// Starts serving: changes go to `store`.
    pub(crate) fn serve(self, store: Store) -> Ssm {
        Ssm {
            scope: self.scope,
            parameters: Mutex::new(self.parameters),
            store,
        }
    }
}

impl Ssm {
    /// Runs one operation for the user with this ARN.
    ///
    /// # Errors
    /// The error AWS returns; a failed write of the store.
    pub(crate) async fn call(
        &self,
        action: &str,
        body: &Bytes,
        user: &str,
    ) -> Result<Reply, AwsError> {
        let response = match action {
            "GetParameter" => self.get_parameter(parse(body)?),
            "GetParameters" => self.get_parameters(parse(body)?),
            "GetParametersByPath" => self.get_parameters_by_path(parse(body)?),
            "PutParameter" => self.put_parameter(parse(body)?, user).await,
            "DeleteParameter" => self.delete_parameter(parse(body)?).await,
            "DeleteParameters" => self.delete_parameters(parse(body)?).await,
            "DescribeParameters" => self.describe_parameters(parse(body)?),
            "GetParameterHistory" => self.get_parameter_history(parse(body)?),
            "LabelParameterVersion" => self.label_version(parse(body)?).await,
            "UnlabelParameterVersion" => self.unlabel_version(parse(body)?).await,
            "AddTagsToResource" => self.add_tags(parse(body)?).await,
            "RemoveTagsFromResource" => self.remove_tags(parse(body)?).await,
            "ListTagsForResource" => self.list_tags(&parse(body)?),
            _ => Err(SsmError::UnknownOperation(action.to_owned())),
        };
        Ok(protocol::json(protocol::SSM, &response?))
    }

    fn get_parameter(&self, request: NameRequest) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        let selector = Selector::parse(&name, &self.scope)?;
        let parameters = self.parameters.lock();
        let (name, version) = parameters.select(&selector)?;
        let decrypt = request.with_decryption.unwrap_or(false);
        Ok(
            json!({"Parameter": render::parameter(&self.scope, name, version, decrypt, selector.version)}),
        )
    }

    fn get_parameters(&self, request: NamesRequest) -> SsmResult<Value> {
        let names = check_names(request.names)?;
        let decrypt = request.with_decryption.unwrap_or(false);
        let parameters = self.parameters.lock();
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in &names {
            let selected = Selector::parse(name, &self.scope).and_then(|selector| {
                let (name, version) = parameters.select(&selector)?;
                Ok((name, version, selector.version))
            });
            match selected {
                Ok((name, version, selector)) => found.push(render::parameter(
                    &self.scope,
                    name,
                    version,
                    decrypt,
                    selector,
                )),
                // A malformed name fails the whole call, as documented.
                Err(error @ SsmError::Validation(_)) => return Err(error),
                Err(_) => invalid.push(name),
            }
        }
        Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    fn get_parameters_by_path(&self, request: GetParametersByPath) -> SsmResult<Value> {
        let path = required(request.path, "path")?;
        let path = exact(&path);
        names::check_path(path)?;
        let size = page_size(request.max_results, PATH_PAGE_MAX, PATH_PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let filters = filters::parse(request.parameter_filters.unwrap_or_default(), PATH_KEYS)?;
        let decrypt = request.with_decryption.unwrap_or(false);
        let parameters = self.parameters.lock();
        let found = parameters
            .below(path, request.recursive.unwrap_or(false), after.as_deref())
            .filter_map(|(name, p)| Some((name, ParameterFilter::select(&filters, name, p)?)));
        let (page, token) = page(found, size);
        let shown: Vec<_> = page
            .iter()
            .map(|(name, version)| render::parameter(&self.scope, name, version, decrypt, None))
            .collect();
        Ok(with_token(json!({"Parameters": shown}), token))
    }

    async fn put_parameter(&self, request: PutParameter, user: &str) -> SsmResult<Value> {
        let tags = request.tags.unwrap_or_default();
        let overwrite = request.overwrite.unwrap_or(false);
        if overwrite && !tags.is_empty() {
            return Err(SsmError::Validation(
                "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please \
                 remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
                 RemoveTagsFromResource."
                    .into(),
            ));
        }
        let new = NewVersion {
            name: exact(&required(request.name, "name")?).to_owned(),
            value: required(request.value, "value")?,
            kind: request.r#type.as_deref().map(Kind::parse).transpose()?,
            description: request.description,
            key_id: request.key_id,
            allowed_pattern: request.allowed_pattern,
            tier: request.tier,
            data_type: request.data_type,
            overwrite,
            modified_by: user.to_owned(),
        };
        let tags = tags::check(tags)?;
        self.transact(|parameters| {
            let name = new.name.clone();
            let put = parameters.put(new, &self.scope, now_ms())?;
            let response = json!({"Version": put.version.version, "Tier": put.version.tier});
            if !put.is_stored {
                tracing::warn!(
                    name,
                    "parameter not changed: its data type needs the id of an image as its value"
                );
                return Ok((response, Vec::new()));
            }
            let mut changes = vec![ParameterChange::Put {
                name: name.clone(),
                version: Box::new(put.version),
                dropped: put.dropped,
            }];
            if !tags.is_empty()
                && let Some(place) = parameters.tags_mut(&name)
            {
                place.clone_from(&tags);
                changes.push(ParameterChange::Tag { name, tags });
            }
            Ok((response, changes))
        })
        .await
    }

    async fn delete_parameter(&self, request: NameRequest) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        self.transact(|parameters| {
            let name = exact(&name).to_owned();
            if !parameters.delete(&name) {
                return Err(SsmError::ParameterNotFound(name));
            }
            Ok((json!({}), vec![ParameterChange::Delete(name)]))
        })
        .await
    }

    async fn delete_parameters(&self, request: NamesRequest) -> SsmResult<Value> {
        let names = check_names(request.names)?;
        self.transact(|parameters| {
            let (deleted, invalid): (Vec<_>, Vec<_>) = names
                .into_iter()
                .partition(|name| parameters.delete(exact(name)));
            let response = json!({"DeletedParameters": deleted, "InvalidParameters": invalid});
            let deletion = |name: String| ParameterChange::Delete(exact(&name).to_owned());
            Ok((response, deleted.into_iter().map(deletion).collect()))
        })
        .await
    }

    async fn label_version(&self, request: LabelsRequest) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        let labels = required(request.labels, "labels")?;
        self.transact(|parameters| {
            let name = exact(&name);
            let labeled = parameters.label(name, request.parameter_version, labels)?;
            let response =
                json!({"ParameterVersion": labeled.version, "InvalidLabels": labeled.invalid});
            let change = |version| ParameterChange::Relabel {
                name: name.to_owned(),
                version: Box::new(version),
            };
            Ok((response, labeled.changed.into_iter().map(change).collect()))
        })
        .await
    }

    async fn unlabel_version(&self, request: LabelsRequest) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        let number = required(request.parameter_version, "parameterVersion")?;
        let labels = required(request.labels, "labels")?;
        self.transact(|parameters| {
            let name = exact(&name).to_owned();
            let (version, removed, missing) = parameters.unlabel(&name, number, labels)?;
            let response = json!({"RemovedLabels": removed, "InvalidLabels": missing});
            let version = Box::new(version);
            Ok((response, vec![ParameterChange::Relabel { name, version }]))
        })
        .await
    }

    fn describe_parameters(&self, request: DescribeParameters) -> SsmResult<Value> {
        let size = page_size(request.max_results, PAGE_MAX, PATH_PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let mut listing_filters = request.parameter_filters.unwrap_or_default();
        listing_filters.extend(request.filters.unwrap_or_default());
        let filters = filters::parse(listing_filters, DESCRIBE_KEYS)?;
        let parameters = self.parameters.lock();
        let found = parameters
            .all(after.as_deref())
            .filter_map(|(name, p)| Some((name, ParameterFilter::select(&filters, name, p)?)));
        let (page, token) = page(found, size);
        let shown: Vec<_> = page
            .iter()
            .map(|(name, version)| {
                let mut shown = render::metadata(name, version);
                shown["ARN"] = names::arn(name, &self.scope).into();
                shown
            })
            .collect();
        Ok(with_token(json!({"Parameters": shown}), token))
    }

    fn get_parameter_history(&self, request: GetParameterHistory) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        let selector = Selector::parse_name(&name, &self.scope)?;
        let size = page_size(request.max_results, PAGE_MAX, PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let after: u64 = after.map_or(Ok(0), |text| {
            text.parse().map_err(|_| SsmError::InvalidNextToken)
        })?;
        let parameters = self.parameters.lock();
        let (name, parameter) = parameters
            .find(&selector)
            .ok_or_else(|| SsmError::ParameterNotFound(name.clone()))?;
        let decrypt = request.with_decryption.unwrap_or(false);
        let mut left = parameter
            .versions
            .iter()
            .filter(|v| v.version > after)
            .peekable();
        let page: Vec<_> = left.by_ref().take(size).collect();
        let more = left.peek().is_some();
        let token = page
            .last()
            .filter(|_| more)
            .map(|last| name_token(&last.version.to_string()));
        let shown: Vec<_> = page
            .iter()
            .map(|version| {
                let mut shown = render::metadata(name, version);
                shown["Value"] = render::value_of(version, decrypt).into();
                shown["Labels"] = json!(version.labels);
                shown
            })
            .collect();
        Ok(with_token(json!({"Parameters": shown}), token))
    }

    async fn add_tags(&self, request: TagsRequest) -> SsmResult<Value> {
        let id = resource(&request)?;
        let added = tags::check(required(request.tags, "tags")?)?;
        self.change_tags(id, |tags| tags.extend(added)).await
    }

    async fn remove_tags(&self, request: TagsRequest) -> SsmResult<Value> {
        let id = resource(&request)?;
        let keys = required(request.tag_keys, "tagKeys")?;
        self.change_tags(id, |tags| tags.retain(|key, _| !keys.contains(key)))
            .await
    }

    fn list_tags(&self, request: &TagsRequest) -> SsmResult<Value> {
        let id = resource(request)?;
        let parameters = self.parameters.lock();
        let (_, parameter) = self.tagged(&parameters, &id)?;
        let tags: Vec<_> = parameter
            .tags
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        Ok(json!({"TagList": tags}))
    }

    async fn change_tags(
        &self,
        id: String,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> SsmResult<Value> {
        self.transact(|parameters| {
            let (name, parameter) = self.tagged(parameters, &id)?;
            let (name, mut tags) = (name.to_owned(), parameter.tags.clone());
            change(&mut tags);
            if tags.len() > TAGS_MAX {
                return Err(SsmError::TooManyTags(TAGS_MAX));
            }
            if let Some(place) = parameters.tags_mut(&name) {
                place.clone_from(&tags);
            }
            Ok((json!({}), vec![ParameterChange::Tag { name, tags }]))
        })
        .await
    }

    /// Returns the parameter with this resource id, a name or an ARN.
    fn tagged<'a>(
        &self,
        parameters: &'a Parameters,
        id: &str,
    ) -> SsmResult<(&'a str, &'a Parameter)> {
        Selector::parse_name(id, &self.scope)
            .ok()
            .and_then(|selector| parameters.find(&selector))
            .ok_or_else(|| SsmError::InvalidResourceId(id.to_owned()))
    }

    /// Runs `change` under the lock, then waits until its changes are on disk.
    async fn transact<T>(
        &self,
        change: impl FnOnce(&mut Parameters) -> SsmResult<(T, Vec<ParameterChange>)>,
    ) -> SsmResult<T> {
        let permit = self.store.reserve().await;
        let (response, commit) = {
            let mut parameters = self.parameters.lock();
            let (response, changes) = change(&mut parameters)?;
            (response, self.store.submit(permit, changes))
        };
        commit.done().await?;
        Ok(response)
    }
}

/// Returns the id of the parameter whose tags a request names.
fn resource(request: &TagsRequest) -> SsmResult<String> {
    let resource_type = required(request.resource_type.as_deref(), "resourceType")?;
    if resource_type != "Parameter" {
        return Err(SsmError::InvalidResourceType(resource_type.to_owned()));
    }
    required(request.resource_id.clone(), "resourceId")
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> SsmResult<T> {
    serde_json::from_slice(body)
        .map_err(|error| SsmError::Serialization(format!("Cannot read the request: {error}")))
}

fn required<T>(value: Option<T>, member: &str) -> SsmResult<T> {
    value.ok_or_else(|| {
        SsmError::Validation(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be \
             null"
        ))
    })
}

fn check_names(names: Option<Vec<String>>) -> SsmResult<Vec<String>> {
    let mut names = required(names, "names")?;
    if names.is_empty() || names.len() > NAMES_MAX {
        let bound = if names.is_empty() {
            "greater than or equal to 1"
        } else {
            "less than or equal to 10"
        };
        return Err(SsmError::Validation(format!(
            "1 validation error detected: Value '[{}]' at 'names' failed to satisfy constraint: Member must have length \
             {bound}",
            names.join(", ")
        )));
    }
    names.sort();
    names.dedup();
    Ok(names)
}
