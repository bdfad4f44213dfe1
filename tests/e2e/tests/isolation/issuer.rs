//! An issuer of tokens as a server: it publishes its keys, changes them, and fails on request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The audience of every token.
pub(crate) const AUDIENCE: &str = "tenantry";

/// A key that tokens are signed with.
pub(crate) struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

/// An issuer that listens until it is dropped.
pub(crate) struct Issuer {
    address: SocketAddr,
    published: Arc<Mutex<Published>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    pems: Vec<(String, String)>,
    is_down: bool,
    reads: usize,
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
        }
    }

    /// The same key under another id.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_as(&self.id, claims)
    }

    /// A token that names this key id, whichever key signed it.
    pub(crate) fn token_as(&self, id: &str, claims: &Value) -> String {
        self.sign(
            &json!({"alg": "ES256", "kid": id, "typ": "JWT"}),
            claims,
            &URL_SAFE_NO_PAD,
        )
    }

    /// The value of `x-amzn-oidc-data` as a load balancer writes it: every part padded.
    pub(crate) fn load_balancers(&self, header: &Value, claims: &Value) -> String {
        self.sign(header, claims, &URL_SAFE)
    }

    fn sign(&self, header: &Value, claims: &Value, base64: &GeneralPurpose) -> String {
        let message = format!(
            "{}.{}",
            base64.encode(header.to_string()),
            base64.encode(claims.to_string())
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("signs");
        format!("{message}.{}", base64.encode(signature.as_ref()))
    }

    /// The public key as bytes.
    pub(crate) fn pem(&self) -> String {
        let body = STANDARD.encode(self.pair.public_key().as_der().expect("DER").as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// A key set with only this key.
    pub(crate) fn set(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": text(x), "y": text(y)})
    }
}

impl Issuer {
    /// Starts an issuer that publishes these keys.
    pub(crate) async fn publishing(keys: &[&Key]) -> Self {
        let published = Arc::<Mutex<Published>>::default();
        let routes = Router::new()
            .route("/jwks.json", get(set))
            .route("/keys/{id}", get(one))
            .with_state(Arc::clone(&published));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let server = tokio::spawn(async move {
            axum::serve(listener, routes)
                .await
                .expect("it serves until dropped");
        });
        let issuer = Self {
            address,
            published,
            server,
        };
        issuer.publish(keys);
        issuer
    }

    /// Publishes these keys and no others.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        let mut published = self.published();
        published.keys = keys.iter().map(|key| key.jwk()).collect();
        published.pems = keys.iter().map(|key| (key.id.clone(), key.pem())).collect();
    }

    /// Makes every answer a 503, or ends that.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.published().is_down = is_down;
    }

    /// Number of requests for keys, those that failed included.
    pub(crate) fn reads(&self) -> usize {
        self.published().reads
    }

    pub(crate) fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables of a service that accepts its tokens.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AUTH", "jwt".to_owned()),
            ("AUTH_ISSUER", self.name()),
            ("AUTH_AUDIENCE", AUDIENCE.to_owned()),
            ("AUTH_JWKS", format!("{}/jwks.json", self.name())),
        ]
    }

    /// Claims of a token for a tenant, valid for ten minutes; `changes` replace claims, null removes one.
    pub(crate) fn claims(&self, tenant: &str, changes: &Value) -> Value {
        let mut claims = json!({
            "iss": self.name(), "aud": AUDIENCE, "sub": "somebody", "tenant_id": tenant, "exp": now() + 600,
        });
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .expect("an object")
            .retain(|_, value| !value.is_null());
        claims
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        lock(&self.published)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

type Shared = State<Arc<Mutex<Published>>>;

async fn set(State(published): Shared) -> Result<String, StatusCode> {
    let mut published = lock(&published);
    published.reads += 1;
    if published.is_down {
        Err(StatusCode::SERVICE_UNAVAILABLE)
    } else {
        Ok(json!({"keys": published.keys}).to_string())
    }
}

async fn one(State(published): Shared, Path(id): Path<String>) -> Result<String, StatusCode> {
    let mut published = lock(&published);
    published.reads += 1;
    if published.is_down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let found = published.pems.iter().find(|(known, _)| *known == id);
    // As S3 answers for a missing object.
    found
        .map(|(_, pem)| pem.clone())
        .ok_or(StatusCode::FORBIDDEN)
}

fn lock(published: &Mutex<Published>) -> MutexGuard<'_, Published> {
    published.lock().unwrap_or_else(PoisonError::into_inner)
}
