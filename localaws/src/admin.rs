//! The test API under `/_localaws/`: call counts, sessions, fault rules, the leading-keys rule, messages, health.

use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    app::App,
    protocol::{self, Reply},
    sts,
};

/// Handles one request; `path` is the part after `/_localaws/`.
pub(crate) fn handle(
    app: &App,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    let get = method == Method::GET;
    if let Some(queue) = path.strip_prefix("messages/").filter(|_| get) {
        return messages(app, queue);
    }
    match path {
        "health" if get => health(app),
        "calls" if get => json_reply(StatusCode::OK, &json!(app.calls.snapshot())),
        "calls" if method == Method::DELETE => {
            app.calls.reset();
            app.principals.reset();
            no_content()
        }
        "faults" if get => json_reply(StatusCode::OK, &json!(app.faults.report())),
        "faults" if method == Method::PUT => match app.faults.replace(body) {
            Ok(()) => json_reply(StatusCode::OK, &json!(app.faults.report())),
            Err(reason) => json_reply(StatusCode::BAD_REQUEST, &json!({"msg": reason})),
        },
        "faults" if method == Method::DELETE => {
            app.faults.clear();
            no_content()
        }
        "principals" if get => json_reply(StatusCode::OK, &json!(app.principals.report())),
        "leading-keys" if get => json_reply(StatusCode::OK, &json!(app.leading_keys.rule())),
        "leading-keys" if method == Method::PUT => match app.leading_keys.enforce(body) {
            Ok(()) => json_reply(StatusCode::OK, &json!(app.leading_keys.rule())),
            Err(reason) => json_reply(StatusCode::BAD_REQUEST, &json!({"msg": reason})),
        },
        "leading-keys" if method == Method::DELETE => {
            app.leading_keys.clear();
            no_content()
        }
        "session" if get => session(headers),
        "health" | "calls" | "faults" | "principals" | "leading-keys" | "session" => json_reply(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({"msg": format!("{path} has no {method}")}),
        ),
        _ => json_reply(
            StatusCode::NOT_FOUND,
            &json!({"msg": "unknown path; use health, calls, principals, faults, leading-keys, messages/QUEUE/LIMIT or session"}),
        ),
    }
}

/// The oldest messages of a queue, without receiving them: `QUEUE/LIMIT`.
fn messages(app: &App, path: &str) -> Reply {
    let (queue, limit) = path.split_once('/').unwrap_or((path, "10"));
    let shown = limit
        .parse()
        .ok()
        .and_then(|limit| app.sqs.peek(queue, limit));
    shown.map_or_else(
        || {
            let msg = "no such queue; use messages/QUEUE/LIMIT, with the queue's name and a number";
            json_reply(StatusCode::NOT_FOUND, &json!({ "msg": msg }))
        },
        |shown| json_reply(StatusCode::OK, &shown),
    )
}

fn health(app: &App) -> Reply {
    if app.store.is_healthy() {
        return json_reply(StatusCode::OK, &json!({"status": "ok"}));
    }
    json_reply(
        StatusCode::INTERNAL_SERVER_ERROR,
        &json!({"status": "a write to the data folder failed; see the log, then restart"}),
    )
}

/// Returns role, session name and tags of the request's session token.
fn session(headers: &HeaderMap) -> Reply {
    match sts::session(headers) {
        Ok(session) => json_reply(StatusCode::OK, &json!(session)),
        Err(error) => error.reply(protocol::SSM),
    }
}

fn json_reply(status: StatusCode, body: &Value) -> Reply {
    protocol::raw(status, "application/json", format!("{body}\n"))
}

fn no_content() -> Reply {
    protocol::raw(StatusCode::NO_CONTENT, "application/json", "")
}
