//! Fuzz targets: parsing of headers and cursors.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bolero::check;

use crate::cursor;
use crate::error::ApiError;
use crate::idempotency::key_in;
use crate::stack::tenant_in;
use tenantry_process::request_id::request_id;
use tenantry_process::telemetry::continue_trace;
use tenantry_tenancy::generation::Owner;
use tenantry_tenancy::tenant::TenantId;

/// Generated inputs of each target per test run, beside the kept ones.
const GENERATED: usize = 20_000;

/// Parses headers, one per line. Lines that are no header are skipped: the server refuses them earlier.
fn headers(input: &[u8]) -> HeaderMap {
    let line = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((
            name,
            HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?,
        ))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in input.split(|byte| *byte == b'\n').filter_map(line).take(64) {
        headers.append(name, value);
    }
    headers
}

fn assert_is_refusal(error: &ApiError) {
    assert_eq!(error.status(), 400, "{error:?}");
}

#[test]
fn any_headers_are_parsed_or_a_400() {
    check!(name = "headers")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let headers = headers(input);
            match tenant_in(&headers) {
                Ok(tenant) => assert_eq!(tenant.is_some(), headers.contains_key("tenantid")),
                Err(error) => assert_is_refusal(&error),
            }
            match key_in(&headers) {
                Ok(key) => assert!(
                    key.iter()
                        .all(|key| (1..=128).contains(&key.as_str().len()))
                ),
                Err(error) => assert_is_refusal(&error),
            }
            let id = request_id(&headers);
            assert!(
                (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic),
                "{id:?}"
            );
            let traceparent = headers
                .get("traceparent")
                .and_then(|value| value.to_str().ok());
            continue_trace(&tracing::Span::none(), traceparent);
        });
}

#[test]
fn a_cursor_is_valid_for_its_own_tenant_only() {
    let tenants =
        ["tenant-1", "tenant-2", "t"].map(|id| Owner::from(id.parse::<TenantId>().expect("valid")));
    check!(name = "cursor")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            let read = |tenant| cursor::parse(tenant, &text, |position| Some(position.to_owned()));
            let found: Vec<_> = tenants
                .iter()
                .filter_map(|tenant| Some((tenant, read(tenant).ok()?)))
                .collect();
            assert!(found.len() <= 1, "at most one tenant: {found:?}");
            let Some((tenant, position)) = found.first() else {
                return assert_is_refusal(&read(&tenants[0]).expect_err("no tenant's cursor"));
            };
            assert_eq!(
                cursor::to_text(tenant, position),
                text,
                "one text for each position"
            );
        });
}
