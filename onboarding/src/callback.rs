//! Events to other systems: a signed call of the client's URL, or a message on the queue that a lifecycle message names.
//!
//! A URL is called only by https, or on this machine, without redirects, and never at a private address unless the operator
//! allows it: otherwise a client could reach what the control plane can reach. The signature covers the time and the body. An
//! event is delivered at least once, or dropped after the last try; `GET /operations/{id}` has the operation's state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use reqwest::Url;
use tenantry_process::retry::{backoff_from_half, with_causes};
use tenantry_service::error::ApiError;
use tokio::sync::mpsc;

use crate::control::{ControlPlane, now};
use crate::model::Operation;
use crate::operations::Tracked;

/// Header of the signature: `t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>" in hexadecimal>`.
pub const SIGNATURE: &str = "tenantry-signature";
/// Longest URL.
pub const MAX_URL_CHARS: usize = 500;
/// Deliveries that wait.
const MAX_WAITING: usize = 1_000;
/// Deliveries at a time.
const MAX_RUNNING: usize = 32;
const TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 5;
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Age of an operation whose events are no longer delivered: a restart derives old operations anew.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The deliveries. Clones share the queue.
#[derive(Clone)]
pub struct Callbacks(Arc<Inner>);

struct Inner {
    key: Option<hmac::Key>,
    /// Whether private addresses may be called.
    private: bool,
    waiting: mpsc::Sender<Delivery>,
    taken: Mutex<Option<mpsc::Receiver<Delivery>>>,
}

struct Delivery {
    operation: Operation,
    callback: Option<String>,
    reply_to: Option<String>,
}

impl Callbacks {
    /// Without a secret no URL is called.
    pub fn new(secret: Option<&[u8]>, private: bool) -> Self {
        let (waiting, taken) = mpsc::channel(MAX_WAITING);
        Self(Arc::new(Inner {
            key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)),
            private,
            waiting,
            taken: Mutex::new(Some(taken)),
        }))
    }

    /// # Errors
    /// 400 for a URL that is never called.
    pub(crate) fn check_url(&self, text: &str) -> Result<(), ApiError> {
        let refused = |why: &str| {
            let msg = format!("BadRequest: callback URL: {why}");
            ApiError::bad_request("invalid_callback", msg)
        };
        if self.0.key.is_none() {
            return Err(refused(
                "this control plane has no secret to sign with; set CALLBACK_SECRET_FILE, or poll the operation",
            ));
        }
        url_of(text, self.0.private).map(drop).map_err(refused)
    }

    /// Queues the events of an operation that asked for them.
    pub(crate) fn enqueue(&self, tracked: &Tracked) {
        if tracked.callback.is_none() && tracked.reply_to.is_none() {
            return;
        }
        let committed = tracked.operation.times.committed;
        if committed.is_none_or(|committed| now().since(committed) > MAX_AGE) {
            return;
        }
        let delivery = Delivery {
            operation: tracked.operation.clone(),
            callback: tracked.callback.clone(),
            reply_to: tracked.reply_to.clone(),
        };
        if self.0.waiting.try_send(delivery).is_err() {
            tracing::warn!(
                operation = tracked.operation.id,
                "event dropped: too many wait for delivery"
            );
        }
    }

    /// Delivers until it is dropped.
    pub(crate) async fn deliver(self, control: ControlPlane) {
        let taken = self.0.taken.lock().take();
        let Some(mut taken) = taken else {
            return std::future::pending().await;
        };
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(delivery) = taken.recv(), if running.len() < MAX_RUNNING => {
                    running.push(self.one(&control, delivery));
                }
                Some(()) = running.next() => {}
            }
        }
    }

    async fn one(&self, control: &ControlPlane, delivery: Delivery) {
        let Delivery {
            operation,
            callback,
            reply_to,
        } = delivery;
        let body = serde_json::to_string(&operation).unwrap_or_default();
        let mut attempt = 0;
        loop {
            let mut failure = None;
            if let Some(url) = &callback {
                failure = self.call(url, &body).await.err();
            }
            if failure.is_none()
                && let Some(queue) = &reply_to
            {
                failure = control.0.queues.send(queue, &body).await.err();
            }
            let Some(reason) = failure else { return };
            let tries = attempt + 1;
            if tries == TRIES {
                // `GET /operations/{id}` still has the state.
                tracing::error!(
                    operation = operation.id,
                    state = operation.state.as_str(),
                    reason,
                    tries,
                    "event dropped: every try failed"
                );
                return;
            }
            tracing::warn!(
                operation = operation.id,
                reason,
                tries,
                "event not delivered: will retry"
            );
            let pause = backoff_from_half(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
            tokio::time::sleep(pause).await;
            attempt = tries;
        }
    }

    async fn call(&self, text: &str, body: &str) -> Result<(), String> {
        let Some(key) = &self.0.key else {
            return Err("no secret to sign with".to_owned());
        };
        let url = url_of(text, self.0.private).map_err(str::to_owned)?;
        let addresses = addresses(&url, self.0.private).await?;
        let host = url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        // Connects to the checked addresses, also if the name resolves to others by now.
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs(&host, &addresses)
            .build()
            .map_err(|error| error.to_string())?;
        let signature = sign(key, now().millis() / 1000, body);
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .header(SIGNATURE, signature);
        let response = request.body(body.to_owned()).send().await;
        let status = response
            .map_err(|error| with_causes(&error.without_url()))?
            .status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the callback answered {status}"))
        }
    }
}

fn sign(key: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={seconds},v1={hex}")
}

/// Parses a URL that may be called.
fn url_of(text: &str, private: bool) -> Result<Url, &'static str> {
    if text.len() > MAX_URL_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has at most 500 visible ASCII characters");
    }
    let url: Url = text
        .parse()
        .map_err(|_| "it is no URL; give https://host/path")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it has no user, password or fragment; the signature authenticates the call");
    }
    let host = url
        .host_str()
        .ok_or("it has no host; give https://host/path")?;
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_loopback =
        host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Err("it is not https; only this machine is called by http"),
    }
    if !is_loopback && !private && address.is_some_and(|address| !is_public(address)) {
        return Err("its address is not public; name a public host, or set CALLBACK_PRIVATE=true");
    }
    if is_loopback && !private {
        return Err(
            "it is on this machine, which is called only in `local`; name a public host, or set CALLBACK_PRIVATE=true",
        );
    }
    Ok(url)
}

/// Resolves a URL's host, and checks each address.
async fn addresses(url: &Url, private: bool) -> Result<Vec<SocketAddr>, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| format!("the host is not found: {error}"))?
        .collect();
    match found
        .iter()
        .find(|address| !private && !is_public(address.ip()))
    {
        Some(_) => Err("the host has an address that is not public".to_owned()),
        None => Ok(found),
    }
}

/// Whether an address is on the public Internet: no private, loopback, link-local, shared, reserved or multicast one.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [one, two, three, _] = address.octets();
            let is_special = one == 0
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || (one == 100 && (64..128).contains(&two))
                || (one == 192 && two == 0 && (three == 0 || three == 2))
                || (one == 198 && matches!(two, 18 | 19))
                || (one == 198 && two == 51 && three == 100)
                || (one == 203 && two == 0 && three == 113)
                || one >= 224;
            !is_special
        }
        IpAddr::V6(address) => {
            let first = address.segments()[0];
            // Only 2000::/3 is allocated; in it, 6to4, Teredo and documentation are not public.
            (0x2000..0x4000).contains(&first)
                && first != 0x2002
                && !(first == 0x2001 && address.segments()[1] < 0x0200)
                && !(first == 0x2001 && address.segments()[1] == 0x0db8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_is_called_unless_private_addresses_are_allowed() {
        assert!(url_of("https://example.com/hook?a=1", false).is_ok());
        for text in [
            "http://example.com/",
            "ftp://example.com/",
            "https://user:pw@example.com/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://localhost/",
            "http://127.0.0.1:9/",
            "https://exa mple.com/",
            "hook",
        ] {
            assert!(url_of(text, false).is_err(), "{text}");
        }
        assert!(url_of("http://127.0.0.1:9/hook", true).is_ok());
        assert!(url_of("https://10.0.0.1/", true).is_ok());
        assert!(
            url_of("http://10.0.0.1/", true).is_err(),
            "only this machine by http"
        );
    }

    #[test]
    fn addresses_that_are_not_on_the_internet_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
            "2002:a00:1::",
            "64:ff9b::a00:1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
        for text in ["8.8.8.8", "2606:4700::1111"] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
    }

    #[test]
    fn the_signature_covers_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = sign(&key, 7, "{}");
        assert!(signature.starts_with("t=7,v1=") && signature.len() == "t=7,v1=".len() + 64);
        assert_ne!(signature, sign(&key, 8, "{}"));
        assert_ne!(signature, sign(&key, 7, "{ }"));
    }
}
