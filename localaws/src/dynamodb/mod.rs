//! DynamoDB by dynoxide: forwards calls to its server, translates table ARNs, and implements the calls it lacks.
//!
//! dynoxide offers its HTTP dispatch only as a whole server, so one pooled client forwards to it. Tables and items are
//! dynoxide's; recovery periods and changed encryptions are this module's. Where dynoxide takes what AWS refuses, this
//! module refuses it first; see [`numbers`] and [`reads`].

mod arns;
mod backups;
mod conditions;
mod engine;
mod expressions;
mod numbers;
mod persist;
mod projection;
mod reads;
mod requests;
mod settings;
mod tables;
mod unprocessed;

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, ORIGIN, TRANSFER_ENCODING},
};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use self::{
    arns::Arns,
    persist::SettingsChange,
    projection::Projection,
    settings::{AllSettings, TableSettings},
};
pub(crate) use self::{
    engine::Engine,
    persist::{ADDED, SCHEMA, load},
};
use crate::{
    arn_scope::ArnScope,
    faults::EntryFaults,
    protocol::{AwsError, Reply},
    store::Store,
};

/// Request header that names the operation.
const TARGET: &str = "x-amz-target";
/// Response header with a checksum; removed from a changed response.
const CRC32: &str = "x-amz-crc32";
/// Idle connections to dynoxide (ours): it processes one call at a time.
const IDLE_CONNECTIONS_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct DynamoDb {
    addr: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    arns: Arns,
    settings: Mutex<AllSettings>,
    store: Store,
}

/// Spawns the client's connections onto the endpoint's tracker.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

impl DynamoDb {
    /// Opens dynoxide's file, or a database in memory, and serves it.
    ///
    /// # Errors
    /// The reason as text.
    pub(crate) fn start(
        file: Option<&Path>,
        scope: ArnScope,
        settings: AllSettings,
        store: Store,
        tracker: &TaskTracker,
    ) -> Result<(Self, Engine), String> {
        let (addr, engine) = Engine::start(file)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(Tracked(tracker.clone()))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let arns = Arns::new(scope);
        Ok((
            Self {
                addr,
                client,
                arns,
                settings: Mutex::new(settings),
                store,
            },
            engine,
        ))
    }

    /// Runs one operation; `action` is the part of the target after the dot.
    ///
    /// # Errors
    /// The error AWS returns, for calls that dynoxide does not answer.
    pub(crate) async fn call(
        &self,
        action: &str,
        headers: &HeaderMap,
        body: Bytes,
        faults: &EntryFaults,
    ) -> Result<Reply, AwsError> {
        let (body, named_by_arn) = match self.arns.to_names(&body) {
            Some((request, named)) => (request.to_string().into(), named),
            None => (body, BTreeSet::new()),
        };
        let (body, projection) = self.prepare(action, headers, body).await?;
        let reply = match action {
            "DescribeContinuousBackups" => self.describe_backups(headers, &body).await?,
            "UpdateContinuousBackups" => self.update_backups(headers, &body).await?,
            "BatchWriteItem" if !faults.is_empty() => {
                self.write_some(headers, body, faults).await?
            }
            "DeleteTable" => self.delete_table(headers, body).await?,
            "UpdateTable" => self.update_table(headers, body).await?,
            "UpdateTimeToLive" => self.update_time_to_live(headers, body).await?,
            _ => self.forward(headers, body).await?,
        };
        let reply = match action {
            "DescribeTable" | "UpdateTable" => self.describe(reply).await,
            _ => reply,
        };
        let reply = match projection {
            Some(projection) => project(&projection, reply).await,
            None => reply,
        };
        Ok(self.translate(action, reply, &named_by_arn).await)
    }

    /// Names tables in the response as the request did, and localizes its ARNs.
    async fn translate(
        &self,
        action: &str,
        reply: Reply,
        named_by_arn: &BTreeSet<String>,
    ) -> Reply {
        let (mut head, body) = reply.into_parts();
        let body = whole_body(body).await;
        let mut changed = self.arns.localize(action, &body);
        if !named_by_arn.is_empty()
            && let Ok(mut response) = serde_json::from_slice::<Value>(&body)
        {
            self.arns.to_arns(&mut response, named_by_arn);
            changed = Some(
                self.arns
                    .localize(action, response.to_string().as_bytes())
                    .unwrap_or(response.to_string()),
            );
        }
        if changed.is_some() {
            head.headers.remove(CRC32);
        }
        Reply::from_parts(head, Full::new(changed.map_or(body, Bytes::from)))
    }

    /// Refuses what AWS refuses and dynoxide takes. Returns the request with normal numbers, and a projection for its
    /// response.
    async fn prepare(
        &self,
        action: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(Bytes, Option<Projection>), AwsError> {
        let is_read = matches!(action, "Query" | "Scan");
        let is_checked = requests::is_checked(action, &body);
        if !is_read && !is_checked && !numbers::may_hold_numbers(&body) {
            return Ok((body, None));
        }
        let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
            return Ok((body, None));
        };
        if is_checked {
            requests::check(action, &request, self.arns.scope())?;
        }
        let is_partial = is_read && self.check_read(action, headers, &request).await?;
        // dynoxide's Scan of an index never reads the table, so it has no further attributes to project.
        let is_partial = is_partial && action == "Query";
        let projection = request
            .as_object_mut()
            .filter(|_| is_partial)
            .map(Projection::take);
        let is_changed = numbers::normalize(&mut request) || projection.is_some();
        let body = match is_changed {
            true => request.to_string().into(),
            false => body,
        };
        Ok((body, projection))
    }

    /// Asks dynoxide, and returns the response if it is a success.
    async fn ask(
        &self,
        headers: &HeaderMap,
        action: &'static str,
        request: &Value,
    ) -> Result<Option<Value>, AwsError> {
        let headers = with_target(headers, action);
        let reply = self.forward(&headers, request.to_string().into()).await?;
        if !reply.status().is_success() {
            return Ok(None);
        }
        let body = whole_body(reply.into_body()).await;
        Ok(serde_json::from_slice(&body).ok())
    }

    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> Result<Reply, AwsError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("http://{}/", self.addr)
            .parse()
            .expect("an address makes a URI");
        *request.headers_mut() = headers.clone();
        // With an origin, dynoxide would let pages of every site read its response.
        for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, HOST, ORIGIN] {
            request.headers_mut().remove(hop);
        }
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "call to dynoxide failed");
            AwsError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "The table engine did not answer.",
            )
        };
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let (mut head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(hop);
        }
        Ok(Reply::from_parts(head, Full::new(body)))
    }

    /// Changes the settings of a table, and waits until the change is on disk.
    async fn change_settings(
        &self,
        table: &str,
        change: impl FnOnce(&mut TableSettings),
    ) -> Result<(), AwsError> {
        let permit = self.store.reserve().await;
        let commit = {
            let mut all = self.settings.lock();
            let before = all.get(table).cloned().unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            let settings = (after != TableSettings::default()).then_some(after.clone());
            match &settings {
                Some(settings) => all.insert(table.to_owned(), settings.clone()),
                None => all.remove(table),
            };
            let change = (after != before).then(|| SettingsChange {
                table: table.to_owned(),
                settings,
            });
            self.store.submit(permit, change)
        };
        commit.done().await.map_err(|error| {
            AwsError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                error.to_string(),
            )
        })
    }
}

/// Applies a projection to the items of a response.
async fn project(projection: &Projection, reply: Reply) -> Reply {
    let (mut head, body) = reply.into_parts();
    let body = whole_body(body).await;
    match serde_json::from_slice(&body) {
        Ok(mut response) if head.status.is_success() => {
            projection.apply(&mut response);
            head.headers.remove(CRC32);
            Reply::from_parts(head, Full::new(response.to_string().into()))
        }
        _ => Reply::from_parts(head, Full::new(body)),
    }
}

/// Returns the headers of a request for another action.
fn with_target(headers: &HeaderMap, action: &'static str) -> HeaderMap {
    let mut headers = headers.clone();
    let target = format!("DynamoDB_20120810.{action}");
    let target = HeaderValue::from_str(&target).expect("an action is a header value");
    headers.insert(TARGET, target);
    headers
}

/// Returns the bytes of a body that is in memory.
async fn whole_body(body: Full<Bytes>) -> Bytes {
    body.collect()
        .await
        .map_or_else(|never| match never {}, http_body_util::Collected::to_bytes)
}
