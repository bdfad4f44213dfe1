//! The routes: parse the request, call the control plane, answer.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tenantry_service::error::{ApiError, ErrorBody};
use tenantry_service::idempotency::IdempotencyKey;
use tenantry_service::openapi::OptionalKeyHeader;
use tenantry_tenancy::tenant::{TenantId, Tier};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::body::{self, field};
use super::parameters::{CallbackHeader, ChangeErrors, Errors, Parameters, Segment, callback_in};
use crate::access::{Actor, Verb};
use crate::control::{ControlPlane, Submission, no_tenant};
use crate::model::{
    ActivityPage, Change, DeploymentView, Health, Operation, PeekedMessage, PoolView, Preview,
    QueueView, TenantPage, TenantQuery, TenantState, TenantView,
};

/// Previews or submits a change.
async fn answer(
    control: &ControlPlane,
    actor: &Actor,
    change: Change,
    (parameters, headers, key): (&Parameters, &HeaderMap, Option<IdempotencyKey>),
) -> Result<Response, ApiError> {
    let callback = callback_in(headers)?;
    if let Some(url) = &callback {
        control.check_callback(url)?;
    }
    if parameters.is("preview")? {
        return Ok(Json(control.preview(actor, &change).await?).into_response());
    }
    let submission = Submission {
        key: key.map(|key| key.as_str().to_owned()),
        callback,
    };
    Ok(accepted(&control.submit(actor, change, submission).await?))
}

/// 202 with the operation's address; 200 for an operation that needed no commit.
fn accepted(operation: &Operation) -> Response {
    let status = if operation.commit.is_some() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let location = format!("/operations/{}", operation.id);
    (status, [(header::LOCATION, location)], Json(operation)).into_response()
}

/// Tenants by id
#[utoipa::path(
    get,
    path = "/tenants",
    params(
        ("tier" = Option<String>, Query, description = "Only this tier", pattern = "^(basic|advanced|premium)$"),
        ("state" = Option<TenantState>, Query, description = "Only tenants in this state"),
        ("q" = Option<String>, Query, description = "Only tenants whose id contains this text"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Tenants of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = TenantPage), Errors)
)]
pub(super) async fn tenants(
    actor: Actor,
    State(control): State<ControlPlane>,
    parameters: Parameters,
) -> Result<Json<TenantPage>, ApiError> {
    actor.check(Verb::Read)?;
    let tier = parameters
        .text("tier")
        .map(|tier| field::<Tier>("tier", &tier))
        .transpose()?;
    let state = parameters
        .text("state")
        .map(|state| state_of(&state))
        .transpose()?;
    let after = parameters.text("cursor");
    if after
        .as_ref()
        .is_some_and(|after| after.parse::<TenantId>().is_err())
    {
        let msg = "BadRequest: the cursor is not valid; start again without a cursor";
        return Err(ApiError::bad_request("invalid_cursor", msg));
    }
    let query = TenantQuery {
        tier,
        state,
        id_contains: parameters.text("q"),
        after,
        limit: parameters.limit()?,
    };
    Ok(Json(control.tenants(&query)))
}

fn state_of(text: &str) -> Result<TenantState, ApiError> {
    serde_json::from_value(text.into()).map_err(|_| {
        let msg = "BadRequest: state is one of committed, applied, serving, suspended, blocked, offboarded";
        ApiError::bad_request("invalid_field", msg)
    })
}

/// Onboard a tenant
#[utoipa::path(
    post,
    path = "/tenants",
    params(
        OptionalKeyHeader, CallbackHeader, PreviewParameter,
    ),
    request_body = body::OnboardBody,
    responses(ChangeAnswers, Errors, ChangeErrors)
)]
pub(super) async fn onboard(
    actor: Actor,
    State(control): State<ControlPlane>,
    parameters: Parameters,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    actor.check(Verb::Onboard)?;
    let change = body::parse_onboarding(&body::read(&headers, body).await?)?;
    answer(&control, &actor, change, (&parameters, &headers, key)).await
}

/// One tenant
#[utoipa::path(
    get,
    path = "/tenants/{id}",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant", body = TenantView), Errors)
)]
pub(super) async fn tenant(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Json<TenantView>, ApiError> {
    actor.check(Verb::Read)?;
    control
        .tenant(&id.0)
        .map(Json)
        .ok_or_else(|| no_tenant(&id.0))
}

/// Move, deploy to, suspend, resume, hold or unhold a tenant
#[utoipa::path(
    patch,
    path = "/tenants/{id}",
    params(
        ("id" = String, Path, description = "The tenant's id"),
        OptionalKeyHeader, CallbackHeader, PreviewParameter,
    ),
    request_body = body::PatchBody,
    responses(ChangeAnswers, Errors, ChangeErrors)
)]
pub(super) async fn change(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
    parameters: Parameters,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    actor.check(Verb::Hold)?;
    let bytes = body::read(&headers, body).await?;
    let change = body::parse_patch(id.tenant()?, &bytes)?;
    answer(&control, &actor, change, (&parameters, &headers, key)).await
}

/// Offboard a tenant; its data stays until `delete_data`
///
/// With `forget`, the record of a tenant whose data may be deleted is deleted, too: its data is deleted, its id is free.
#[utoipa::path(
    delete,
    path = "/tenants/{id}",
    params(
        ("id" = String, Path, description = "The tenant's id"),
        ("delete_data" = Option<bool>, Query, description = "Lift the protection of the tenant's data"),
        ("forget" = Option<bool>, Query, description = "Free the id of an offboarded tenant"),
        OptionalKeyHeader, CallbackHeader, PreviewParameter,
    ),
    responses(ChangeAnswers, Errors, ChangeErrors)
)]
pub(super) async fn offboard(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
    parameters: Parameters,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    actor.check(Verb::Offboard)?;
    let delete_data = parameters.is("delete_data")?;
    let forget = parameters.is("forget")?;
    let tenant = id.tenant()?;
    let change = if forget {
        Change::Forget { tenant }
    } else {
        Change::Offboard {
            tenant,
            delete_data,
        }
    };
    answer(&control, &actor, change, (&parameters, &headers, key)).await
}

/// An operation, or the preview of its commit
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes; one of the two is sent")]
pub(super) enum OperationOrPreview {
    Operation(Box<Operation>),
    Preview(Preview),
}

/// Answers to a change
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes; `accepted` answers")]
enum ChangeAnswers {
    /// Committed
    #[response(status = 202, headers(("Location" = String, description = "The operation")))]
    Committed(Box<Operation>),
    /// With `preview` the commit; else the tenant is as asked for already
    #[response(status = 200)]
    Unchanged(OperationOrPreview),
}

/// Whether a change is previewed
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes; `answer` reads")]
struct PreviewParameter {
    /// Answer with the commit, and make none
    preview: Option<bool>,
}

/// The queue of a tenant or a pool
#[utoipa::path(
    get,
    path = "/tenants/{id}/queue",
    params(("id" = String, Path, description = "The tenant's id, or a pool's name")),
    responses((status = 200, description = "Its figures", body = QueueView), Errors)
)]
pub(super) async fn queue(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Json<QueueView>, ApiError> {
    actor.check(Verb::Read)?;
    control.queue(&id.0).await.map(Json)
}

/// Messages of a queue, without receiving them
#[derive(Serialize, ToSchema)]
pub(super) struct Messages {
    messages: Vec<PeekedMessage>,
}

/// Messages in the queue of a tenant or a pool, without receiving them
///
/// Amazon SQS cannot do that: there the answer is 501.
#[utoipa::path(
    get,
    path = "/tenants/{id}/queue/messages",
    params(
        ("id" = String, Path, description = "The tenant's id, or a pool's name"),
        ("dead" = Option<bool>, Query, description = "Those of the dead-letter queue"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Messages; at most 100"),
    ),
    responses(
        (status = 200, description = "The oldest messages", body = Messages),
        (status = 501, description = "The queue's endpoint cannot do that", body = ErrorBody<'static>),
        Errors,
    )
)]
pub(super) async fn messages(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
    parameters: Parameters,
) -> Result<Json<Messages>, ApiError> {
    let (dead, limit) = (parameters.is("dead")?, parameters.limit()?);
    let messages = control.peek(&actor, &id.0, dead, limit).await?;
    Ok(Json(Messages { messages }))
}

/// Move the dead-letter queue's messages back to the queue
#[utoipa::path(
    post,
    path = "/tenants/{id}/queue/redrive",
    params(("id" = String, Path, description = "The tenant's id, or a pool's name")),
    responses((status = 202, description = "Started", body = QueueView), Errors, ChangeErrors)
)]
pub(super) async fn redrive(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Response, ApiError> {
    control.redrive(&actor, &id.0).await?;
    Ok((StatusCode::ACCEPTED, Json(control.queue(&id.0).await?)).into_response())
}

/// The pools
#[derive(Serialize, ToSchema)]
pub(super) struct Pools {
    pools: Vec<PoolView>,
}

/// The pools that tenants share
#[utoipa::path(get, path = "/pools", responses((status = 200, description = "All pools", body = Pools), Errors))]
pub(super) async fn pools(
    actor: Actor,
    State(control): State<ControlPlane>,
) -> Result<Json<Pools>, ApiError> {
    actor.check(Verb::Read)?;
    let pools = control.pools();
    Ok(Json(Pools { pools }))
}

/// Deployments, newest first
#[derive(Serialize, ToSchema)]
#[schema(as = Deployments)]
pub(super) struct DeploymentList {
    deployments: Vec<DeploymentView>,
}

/// The last 50 deployments, newest first
#[utoipa::path(
    get,
    path = "/deployments",
    responses((status = 200, description = "Deployments", body = DeploymentList), Errors)
)]
pub(super) async fn deployments(
    actor: Actor,
    State(control): State<ControlPlane>,
) -> Result<Json<DeploymentList>, ApiError> {
    actor.check(Verb::Read)?;
    let deployments = control.deployments();
    Ok(Json(DeploymentList { deployments }))
}

/// Deploy a release wave by wave
///
/// Each wave is watched for the bake time. A wave above a limit of the gate is held: `continue` and `revert` decide.
#[utoipa::path(
    post,
    path = "/deployments",
    params(OptionalKeyHeader),
    request_body = body::DeploymentBody,
    responses(
        (status = 202, description = "Started", body = DeploymentView, headers(("Location" = String, description = "The deployment"))),
        Errors, ChangeErrors,
    )
)]
pub(super) async fn deploy(
    actor: Actor,
    State(control): State<ControlPlane>,
    key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    actor.check(Verb::Deploy)?;
    let plan = body::parse_deployment(&body::read(&headers, body).await?)?;
    let key = key.as_ref().map(IdempotencyKey::as_str);
    let view = control.deploy(&actor, plan, key).await?;
    let location = [(header::LOCATION, format!("/deployments/{}", view.id))];
    Ok((StatusCode::ACCEPTED, location, Json(view)).into_response())
}

/// One deployment
#[utoipa::path(
    get,
    path = "/deployments/{id}",
    params(("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, description = "The deployment", body = DeploymentView), Errors)
)]
pub(super) async fn deployment(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Json<DeploymentView>, ApiError> {
    actor.check(Verb::Read)?;
    control
        .deployment(&id.0)
        .map(Json)
        .ok_or_else(|| crate::rollout::unknown(&id.0))
}

/// Begin the next wave of a held deployment
#[utoipa::path(
    post,
    path = "/deployments/{id}/continue",
    params(("id" = String, Path, description = "The deployment's id")),
    responses((status = 202, description = "The deployment continues", body = DeploymentView), Errors, ChangeErrors)
)]
pub(super) async fn continue_deployment(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Response, ApiError> {
    let view = control.continue_deployment(&actor, &id.0).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Give the tenants of all waves their former releases, by one commit
#[utoipa::path(
    post,
    path = "/deployments/{id}/revert",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 202, description = "Committed", body = Operation, headers(("Location" = String, description = "The operation"))),
        (status = 200, description = "Every tenant has its former release already", body = Operation),
        Errors, ChangeErrors,
    )
)]
pub(super) async fn revert_deployment(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Response, ApiError> {
    Ok(accepted(&control.revert_deployment(&actor, &id.0).await?))
}

/// Operations, newest first
#[derive(Serialize, ToSchema)]
#[schema(as = Operations)]
pub(super) struct OperationList {
    operations: Vec<Operation>,
}

/// The last operations, newest first
#[utoipa::path(
    get,
    path = "/operations",
    params(
        ("tenant" = Option<String>, Query, description = "Only those that change this tenant or pool"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Operations; 100 by default"),
    ),
    responses((status = 200, description = "Operations", body = OperationList), Errors)
)]
pub(super) async fn operations(
    actor: Actor,
    State(control): State<ControlPlane>,
    parameters: Parameters,
) -> Result<Json<OperationList>, ApiError> {
    actor.check(Verb::Read)?;
    let operations = control.operations(parameters.text("tenant").as_deref(), parameters.limit()?);
    Ok(Json(OperationList { operations }))
}

/// One operation, however old
#[utoipa::path(
    get,
    path = "/operations/{id}",
    params(("id" = String, Path, description = "The operation's id")),
    responses((status = 200, description = "The operation", body = Operation), Errors)
)]
pub(super) async fn operation(
    actor: Actor,
    State(control): State<ControlPlane>,
    id: Segment,
) -> Result<Json<Operation>, ApiError> {
    actor.check(Verb::Read)?;
    control.operation(&id.0).await.map(Json)
}

/// Who did what: commits, newest first
#[utoipa::path(
    get,
    path = "/activity",
    params(
        ("tenant" = Option<String>, Query, description = "Only commits that change this tenant or pool"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Commits of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = ActivityPage), Errors)
)]
pub(super) async fn activity(
    actor: Actor,
    State(control): State<ControlPlane>,
    parameters: Parameters,
) -> Result<Json<ActivityPage>, ApiError> {
    actor.check(Verb::Read)?;
    let (tenant, after) = (parameters.text("tenant"), parameters.text("cursor"));
    let page = control
        .activity(tenant.as_deref(), parameters.limit()?, after.as_deref())
        .await?;
    Ok(Json(page))
}

/// The control plane's own health
#[utoipa::path(get, path = "/health", responses((status = 200, description = "Each part", body = Health), Errors))]
pub(super) async fn health(
    actor: Actor,
    State(control): State<ControlPlane>,
) -> Result<Json<Health>, ApiError> {
    actor.check(Verb::Read)?;
    Ok(Json(control.health()))
}
