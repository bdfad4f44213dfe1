//! Fuzz target: which bytes are taken for one whole request.

use std::convert::Infallible;
use std::sync::Mutex;

use axum::http::Request;
use bolero::check;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::fuzz_targets::GENERATED;
use crate::http::server::http1;

/// Turns that hyper gets to read all there is to read.
const TURNS: usize = 16;

/// What hyper makes of these bytes: whole requests, and what it answers.
async fn heard_and_said(bytes: &[u8]) -> (Vec<Request<Bytes>>, Vec<u8>) {
    let seen = Mutex::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        // One that never ends is no request yet.
        if let Ok(body) = body.collect().await {
            seen.lock()
                .expect("no panic")
                .push(Request::from_parts(head, body.to_bytes()));
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.expect("room for any input");
    let mut connection = Box::pin(http1().serve_connection(TokioIo::new(server), service));
    for _ in 0..TURNS {
        if connection.as_mut().now_or_never().is_some() {
            break;
        }
    }
    drop(connection);
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.expect("in memory");
    (seen.into_inner().expect("no panic"), said)
}

#[test]
fn what_is_taken_for_one_whole_request_is_that_request_to_hyper_too() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    check!(name = "wire")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let Some((method, uri, headers)) = whole(input, &mut fields).as_ref().and_then(head)
            else {
                return;
            };
            let (heard, said) = runtime.block_on(heard_and_said(input));
            // Never two, never another one, never one that goes on; none where hyper finds something wrong with it.
            let [request] = &*heard else {
                return assert!(
                    heard.is_empty() && said.starts_with(b"HTTP/1.1 4"),
                    "{heard:?}"
                );
            };
            assert_eq!((request.method(), request.uri()), (&method, &uri));
            for name in OF_INTEREST {
                assert!(
                    request
                        .headers()
                        .get_all(&name)
                        .iter()
                        .eq(headers.get_all(&name)),
                    "{name}: {request:?}"
                );
            }
            assert!(input.ends_with(request.body()), "{request:?}");
        });
}
