//! The routes: parse the request, call the ledger, answer.
//!
//! A change of the ledger runs on its own task: if the client disconnects, the event of a written charge is still
//! published. The task is tracked, so a drain waits for it.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tenantry_process::arn::TableArn;
use tenantry_process::telemetry::traceparent;
use tenantry_registry::{Status, Tenant};
use tenantry_service::admission::Admitted;
use tenantry_service::error::{ApiError, ErrorBody};
use tenantry_service::idempotency::IdempotencyKey;
use tenantry_service::openapi::{BodyErrors, Errors, KeyHeader, TenantHeader, TraceHeader};
use tenantry_service::telemetry::RequestContext;
use tenantry_service::{Http, cursor, page};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::Tier;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ledger::{ChangeOutcome, KeyedRequest, Ledger, LedgerError, RecordedResponse};
use crate::outbox::publish::Publisher;
use crate::request::{MAX_BODY_BYTES, new_charge, new_refund};

/// Response header of a replayed response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Prefix of this listing's cursor positions, so that another listing's cursor is refused.
const CURSOR_PREFIX: &str = "charges/";

/// Ledger and publisher of the environment's table, set once the table's parameter is found.
pub(crate) struct OpenLedger {
    pub(crate) table: TableArn,
    pub(crate) ledger: Ledger,
    pub(crate) publisher: Publisher,
}

/// State of the routes. Clones share it.
#[derive(Clone)]
pub(crate) struct Payments(Arc<Inner>);

struct Inner {
    http: Http,
    open: Arc<OnceLock<OpenLedger>>,
    tasks: TaskTracker,
}

/// A page of charges, newest first
#[derive(Serialize, ToSchema)]
#[schema(as = Charges)]
pub(crate) struct ChargeList {
    /// Charges of this page
    #[schema(value_type = Vec<crate::charge::ChargeBody>)]
    charges: Vec<Box<RawValue>>,
    /// `cursor` of the next page; null on the last page
    next_cursor: Option<String>,
}

impl AsRef<Http> for Payments {
    fn as_ref(&self) -> &Http {
        &self.0.http
    }
}

impl Payments {
    pub(crate) fn new(http: Http, open: Arc<OnceLock<OpenLedger>>, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { http, open, tasks }))
    }

    /// Returns the ledger for a tenant whose payments are in this environment's table.
    ///
    /// # Errors
    /// 403 if the tenant's payments are in another table, 503 while the environment has no table, or while the tenant moves
    /// and a route or this registration may be older than the move.
    fn ledger_for(&self, tenant: &Tenant) -> Result<&OpenLedger, ApiError> {
        let open = self.0.open.get().ok_or_else(|| {
            let msg =
                "Unavailable: the environment has no payments table yet; try again after Retry-After seconds";
            ApiError::unavailable("table_missing", msg)
        })?;
        let environment = self.0.http.environment();
        if is_stored_in(&open.table, environment, tenant) {
            return Ok(open);
        }
        if tenant.status == Status::Moving || tenant.moved_from.as_ref() == Some(environment) {
            return Err(ApiError::moving());
        }
        let msg = "Forbidden: the tenant's payments are stored in another environment";
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "tenant_not_served",
            msg,
        ))
    }

    /// Returns the ledger as [`Self::ledger_for`] does, for a request that writes.
    ///
    /// # Errors
    /// Those of [`Self::ledger_for`], and 503 while the tenant's payments move.
    fn ledger_to_write(&self, tenant: &Tenant) -> Result<&OpenLedger, ApiError> {
        if tenant.status == Status::Moving {
            return Err(ApiError::moving());
        }
        self.ledger_for(tenant)
    }

    /// Reads the body of a request that writes, and returns it with the ledger. The ledger is chosen after a slow body,
    /// because the tenant's payments may have moved meanwhile.
    ///
    /// # Errors
    /// Those of the body and of [`Self::ledger_to_write`].
    async fn body_and_ledger(
        &self,
        admitted: &mut Admitted,
        body: Body,
    ) -> Result<(Bytes, &OpenLedger), ApiError> {
        let body = admitted
            .read_body(&self.0.http, body, MAX_BODY_BYTES)
            .await?;
        Ok((body, self.ledger_to_write(&admitted.registration)?))
    }

    /// Applies a change on its own task, and publishes its event once the change is committed.
    async fn change<F>(
        &self,
        context: &RequestContext,
        admitted: Admitted,
        publisher: Publisher,
        change: impl FnOnce() -> F,
    ) -> Result<Response, ApiError>
    where
        F: Future<Output = Result<ChangeOutcome, LedgerError>> + Send + 'static,
    {
        let (tasks, context, change) = (self.0.tasks.clone(), context.clone(), change());
        let span = tracing::Span::current();
        let work = async move {
            let outcome = change.await;
            drop(admitted);
            if let Ok(ChangeOutcome::Recorded(_, entry)) = &outcome {
                context.set_message_id(entry.id);
                let trace = traceparent(&tracing::Span::current());
                publisher.publish_in_background(entry.clone(), trace, &tasks);
            }
            outcome
        };
        // The panic hook has logged a panic already.
        let outcome = self
            .0
            .tasks
            .spawn(work.instrument(span))
            .await
            .map_err(|_| ApiError::internal())?;
        Ok(match outcome? {
            ChangeOutcome::Recorded(recorded, _) => response(StatusCode::CREATED, recorded),
            ChangeOutcome::Replayed(recorded) => {
                let mut response = response(StatusCode::OK, recorded);
                response
                    .headers_mut()
                    .insert(REPLAYED, header::HeaderValue::from_static("true"));
                response
            }
        })
    }
}

/// Returns whether the tenant's payments are in the table of this environment. The tenant's own parameter names its table.
/// Without the parameter, a pool stores the payments of every tenant except premium tenants, whose payments are in their
/// silo. The queue does not matter: advanced tenants have their own queue, but their payments are in the pool.
fn is_stored_in(table: &TableArn, environment: &Environment, tenant: &Tenant) -> bool {
    match (&tenant.table, environment) {
        (Some(theirs), _) => theirs == table,
        (None, Environment::Silo(_)) => true,
        (None, Environment::Pool(_)) => tenant.tier != Some(Tier::Premium),
    }
}

/// Record a charge
///
/// A repeat with the same `Idempotency-Key` and the same body receives the first response, for at least 30 days.
#[utoipa::path(
    post,
    path = "/payments/charges",
    params(TenantHeader, KeyHeader, TraceHeader),
    request_body = crate::openapi::NewCharge,
    responses(
        (status = 201, description = "The recorded charge", body = crate::charge::ChargeBody,
            headers(("Location" = String, description = "Path of the charge"))),
        (status = 200, description = "The first response to this request", body = crate::charge::ChargeBody,
            headers(("Location" = String, description = "Path of the charge"),
                ("Idempotent-Replayed" = String, description = "`true`"))),
        Errors,
        BodyErrors,
    )
)]
pub(crate) async fn charge(
    mut admitted: Admitted,
    State(payments): State<Payments>,
    key: IdempotencyKey,
    context: RequestContext,
    body: Body,
) -> Result<Response, ApiError> {
    payments.ledger_to_write(&admitted.registration)?;
    let (body, open) = payments.body_and_ledger(&mut admitted, body).await?;
    let new = new_charge(&body)?;
    let owner = admitted.registration.owner();
    let (ledger, request) = (open.ledger.clone(), KeyedRequest { owner, key });
    let change = || async move { ledger.charge(&request, new).await };
    payments
        .change(&context, admitted, open.publisher.clone(), change)
        .await
}

/// Refund a charge, or a part of it
///
/// The sum of a charge's refunds never exceeds the charge.
#[utoipa::path(
    post,
    path = "/payments/charges/{id}/refunds",
    params(TenantHeader, KeyHeader, TraceHeader, ("id" = Uuid, Path, description = "Id of the charge")),
    request_body = crate::openapi::NewRefund,
    responses(
        (status = 201, description = "The recorded refund", body = crate::charge::RefundBody,
            headers(("Location" = String, description = "Path of the charge"))),
        (status = 200, description = "The first response to this request", body = crate::charge::RefundBody,
            headers(("Location" = String, description = "Path of the charge"),
                ("Idempotent-Replayed" = String, description = "`true`"))),
        (status = 409, description = "The refund exceeds the rest of the charge", body = ErrorBody),
        Errors,
        BodyErrors,
    )
)]
pub(crate) async fn refund(
    mut admitted: Admitted,
    State(payments): State<Payments>,
    id: Result<Path<String>, PathRejection>,
    key: IdempotencyKey,
    context: RequestContext,
    body: Body,
) -> Result<Response, ApiError> {
    payments.ledger_to_write(&admitted.registration)?;
    let id = charge_id(id)?;
    let (body, open) = payments.body_and_ledger(&mut admitted, body).await?;
    let amount = new_refund(&body)?;
    let owner = admitted.registration.owner();
    let (ledger, request) = (open.ledger.clone(), KeyedRequest { owner, key });
    let change = || async move { ledger.refund(&request, id, amount).await };
    payments
        .change(&context, admitted, open.publisher.clone(), change)
        .await
}

/// Get one charge
#[utoipa::path(
    get,
    path = "/payments/charges/{id}",
    params(TenantHeader, ("id" = Uuid, Path, description = "Id of the charge")),
    responses((status = 200, description = "The charge", body = crate::charge::ChargeBody), Errors)
)]
pub(crate) async fn find(
    admitted: Admitted,
    State(payments): State<Payments>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let open = payments.ledger_for(&admitted.registration)?;
    let id = charge_id(id)?;
    let found = open.ledger.find(&admitted.registration.owner(), id).await?;
    found
        .map(|charge| Json(charge.body()).into_response())
        .ok_or_else(no_charge)
}

/// List the tenant's charges, newest first
#[utoipa::path(
    get,
    path = "/payments/charges",
    params(TenantHeader, page::PageQuery),
    responses((status = 200, description = "A page of charges", body = ChargeList), Errors)
)]
pub(crate) async fn list(
    admitted: Admitted,
    State(payments): State<Payments>,
    query: Result<Query<page::PageQuery>, QueryRejection>,
) -> Result<Json<ChargeList>, ApiError> {
    let open = payments.ledger_for(&admitted.registration)?;
    let owner = admitted.registration.owner();
    let query = page::query(query)?;
    let limit = page::limit(query.limit)?;
    let position = |text: &str| text.strip_prefix(CURSOR_PREFIX)?.parse().ok();
    let before = query
        .cursor
        .map(|text| cursor::parse(&owner, &text, position))
        .transpose()?;
    let (charges, has_more) = open.ledger.newest(&owner, limit, before).await?;
    let last = charges.last().filter(|_| has_more);
    Ok(Json(ChargeList {
        next_cursor: last
            .map(|last| cursor::to_text(&owner, &format!("{CURSOR_PREFIX}{}", last.id))),
        charges: charges
            .iter()
            .map(|charge| to_raw_value(&charge.body()).expect("strings and numbers serialize"))
            .collect(),
    }))
}

/// Parses the id in a path. Another text is the id of no charge.
fn charge_id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, ApiError> {
    let text = path.ok().map(|Path(text)| text);
    // Only the canonical form of a UUID is an id.
    text.and_then(|text| {
        Uuid::parse_str(&text)
            .ok()
            .filter(|id| id.to_string() == text)
    })
    .ok_or_else(no_charge)
}

fn no_charge() -> ApiError {
    let msg = "NotFound: the tenant has no charge with this id";
    ApiError::new(StatusCode::NOT_FOUND, "charge_unknown", msg)
}

fn response(status: StatusCode, recorded: RecordedResponse) -> Response {
    let location = format!("/payments/charges/{}", recorded.charge);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LOCATION, location),
    ];
    (status, headers, recorded.body).into_response()
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "UnprocessableEntity: this Idempotency-Key was used for another request; send a new key for a new request",
            ),
            LedgerError::NoCharge => no_charge(),
            LedgerError::RefundExceedsCharge(left) => Self::new(
                StatusCode::CONFLICT,
                "refund_exceeds_charge",
                format!(
                    "Conflict: amount is more than is left of the charge: {left} minor units can be refunded"
                ),
            ),
            LedgerError::Unavailable => Self::unavailable(
                "table_unavailable",
                "Unavailable: the ledger did not confirm the request; repeat it with the same Idempotency-Key after \
                 Retry-After seconds",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use tenantry_tenancy::generation::Generation;

    use super::*;

    fn tenant(tier: Option<Tier>, table: Option<&str>) -> Tenant {
        Tenant {
            id: "tenant-3".parse().expect("valid"),
            tier,
            // The queue of the tenant's own consumer, which does not matter for payments.
            queue: Some(
                "arn:aws:sqs:us-east-1:000000000000:consumer-tenant-3-x11"
                    .parse()
                    .expect("valid"),
            ),
            table: table.map(arn),
            status: Status::Active,
            generation: Generation::FIRST,
            moved_from: None,
        }
    }

    fn arn(name: &str) -> TableArn {
        format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}")
            .parse()
            .expect("valid")
    }

    #[test]
    fn a_pool_stores_payments_of_basic_and_advanced_tenants_only() {
        let (ours, pool) = (arn("payments-pool-1-x7k"), "pool-1".parse().expect("valid"));
        let silo = "tenant-3".parse().expect("valid");
        for (tier, table, environment, expected) in [
            (Some(Tier::Basic), None, &pool, true),
            (Some(Tier::Advanced), None, &pool, true),
            (None, None, &pool, true),
            (Some(Tier::Premium), None, &pool, false),
            (Some(Tier::Premium), None, &silo, true),
            (
                Some(Tier::Advanced),
                Some("payments-pool-1-x7k"),
                &pool,
                true,
            ),
            (Some(Tier::Basic), Some("payments-pool-2-abc"), &pool, false),
            (
                Some(Tier::Premium),
                Some("payments-tenant-3-abc"),
                &pool,
                false,
            ),
        ] {
            assert_eq!(
                is_stored_in(&ours, environment, &tenant(tier, table)),
                expected,
                "{tier:?} {table:?}"
            );
        }
    }
}
