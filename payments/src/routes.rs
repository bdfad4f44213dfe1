//! The HTTP surface: parse, ask the ledger, answer.
//!
//! A change of the ledger runs on a task of its own: a client that goes away in the middle does not keep a charge that
//! was written from being told. The task is tracked, so a drain waits for it.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tenantry_process::arn::TableArn;
use tenantry_process::telemetry::traceparent;
use tenantry_registry::Tenant;
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

use crate::ledger::{Answer, Ledger, LedgerError, Outcome, Request};
use crate::outbox::publish::Publisher;
use crate::request::{MAX_BODY_BYTES, new_charge, new_refund};

/// Response header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What works on the environment's table, known once its parameter is.
pub(crate) struct Open {
    pub(crate) table: TableArn,
    pub(crate) ledger: Ledger,
    pub(crate) publisher: Publisher,
}

/// What the routes need. Clones share it.
#[derive(Clone)]
pub(crate) struct Payments(Arc<Inner>);

struct Inner {
    http: Http,
    open: Arc<OnceLock<Open>>,
    tasks: TaskTracker,
}

/// A page of charges, newest first
#[derive(Serialize, ToSchema)]
#[schema(as = Charges)]
pub(crate) struct Listed {
    #[schema(value_type = Vec<crate::charge::ChargeBody>)]
    charges: Vec<Box<RawValue>>,
    /// Where the next page starts; null on the last one
    next_cursor: Option<String>,
}

impl AsRef<Http> for Payments {
    fn as_ref(&self) -> &Http {
        &self.0.http
    }
}

impl Payments {
    pub(crate) fn new(http: Http, open: Arc<OnceLock<Open>>, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { http, open, tasks }))
    }

    /// What works on the table, for a tenant whose payments are kept in it.
    fn open_for(&self, tenant: &Tenant) -> Result<&Open, ApiError> {
        let open = self.0.open.get().ok_or_else(|| {
            let msg =
                "Unavailable: the environment has no payments table yet; try again after Retry-After seconds";
            ApiError::unavailable("table_missing", msg)
        })?;
        if is_kept_in(&open.table, self.0.http.environment(), tenant) {
            return Ok(open);
        }
        let msg = "Forbidden: the tenant's payments are kept in another environment";
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "tenant_not_served",
            msg,
        ))
    }

    /// Applies a change on a task of its own, and publishes its event once it is committed.
    async fn change<F>(
        &self,
        context: &RequestContext,
        admitted: Admitted,
        publisher: Publisher,
        change: impl FnOnce() -> F,
    ) -> Result<Response, ApiError>
    where
        F: Future<Output = Result<Outcome, LedgerError>> + Send + 'static,
    {
        let (tasks, context, change) = (self.0.tasks.clone(), context.clone(), change());
        let span = tracing::Span::current();
        let work = async move {
            let outcome = change.await;
            drop(admitted);
            if let Ok(Outcome::Recorded(_, entry)) = &outcome {
                context.set_message_id(entry.id);
                let trace = traceparent(&tracing::Span::current());
                publisher.publish_soon(entry.clone(), trace, &tasks);
            }
            outcome
        };
        // A panic was told by the panic hook already.
        let outcome = self
            .0
            .tasks
            .spawn(work.instrument(span))
            .await
            .map_err(|_| ApiError::internal())?;
        Ok(match outcome? {
            Outcome::Recorded(answer, _) => answered(StatusCode::CREATED, answer),
            Outcome::Replayed(answer) => {
                let mut response = answered(StatusCode::OK, answer);
                response
                    .headers_mut()
                    .insert(REPLAYED, header::HeaderValue::from_static("true"));
                response
            }
        })
    }
}

/// Whether the tenant's payments are kept in the table of this environment: its own parameter names the table; where it
/// has none, every tenant of a pool but those whose payments are in a silo. The consumer's queue has no part in it:
/// advanced tenants have a queue of their own, and their payments in the pool.
fn is_kept_in(table: &TableArn, environment: &Environment, tenant: &Tenant) -> bool {
    match (&tenant.table, environment) {
        (Some(theirs), _) => theirs == table,
        (None, Environment::Silo(_)) => true,
        (None, Environment::Pool(_)) => tenant.tier != Some(Tier::Premium),
    }
}

/// Record a charge
///
/// The same `Idempotency-Key` with the same body is answered as the first time, for at least 30 days.
#[utoipa::path(
    post,
    path = "/payments/charges",
    params(TenantHeader, KeyHeader, TraceHeader),
    request_body = crate::openapi::NewCharge,
    responses(
        (status = 201, body = crate::charge::ChargeBody, headers(("Location" = String, description = "The charge's path"))),
        (status = 200, description = "The answer of the first time", body = crate::charge::ChargeBody,
            headers(("Location" = String), ("Idempotent-Replayed" = String, description = "true"))),
        Errors,
        BodyErrors,
    )
)]
pub(crate) async fn charge(
    admitted: Admitted,
    State(payments): State<Payments>,
    key: IdempotencyKey,
    context: RequestContext,
    request: Body,
) -> Result<Response, ApiError> {
    let open = payments.open_for(&admitted.registration)?;
    let new = new_charge(
        &payments
            .0
            .http
            .bodies()
            .read(request, MAX_BODY_BYTES)
            .await?,
    )?;
    let tenant = admitted.tenant.clone();
    let (ledger, request) = (open.ledger.clone(), Request { tenant, key });
    let change = || async move { ledger.charge(&request, new).await };
    payments
        .change(&context, admitted, open.publisher.clone(), change)
        .await
}

/// Refund a charge, or a part of it
///
/// The sum of a charge's refunds never exceeds it.
#[utoipa::path(
    post,
    path = "/payments/charges/{id}/refunds",
    params(TenantHeader, KeyHeader, TraceHeader, ("id" = Uuid, Path, description = "The charge")),
    request_body = crate::openapi::NewRefund,
    responses(
        (status = 201, body = crate::charge::RefundBody, headers(("Location" = String, description = "The charge's path"))),
        (status = 200, description = "The answer of the first time", body = crate::charge::RefundBody,
            headers(("Location" = String), ("Idempotent-Replayed" = String, description = "true"))),
        (status = 409, description = "Less is left to refund", body = ErrorBody),
        Errors,
        BodyErrors,
    )
)]
pub(crate) async fn refund(
    admitted: Admitted,
    State(payments): State<Payments>,
    id: Result<Path<String>, PathRejection>,
    key: IdempotencyKey,
    context: RequestContext,
    request: Body,
) -> Result<Response, ApiError> {
    let open = payments.open_for(&admitted.registration)?;
    let id = charge_id(id)?;
    let amount = new_refund(
        &payments
            .0
            .http
            .bodies()
            .read(request, MAX_BODY_BYTES)
            .await?,
    )?;
    let tenant = admitted.tenant.clone();
    let (ledger, request) = (open.ledger.clone(), Request { tenant, key });
    let change = || async move { ledger.refund(&request, id, amount).await };
    payments
        .change(&context, admitted, open.publisher.clone(), change)
        .await
}

/// One charge
#[utoipa::path(
    get,
    path = "/payments/charges/{id}",
    params(TenantHeader, ("id" = Uuid, Path, description = "The charge")),
    responses((status = 200, body = crate::charge::ChargeBody), Errors)
)]
pub(crate) async fn find(
    admitted: Admitted,
    State(payments): State<Payments>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let open = payments.open_for(&admitted.registration)?;
    let id = charge_id(id)?;
    let found = open.ledger.find(&admitted.tenant, id).await?;
    found
        .map(|charge| Json(charge.body()).into_response())
        .ok_or_else(no_charge)
}

/// The tenant's charges, newest first
#[utoipa::path(
    get,
    path = "/payments/charges",
    params(TenantHeader, page::Asked),
    responses((status = 200, body = Listed), Errors)
)]
pub(crate) async fn list(
    admitted: Admitted,
    State(payments): State<Payments>,
    asked: Result<Query<page::Asked>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let open = payments.open_for(&admitted.registration)?;
    let asked = page::query(asked)?;
    let limit = page::limit(asked.limit)?;
    let position = |text: &str| text.strip_prefix(CURSOR_PREFIX)?.parse().ok();
    let before = asked
        .cursor
        .map(|text| cursor::parse(&admitted.tenant, &text, position))
        .transpose()?;
    let (charges, has_more) = open.ledger.newest(&admitted.tenant, limit, before).await?;
    let last = charges.last().filter(|_| has_more);
    Ok(Json(Listed {
        next_cursor: last
            .map(|last| cursor::to_text(&admitted.tenant, &format!("{CURSOR_PREFIX}{}", last.id))),
        charges: charges
            .iter()
            .map(|charge| to_raw_value(&charge.body()).expect("strings and numbers serialise"))
            .collect(),
    }))
}

/// What the positions of this listing begin with: no other listing's cursor is one.
const CURSOR_PREFIX: &str = "charges/";

/// The id in a path. What is no id is no charge's.
fn charge_id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, ApiError> {
    let text = path.ok().map(|Path(text)| text);
    // As it was given, not in another of the ways a UUID can be written.
    text.and_then(|text| {
        Uuid::parse_str(&text)
            .ok()
            .filter(|id| id.to_string() == text)
    })
    .ok_or_else(no_charge)
}

fn no_charge() -> ApiError {
    let msg = "NotFound: the tenant has no charge of this id";
    ApiError::new(StatusCode::NOT_FOUND, "charge_unknown", msg)
}

fn answered(status: StatusCode, answer: Answer) -> Response {
    let location = format!("/payments/charges/{}", answer.charge);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LOCATION, location),
    ];
    (status, headers, answer.body).into_response()
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "UnprocessableEntity: this Idempotency-Key was used for another request; take a new key for a new one",
            ),
            LedgerError::NoCharge => no_charge(),
            LedgerError::TooMuch(left) => Self::new(
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
    use tenantry_registry::Status;

    use super::*;

    fn tenant(tier: Option<Tier>, table: Option<&str>) -> Tenant {
        Tenant {
            id: "tenant-3".parse().expect("valid"),
            tier,
            // Of its own consumer: it says nothing of payments.
            queue: Some(
                "arn:aws:sqs:us-east-1:000000000000:consumer-tenant-3-x11"
                    .parse()
                    .expect("valid"),
            ),
            table: table.map(arn),
            status: Status::Active,
        }
    }

    fn arn(name: &str) -> TableArn {
        format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}")
            .parse()
            .expect("valid")
    }

    #[test]
    fn a_pool_keeps_basic_and_advanced_tenants_payments_and_no_others() {
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
                is_kept_in(&ours, environment, &tenant(tier, table)),
                expected,
                "{tier:?} {table:?}"
            );
        }
    }
}
