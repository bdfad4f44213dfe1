//! The requests that measurements send, and single requests that must succeed.

use std::net::SocketAddr;

use anyhow::bail;
use kit::http::{Answer, Request};

/// Most clients at once.
pub(crate) const MAX_CLIENTS: usize = 1024;
/// Clients of a full load.
pub(crate) const FULL_LOAD: usize = 256;

/// Returns a `POST` of a JSON body for the tenant.
pub(crate) fn post(path: &str, tenant: &str, body: &str) -> Request {
    let request = Request::new("POST", path).tenant(tenant);
    request
        .header("content-type", "application/json")
        .body(body)
}

/// Returns the body of the answer. An answer whose status is no success is an error.
pub(crate) fn body(answer: Answer) -> anyhow::Result<Vec<u8>> {
    match answer.status {
        200..300 => Ok(answer.body),
        status => bail!("{status}: {}", String::from_utf8_lossy(&answer.body)),
    }
}

/// Sends one request over a connection of its own and returns the body of its answer, which must have a status of success.
pub(crate) async fn ask(address: SocketAddr, request: &Request) -> anyhow::Result<Vec<u8>> {
    body(request.send(address).await?)
}

/// Sends a `GET` without a tenant and returns the body of the answer.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    ask(address, &Request::get(path)).await
}
