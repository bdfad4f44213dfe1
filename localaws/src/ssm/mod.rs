//! SSM Parameter Store.
//!
//! State is in memory under one lock; changes are answered when they are on disk. A `SecureString` is kept as
//! it came, like everything here, and shown as an opaque text unless decryption is asked for.

mod api;
mod error;
mod filters;
mod names;
mod parameters;
mod persist;
mod tags;

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::persist::SCHEMA;
use self::{
    api::{
        DescribeParameters, GetParameterHistory, GetParametersByPath, OfName, OfNames, PutParameter,
    },
    error::{SsmError, SsmResult},
    names::Selector,
    parameters::{Draft, Kind, Parameter, Parameters, Version},
};
use crate::{
    protocol::{self, AwsError, Reply, now_ms},
    realm::Realm,
    store::{LoadError, Store},
};

/// Names in one `GetParameters` or `DeleteParameters` (AWS).
const NAMES_MAX: usize = 10;
/// Results of one page: of a path, and of the other listings (AWS).
const PATH_PAGE_MAX: i64 = 10;
const PAGE_MAX: i64 = 50;

/// The parameter store of one endpoint.
#[derive(Debug)]
pub(crate) struct Ssm {
    realm: Realm,
    parameters: Mutex<Parameters>,
    store: Store,
}

/// The parameters, read but not yet served.
#[derive(Debug)]
pub(crate) struct Loaded {
    realm: Realm,
    parameters: Parameters,
}

impl Loaded {
    /// Starts serving: changes go to `store`.
    pub(crate) fn serve(self, store: Store) -> Ssm {
        Ssm {
            realm: self.realm,
            parameters: Mutex::new(self.parameters),
            store,
        }
    }
}

impl Ssm {
    /// No parameters, or what the file holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(realm: Realm, conn: Option<&Connection>) -> Result<Loaded, LoadError> {
        let parameters = conn.map(persist::load).transpose()?.unwrap_or_default();
        Ok(Loaded { realm, parameters })
    }

    /// Runs one operation for the user with this ARN.
    ///
    /// # Errors
    /// What AWS would answer, or a store that cannot be written.
    pub(crate) async fn call(
        &self,
        action: &str,
        body: &Bytes,
        user: &str,
    ) -> Result<Reply, AwsError> {
        let answer = match action {
            "GetParameter" => self.get_parameter(parse(body)?),
            "GetParameters" => self.get_parameters(parse(body)?),
            "GetParametersByPath" => self.get_parameters_by_path(parse(body)?),
            "PutParameter" => self.put_parameter(parse(body)?, user).await,
            "DeleteParameter" => self.delete_parameter(parse(body)?).await,
            "DeleteParameters" => self.delete_parameters(parse(body)?).await,
            "DescribeParameters" => self.describe_parameters(parse(body)?),
            "GetParameterHistory" => self.get_parameter_history(parse(body)?),
            "AddTagsToResource" => self.add_tags(parse(body)?).await,
            "RemoveTagsFromResource" => self.remove_tags(parse(body)?).await,
            "ListTagsForResource" => self.list_tags(&parse(body)?),
            _ => Err(SsmError::UnknownOperation(action.to_owned())),
        };
        Ok(protocol::json(protocol::SSM, &answer?))
    }

    fn get_parameter(&self, request: OfName) -> SsmResult<Value> {
        let name = required(request.name, "name")?;
        let selector = Selector::parse(&name, &self.realm);
        let parameters = self.parameters();
        let version = parameters.select(&selector)?;
        let decrypt = request.with_decryption.unwrap_or(false);
        Ok(json!({"Parameter": self.show(&selector.name, version, decrypt, selector.version)}))
    }

    fn get_parameters(&self, request: OfNames) -> SsmResult<Value> {
        let names = check_names(request.names)?;
        let decrypt = request.with_decryption.unwrap_or(false);
        let parameters = self.parameters();
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in &names {
            let selector = Selector::parse(name, &self.realm);
            match parameters.select(&selector) {
                Ok(version) => {
                    found.push(self.show(&selector.name, version, decrypt, selector.version))
                }
                Err(_) => invalid.push(name),
            }
        }
        Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    fn get_parameters_by_path(&self, request: GetParametersByPath) -> SsmResult<Value> {
        let path = required(request.path, "path")?;
        if !path.starts_with('/') {
            return Err(SsmError::Validation(
                "The parameter path must start with a slash and be formed of levels divided by slashes."
                    .into(),
            ));
        }
        let size = page_size(request.max_results, PATH_PAGE_MAX, PATH_PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let conditions = filters::parse(request.parameter_filters.unwrap_or_default())?;
        let decrypt = request.with_decryption.unwrap_or(false);
        let parameters = self.parameters();
        let found = parameters
            .below(&path, request.recursive.unwrap_or(false), after.as_deref())
            .filter(|(name, parameter)| conditions.iter().all(|c| c.is_met(name, parameter)));
        let (page, token) = page(found, size);
        let shown: Vec<_> = page
            .iter()
            .map(|(name, p)| self.show(name, p.latest(), decrypt, None))
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
        let draft = Draft {
            name: Selector::parse(&required(request.name, "name")?, &self.realm).name,
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
            let name = draft.name.clone();
            let put = parameters.put(draft, now_ms())?;
            let answer = json!({"Version": put.version.version, "Tier": put.version.tier});
            let version = Box::new(put.version.clone());
            let mut changes = vec![persist::Change::Put {
                name: name.clone(),
                version,
                dropped: put.dropped,
            }];
            if !tags.is_empty()
                && let Some(place) = parameters.tags_mut(&name)
            {
                place.clone_from(&tags);
                changes.push(persist::Change::Tag { name, tags });
            }
            Ok((answer, changes))
        })
        .await
    }

    async fn delete_parameter(&self, request: OfName) -> SsmResult<Value> {
        let name = Selector::parse(&required(request.name, "name")?, &self.realm).name;
        self.transact(|parameters| {
            if !parameters.delete(&name) {
                return Err(SsmError::ParameterNotFound(name));
            }
            Ok((json!({}), vec![persist::Change::Delete(name)]))
        })
        .await
    }

    async fn delete_parameters(&self, request: OfNames) -> SsmResult<Value> {
        let names = check_names(request.names)?;
        self.transact(|parameters| {
            let (deleted, invalid): (Vec<_>, Vec<_>) = names
                .into_iter()
                .partition(|name| parameters.delete(&Selector::parse(name, &self.realm).name));
            let answer = json!({"DeletedParameters": deleted, "InvalidParameters": invalid});
            let gone =
                |name: String| persist::Change::Delete(Selector::parse(&name, &self.realm).name);
            Ok((answer, deleted.into_iter().map(gone).collect()))
        })
        .await
    }

    fn describe_parameters(&self, request: DescribeParameters) -> SsmResult<Value> {
        let size = page_size(request.max_results, PAGE_MAX, PATH_PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let mut conditions = request.parameter_filters.unwrap_or_default();
        conditions.extend(request.filters.unwrap_or_default());
        let conditions = filters::parse(conditions)?;
        let parameters = self.parameters();
        let found = parameters
            .all(after.as_deref())
            .filter(|(name, parameter)| conditions.iter().all(|c| c.is_met(name, parameter)));
        let (page, token) = page(found, size);
        let shown: Vec<_> = page
            .iter()
            .map(|(name, parameter)| {
                let mut shown = metadata(name, parameter.latest());
                shown["ARN"] = names::arn(name, &self.realm).into();
                shown
            })
            .collect();
        Ok(with_token(json!({"Parameters": shown}), token))
    }

    fn get_parameter_history(&self, request: GetParameterHistory) -> SsmResult<Value> {
        let name = Selector::parse(&required(request.name, "name")?, &self.realm).name;
        let size = page_size(request.max_results, PAGE_MAX, PAGE_MAX)?;
        let after = request.next_token.as_deref().map(token_name).transpose()?;
        let after: u64 = after.map_or(Ok(0), |text| {
            text.parse().map_err(|_| SsmError::InvalidNextToken)
        })?;
        let parameters = self.parameters();
        let parameter = parameters
            .get(&name)
            .ok_or(SsmError::ParameterNotFound(name.clone()))?;
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
                let mut shown = metadata(&name, version);
                shown["Value"] = value_of(version, decrypt).into();
                shown["Labels"] = json!([]);
                shown
            })
            .collect();
        Ok(with_token(json!({"Parameters": shown}), token))
    }

    /// A parameter as the reading operations show it.
    fn show(&self, name: &str, version: &Version, decrypt: bool, selector: Option<&str>) -> Value {
        let mut shown = json!({
            "Name": name,
            "Type": version.kind.name(),
            "Value": value_of(version, decrypt),
            "Version": version.version,
            "LastModifiedDate": seconds(version.modified_ms),
            "ARN": names::arn(name, &self.realm),
            "DataType": version.data_type,
        });
        if let Some(selector) = selector {
            shown["Selector"] = format!(":{selector}").into();
        }
        shown
    }

    /// Changes the parameters under the lock, then waits until that is on disk.
    async fn transact<T>(
        &self,
        change: impl FnOnce(&mut Parameters) -> SsmResult<(T, Vec<persist::Change>)>,
    ) -> SsmResult<T> {
        let room = self.store.room().await;
        let (answer, pending) = {
            let mut parameters = self.parameters();
            let (answer, changes) = change(&mut parameters)?;
            (answer, self.store.submit(room, changes))
        };
        pending.committed().await?;
        Ok(answer)
    }

    fn parameters(&self) -> MutexGuard<'_, Parameters> {
        // A panic under the lock is a bug; going on with what is there beats failing every later call.
        self.parameters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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

fn page_size(asked: Option<i64>, max: i64, default: i64) -> SsmResult<usize> {
    let asked = asked.unwrap_or(default);
    usize::try_from(asked).ok().filter(|_| (1..=max).contains(&asked)).ok_or_else(|| {
        SsmError::Validation(format!(
            "1 validation error detected: Value '{asked}' at 'maxResults' failed to satisfy constraint: Member must \
             have value between 1 and {max}"
        ))
    })
}

/// The first `size` of what was found, and the token of the next page if there is more.
fn page<'a>(
    mut found: impl Iterator<Item = (&'a String, &'a Parameter)>,
    size: usize,
) -> (Vec<(&'a String, &'a Parameter)>, Option<String>) {
    let page: Vec<_> = found.by_ref().take(size).collect();
    let more = found.next().is_some();
    let token = page
        .last()
        .filter(|_| more)
        .map(|(name, _)| name_token(name));
    (page, token)
}

fn name_token(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

fn token_name(token: &str) -> SsmResult<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| SsmError::InvalidNextToken)?;
    String::from_utf8(bytes).map_err(|_| SsmError::InvalidNextToken)
}

fn with_token(mut answer: Value, token: Option<String>) -> Value {
    if let Some(token) = token {
        answer["NextToken"] = token.into();
    }
    answer
}

/// A version without its value.
fn metadata(name: &str, version: &Version) -> Value {
    let mut shown = json!({
        "Name": name,
        "Type": version.kind.name(),
        "LastModifiedDate": seconds(version.modified_ms),
        "LastModifiedUser": version.modified_by,
        "Version": version.version,
        "Tier": version.tier,
        "Policies": [],
        "DataType": version.data_type,
    });
    let optional = [
        ("Description", &version.description),
        ("KeyId", &version.key_id),
        ("AllowedPattern", &version.allowed_pattern),
    ];
    for (member, value) in optional {
        if let Some(value) = value {
            shown[member] = value.as_str().into();
        }
    }
    shown
}

/// The value as the caller may see it: of a `SecureString` without decryption, a text that tells nothing.
fn value_of(version: &Version, decrypt: bool) -> String {
    if version.kind != Kind::SecureString || decrypt {
        return version.value.clone();
    }
    let mut opaque = Vec::with_capacity(64);
    for n in 0..4_u8 {
        let block = Md5::new()
            .chain_update([n])
            .chain_update(version.modified_ms.to_be_bytes());
        opaque.extend_from_slice(&block.chain_update(&version.value).finalize());
    }
    BASE64_STANDARD.encode(opaque)
}

/// A time as AWS JSON writes it: seconds, with the milliseconds as a fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double's 53 bits"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
