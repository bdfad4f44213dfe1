//! The source of parameters, and the parameters of an environment.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_tenancy::environment::Environment;

use crate::LookupError;
use crate::tenant::value;

/// Names that one GetParameters call takes (AWS: 10).
pub const MAX_NAMES_PER_CALL: usize = 10;

/// Source of parameters: Parameter Store, or a fake in tests.
pub trait ParameterSource: Send + Sync + 'static {
    /// Reads up to [`MAX_NAMES_PER_CALL`] parameters; the map lacks those that do not exist.
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>>;

    /// Reads one page of the parameters below a path: directly below it, or at any depth if `recursive`. A source without
    /// the path has an empty page.
    fn by_path(
        &self,
        path: &'static str,
        recursive: bool,
        from: Option<String>,
    ) -> BoxFuture<'_, Result<ParameterPage, SourceError>> {
        let _ = (path, recursive, from);
        Box::pin(async { Ok(ParameterPage::default()) })
    }
}

/// A page of parameters: names and values.
#[derive(Debug, Clone, Default)]
pub struct ParameterPage {
    pub parameters: Vec<(String, String)>,
    /// Start of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// The parameter source failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Reads the queue and table of an environment's consumer.
///
/// A silo's parameters are those of its tenant, so they name a pool's resources before the tenant has moved in and after
/// it has moved out. A pool's resources are never a silo's: its consumer would dead-letter every other tenant's messages.
///
/// # Errors
/// A [`LookupError`]; `Unknown` if one of the two parameters does not exist (yet).
pub async fn environment_resources(
    source: &dyn ParameterSource,
    environment: &Environment,
) -> Result<(QueueArn, TableArn), LookupError> {
    let (queue, table) = (
        format!("/{environment}/consumer_sqs"),
        format!("/{environment}/consumer_ddb"),
    );
    let values = read(source, vec![queue.clone(), table.clone()]).await?;
    match (
        value::<QueueArn>(&values, &queue)?,
        value::<TableArn>(&values, &table)?,
    ) {
        (Some(queue), Some(table)) if may_own(environment, queue.name()) => Ok((queue, table)),
        _ => Err(LookupError::Unknown),
    }
}

/// Reads the table in an environment's parameter.
///
/// # Errors
/// A [`LookupError`]; `Unknown` if the parameter does not exist (yet).
pub async fn environment_table(
    source: &dyn ParameterSource,
    environment: &Environment,
    parameter: &str,
) -> Result<TableArn, LookupError> {
    let name = format!("/{environment}/{parameter}");
    let values = read(source, vec![name.clone()]).await?;
    value(&values, &name)?
        .filter(|table: &TableArn| may_own(environment, table.name()))
        .ok_or(LookupError::Unknown)
}

/// Whether a resource of this name can be the environment's own. Names are `<app>-<owner>-<suffix>`.
fn may_own(environment: &Environment, resource: &str) -> bool {
    let owner = resource.split_once('-').map_or("", |(_app, owner)| owner);
    match environment {
        Environment::Pool(_) => true,
        Environment::Silo(_) => !owner.starts_with("pool-"),
    }
}

async fn read(
    source: &dyn ParameterSource,
    names: Vec<String>,
) -> Result<HashMap<String, String>, LookupError> {
    source
        .get(names)
        .await
        .map_err(|SourceError(reason)| LookupError::Unavailable(reason))
}

impl ParameterSource for aws_sdk_ssm::Client {
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>> {
        Box::pin(async move {
            let found = self
                .get_parameters()
                .set_names(Some(names))
                .with_decryption(true)
                .send()
                .await
                .map_err(|error| failed(&error))?;
            Ok(pairs(found.parameters).collect())
        })
    }

    fn by_path(
        &self,
        path: &'static str,
        recursive: bool,
        from: Option<String>,
    ) -> BoxFuture<'_, Result<ParameterPage, SourceError>> {
        Box::pin(async move {
            let found = self
                .get_parameters_by_path()
                .path(path)
                .recursive(recursive)
                .set_next_token(from)
                .send()
                .await
                .map_err(|error| failed(&error))?;
            Ok(ParameterPage {
                parameters: pairs(found.parameters).collect(),
                next: found.next_token.filter(|token| !token.is_empty()),
            })
        })
    }
}

fn pairs(
    found: Option<Vec<aws_sdk_ssm::types::Parameter>>,
) -> impl Iterator<Item = (String, String)> {
    found
        .unwrap_or_default()
        .into_iter()
        .filter_map(|found| Some((found.name?, found.value?)))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> SourceError {
    SourceError(aws_sdk_ssm::error::DisplayErrorContext(error).to_string())
}
