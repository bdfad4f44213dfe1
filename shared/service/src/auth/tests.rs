//! Tokens of issuers, load balancers and attackers; keys that appear, rotate and disappear.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::future::{BoxFuture, join_all};
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::key_cache::{FetchedKeys, REFETCH_INTERVAL};
use super::key_set::{InvalidKeys, Key, parse_pem, parse_set};
use super::*;

const NOW: f64 = 1_800_000_000.0;
const ALB: &str =
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/tenants/0123456789abcdef";

/// An issuer's key pair of any type.
enum Signer {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn every_type() -> [Self; 3] {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        [
            Self::es256(),
            Self::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            Self::Rs256(rsa),
        ]
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
            Self::Rs256(_) => "RS256",
        }
    }

    fn sign(&self, message: &str) -> Vec<u8> {
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        match self {
            Self::Es256(key) => key.sign(&random, message).expect("signs").as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("signs");
                signature
            }
        }
    }

    fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": text(x), "y": text(y)})
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": text(key.public_key().as_ref())})
            }
            Self::Rs256(key) => {
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "kid": id, "alg": "RS256", "n": text(&n), "e": text(&e)})
            }
        }
    }

    fn pem(&self) -> String {
        let Self::Es256(key) = self else {
            panic!("load balancers sign with ES256")
        };
        let der = key.public_key().as_der().expect("DER");
        let body = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(
            &json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"}),
            claims,
        )
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(&message));
        format!("{message}.{signature}")
    }

    fn keys(&self, id: &str) -> Vec<Key> {
        parse_set(json!({"keys": [self.jwk(id)]}).to_string().as_bytes()).expect("a set")
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://issuer.test", "aud": "tenantry", "tenant_id": "tenant-2",
        "exp": NOW + 60.0, "nbf": NOW - 60.0, "sub": "a-user",
    });
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims
                .as_object_mut()
                .expect("an object")
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn config(claim: &str) -> JwtConfig {
    JwtConfig {
        issuer: "https://issuer.test".to_owned(),
        audiences: vec!["other".to_owned(), "tenantry".to_owned()],
        claim: claim.to_owned(),
        source: TokenSource::Authorization(KeySetLocation::File("keys.json".into())),
        leeway: Duration::from_secs(30),
        refresh: Duration::from_secs(300),
    }
}

fn tenant() -> TenantId {
    "tenant-2".parse().expect("valid")
}

impl Authenticator {
    async fn check_headers(&self, headers: &HeaderMap, tenant: &TenantId) -> Result<(), Refusal> {
        self.check(headers, tenant, &RequestContext::default())
            .await
    }
}

/// Checks a token with a known key, without the cache.
fn check(config: &JwtConfig, key: &Key, text: &str) -> Result<(), Refusal> {
    let token = Token::parse(text)?;
    let verified = token.verify(key)?;
    claims::validate(config, &token.header, &verified, NOW)?;
    claims::validate_tenant(config, &verified, &tenant())
}

#[test]
fn a_token_of_the_tenant_is_accepted_for_every_type_of_key() {
    for signer in Signer::every_type() {
        let [key] = &signer.keys("k")[..] else {
            panic!("one key")
        };
        for good in [
            json!({}),
            json!({"aud": ["x", "tenantry"]}),
            json!({"nbf": null}),
            json!({"exp": NOW - 29.0}),
        ] {
            let text = signer.token("k", &claims(&good));
            assert_eq!(
                check(&config("tenant_id"), key, &text),
                Ok(()),
                "{} {good}",
                signer.algorithm()
            );
        }
    }
}

#[test]
fn a_refusal_names_the_rule_that_the_token_breaks() {
    let signer = Signer::es256();
    let [key] = &signer.keys("k")[..] else {
        panic!("one key")
    };
    for (wrong, expected) in [
        (json!({"exp": NOW - 30.0}), Refusal::Expired),
        (json!({"exp": null}), Refusal::Expired),
        (json!({"exp": "never"}), Refusal::Expired),
        (json!({"exp": {}}), Refusal::Expired),
        (json!({"nbf": NOW + 31.0}), Refusal::NotYet),
        (json!({"nbf": "soon"}), Refusal::NotYet),
        (json!({"iss": "https://other.test"}), Refusal::Issuer),
        (json!({"iss": ["https://issuer.test"]}), Refusal::Issuer),
        (json!({"iss": null}), Refusal::Issuer),
        (json!({"aud": "elsewhere"}), Refusal::Audience),
        (json!({"aud": []}), Refusal::Audience),
        (json!({"aud": null}), Refusal::Audience),
        (json!({"tenant_id": "tenant-4"}), Refusal::Tenant),
        (json!({"tenant_id": "Tenant-2"}), Refusal::Tenant),
        (json!({"tenant_id": ["tenant-2"]}), Refusal::Tenant),
        (json!({"tenant_id": null}), Refusal::Tenant),
    ] {
        let text = signer.token("k", &claims(&wrong));
        assert_eq!(
            check(&config("tenant_id"), key, &text),
            Err(expected),
            "{wrong}"
        );
    }
}

#[test]
fn the_tenant_claim_is_a_name_with_or_without_dots_or_a_path() {
    let signer = Signer::es256();
    let [key] = &signer.keys("k")[..] else {
        panic!("one key")
    };
    for (claim, changes) in [
        ("custom:tenant_id", json!({"custom:tenant_id": "tenant-2"})),
        (
            "https://example.com/tenant",
            json!({"https://example.com/tenant": "tenant-2"}),
        ),
        ("app.tenant", json!({"app": {"tenant": "tenant-2"}})),
        (
            "app.tenant",
            json!({"app.tenant": "tenant-2", "app": {"tenant": "tenant-4"}}),
        ),
    ] {
        let text = signer.token("k", &claims(&changes));
        assert_eq!(
            check(&config(claim), key, &text),
            Ok(()),
            "{claim} {changes}"
        );
    }
    let text = signer.token("k", &claims(&json!({"app": {"tenant": "tenant-2"}})));
    for claim in ["app", "app.", "app.tenant.x", ".tenant"] {
        assert_eq!(
            check(&config(claim), key, &text),
            Err(Refusal::Tenant),
            "{claim}"
        );
    }
}

#[test]
fn an_unsigned_token_a_shared_secret_and_another_type_of_key_are_refused() {
    let [es, ed, rsa] = Signer::every_type();
    let [key] = &es.keys("k")[..] else {
        panic!("one key")
    };
    let good = claims(&json!({}));
    for name in [
        "none", "None", "NONE", "HS256", "HS384", "HS512", "ES512", "RS1", "",
    ] {
        let message = unsigned(&json!({"alg": name, "kid": "k"}), &good);
        // The public key as a shared secret: the attack on libraries that trust the header's algorithm.
        let secret = jsonwebtoken::EncodingKey::from_secret(es.pem().as_bytes());
        let forged = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256)
            .expect("signs");
        for signature in ["", &forged] {
            let text = format!("{message}.{signature}");
            assert_eq!(
                check(&config("tenant_id"), key, &text),
                Err(Refusal::Algorithm),
                "{name:?}"
            );
        }
    }
    for other in [&ed, &rsa] {
        assert_eq!(
            check(&config("tenant_id"), key, &other.token("k", &good)),
            Err(Refusal::Algorithm)
        );
        // A key of another type, under the id and algorithm of the known key.
        let forged = other.token_with(&json!({"alg": "ES256", "kid": "k"}), &good);
        assert_eq!(
            check(&config("tenant_id"), key, &forged),
            Err(Refusal::Signature)
        );
    }
    let shared = json!({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}]});
    assert_eq!(
        parse_set(shared.to_string().as_bytes()).expect_err("no public key"),
        InvalidKeys::Empty
    );
}

#[test]
fn a_changed_token_and_a_token_of_another_issuer_are_refused() {
    let (ours, theirs) = (Signer::es256(), Signer::es256());
    let [key] = &ours.keys("k")[..] else {
        panic!("one key")
    };
    let text = ours.token("k", &claims(&json!({"tenant_id": "tenant-4"})));
    let (_, signature) = text.rsplit_once('.').expect("three parts");
    let changed = format!(
        "{}.{signature}",
        unsigned(&json!({"alg": "ES256", "kid": "k"}), &claims(&json!({})))
    );
    let stripped = format!("{}.", text.rsplit_once('.').expect("three parts").0);
    for wrong in [changed, theirs.token("k", &claims(&json!({}))), stripped] {
        assert_eq!(
            check(&config("tenant_id"), key, &wrong),
            Err(Refusal::Signature)
        );
    }
    for malformed in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        &format!("{text}.x"),
        &"x".repeat(token::MAX_TOKEN_BYTES + 1),
    ] {
        assert_eq!(
            check(&config("tenant_id"), key, malformed),
            Err(Refusal::Malformed),
            "{malformed:.20}"
        );
    }
    // An extension that a verifier must support, and this one does not.
    let critical = ours.token_with(
        &json!({"alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false}),
        &claims(&json!({})),
    );
    assert_eq!(
        check(&config("tenant_id"), key, &critical),
        Err(Refusal::Malformed)
    );
}

#[test]
fn keys_of_a_set_that_do_not_verify_signatures_are_skipped() {
    let [es, ed, rsa] = Signer::every_type();
    let mut encrypting = rsa.jwk("encrypting");
    encrypting["use"] = json!("enc");
    let mut unknown = es.jwk("unknown");
    unknown["crv"] = json!("P-521");
    let set = json!({"keys": [es.jwk("es"), {"kty": "new"}, encrypting, unknown, ed.jwk("ed"), 7, rsa.jwk("rsa")]});
    let ids: Vec<_> = parse_set(set.to_string().as_bytes())
        .expect("keys")
        .into_iter()
        .filter_map(|key| key.id)
        .collect();
    assert_eq!(ids, ["es", "ed", "rsa"]);
    assert_eq!(parse_set(b"<html>").expect_err("no set"), InvalidKeys::Set);
    assert_eq!(
        parse_set(br#"{"keys":[]}"#).expect_err("no key"),
        InvalidKeys::Empty
    );
}

fn from_load_balancer() -> JwtConfig {
    let keys = "https://keys.test".parse().expect("a URL");
    JwtConfig {
        source: TokenSource::LoadBalancer {
            signer: ALB.to_owned(),
            keys,
        },
        ..config("tenant_id")
    }
}

/// A token as load balancers sign it: every part is padded, and the signature covers the padding.
fn padded(signer: &Signer, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE.encode(signer.sign(&message));
    format!("{message}.{signature}")
}

#[test]
fn a_load_balancers_token_is_verified_with_its_padding() {
    let signer = Signer::es256();
    let key = parse_pem("k", signer.pem().as_bytes()).expect("a key");
    let header = json!({
        "alg": "ES256", "kid": "k", "signer": ALB, "iss": "https://issuer.test", "client": "tenantry", "exp": NOW + 60.0,
    });
    for pad in ["", "x", "xx"] {
        let text = padded(
            &signer,
            &header,
            &json!({"tenant_id": "tenant-2", "sub": pad}),
        );
        assert_eq!(check(&from_load_balancer(), &key, &text), Ok(()), "{text}");
    }
    for (name, wrong, expected) in [
        ("exp", json!(NOW - 31.0), Refusal::Expired),
        ("exp", Value::Null, Refusal::Expired),
        ("iss", json!("https://other.test"), Refusal::Issuer),
        ("client", json!("elsewhere"), Refusal::Audience),
    ] {
        let mut header = header.clone();
        header[name] = wrong;
        // The user's issuer and expiry in the payload do not replace the load balancer's own.
        let text = padded(&signer, &header, &claims(&json!({})));
        assert_eq!(
            check(&from_load_balancer(), &key, &text),
            Err(expected),
            "{name}"
        );
    }
    let expired = padded(
        &signer,
        &header,
        &json!({"tenant_id": "tenant-2", "exp": NOW - 31.0}),
    );
    assert_eq!(
        check(&from_load_balancer(), &key, &expired),
        Err(Refusal::Expired),
        "the earlier expiry counts"
    );
}

#[test]
fn a_document_that_is_no_public_key_on_p256_is_refused() {
    let certificate = Signer::es256().pem().replace("PUBLIC KEY", "CERTIFICATE");
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    let p384 = Signer::Es256(p384).pem();
    for wrong in [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "<html>",
        &certificate,
        &p384,
    ] {
        assert_eq!(
            parse_pem("k", wrong.as_bytes()).expect_err("no key"),
            InvalidKeys::Pem
        );
    }
}

#[test]
fn a_token_cannot_be_printed() {
    let signer = Signer::es256();
    let text = signer.token("k", &claims(&json!({})));
    assert_eq!(
        format!("{:?}", Token::parse(&text).expect("a token")),
        "Token"
    );
    let shown = format!("{:?}", signer.keys("k"));
    assert_eq!(shown, r#"[Key(Some("k"), [ES256])]"#);
}

proptest! {
    #[test]
    fn any_text_is_refused_and_never_a_panic(text in "[ -~]{0,200}", header in "[ -~]{0,60}", claims in "[ -~]{0,60}") {
        let made_up = format!("{}.{}.x", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
        prop_assert!(Token::parse(&text).is_err() && Token::parse(&made_up).is_err());
    }
}

/// An issuer's answer: its keys, or a failure.
type Answer = Result<Vec<Key>, ()>;

/// An issuer with scripted answers, which counts fetches. Clones share both.
#[derive(Clone)]
struct Issuer {
    has_set: bool,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    /// Repeats the last answer.
    fn answering(has_set: bool, answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self {
            has_set,
            answers,
            fetches: Arc::default(),
        }
    }

    fn then(&self, answer: Answer) {
        *self.answers.lock() = [answer].into();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn authenticator(&self) -> (Authenticator, Readiness) {
        let readiness = Readiness::default();
        let config = if self.has_set {
            config("tenant_id")
        } else {
            from_load_balancer()
        };
        let metrics = Metrics::new("test", "pool-1");
        (
            Authenticator::with_source(config, Box::new(self.clone()), &readiness, &metrics),
            readiness,
        )
    }
}

impl KeySource for Issuer {
    fn has_set(&self) -> bool {
        self.has_set
    }

    fn fetch<'a>(&'a self, id: Option<&'a str>) -> BoxFuture<'a, Result<FetchedKeys, String>> {
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            // Long enough that other requests wait, too.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut answers = self.answers.lock();
            let answer = if answers.len() > 1 {
                answers.pop_front()
            } else {
                answers.front().cloned()
            };
            let keys = answer.expect("an answer").map_err(|()| "down".to_owned())?;
            if self.has_set {
                return Ok(FetchedKeys::All(keys));
            }
            let found = keys.into_iter().find(|key| key.id.as_deref() == id);
            Ok(found.map_or(FetchedKeys::None, |key| FetchedKeys::One(Box::new(key))))
        })
    }
}

fn bearer(text: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        AUTHORIZATION,
        HeaderValue::try_from(format!("Bearer {text}")).expect("a value"),
    )])
}

fn lasting_claims() -> Value {
    claims(&json!({"exp": now_seconds() + 600.0, "nbf": null}))
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_share_one_fetch_of_a_new_key_and_the_old_key_is_revoked() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let issuer = Issuer::answering(true, [Ok(old.keys("old"))]);
    let (tokens, readiness) = issuer.authenticator();
    assert_eq!(
        readiness.unmet(),
        ["auth_keys"],
        "not ready before tokens can be verified"
    );
    let (of_old, of_new) = (
        bearer(&old.token("old", &lasting_claims())),
        bearer(&new.token("new", &lasting_claims())),
    );
    assert_eq!(tokens.check_headers(&of_old, &tenant()).await, Ok(()));
    assert!(readiness.is_ready());
    issuer.then(Ok(new.keys("new")));
    tokio::time::advance(REFETCH_INTERVAL).await;
    let tenant = tenant();
    let checks = join_all((0..20).map(|_| tokens.check_headers(&of_new, &tenant))).await;
    assert!(checks.iter().all(Result::is_ok), "{checks:?}");
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(
        tokens.check_headers(&of_old, &tenant).await,
        Err(Refusal::UnknownKey)
    );
}

#[tokio::test(start_paused = true)]
async fn invented_key_ids_cost_the_issuer_one_fetch_per_interval() {
    let signer = Signer::es256();
    let issuer = Issuer::answering(true, [Ok(signer.keys("k"))]);
    let (tokens, _) = issuer.authenticator();
    let (good, tenant) = (bearer(&signer.token("k", &lasting_claims())), tenant());
    assert_eq!(tokens.check_headers(&good, &tenant).await, Ok(()));
    let before = issuer.fetches();
    for round in 0..10 {
        let flood =
            (0..50).map(|n| bearer(&signer.token(&format!("{round}-{n}"), &lasting_claims())));
        let flood: Vec<_> = flood.collect();
        let checks = join_all(
            flood
                .iter()
                .map(|headers| tokens.check_headers(headers, &tenant)),
        )
        .await;
        assert!(
            checks
                .iter()
                .all(|check| *check == Err(Refusal::UnknownKey))
        );
        assert_eq!(
            tokens.check_headers(&good, &tenant).await,
            Ok(()),
            "known keys are still accepted"
        );
        tokio::time::advance(REFETCH_INTERVAL / 5).await;
    }
    // Ten fifths of the interval, and the time of the fetches.
    assert!(
        (1..=3).contains(&(issuer.fetches() - before)),
        "{}",
        issuer.fetches()
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_cached_keys_stay_in_use_and_an_empty_cache_is_a_503() {
    let signer = Signer::es256();
    let issuer = Issuer::answering(true, [Err(())]);
    let (tokens, readiness) = issuer.authenticator();
    let good = bearer(&signer.token("k", &lasting_claims()));
    assert_eq!(
        tokens.check_headers(&good, &tenant()).await,
        Err(Refusal::NoKeys)
    );
    assert!(!readiness.is_ready());
    let (keeper, keeping) = (tokens.clone(), tokio_util::sync::CancellationToken::new());
    let stop = keeping.clone();
    let kept = tokio::spawn(async move { stop.run_until_cancelled(keeper.keep_keys()).await });
    issuer.then(Ok(signer.keys("k")));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        readiness.is_ready(),
        "fetched in the background, with growing pauses"
    );
    issuer.then(Err(()));
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(tokens.check_headers(&good, &tenant()).await, Ok(()));
    assert!(readiness.is_ready());
    keeping.cancel();
    kept.await.expect("ends well");
}

#[tokio::test(start_paused = true)]
async fn load_balancers_keys_are_fetched_one_by_one_and_cached() {
    let signer = Signer::es256();
    let key = parse_pem("k", signer.pem().as_bytes()).expect("a key");
    let issuer = Issuer::answering(false, [Ok(vec![key])]);
    let (tokens, readiness) = issuer.authenticator();
    assert!(
        readiness.is_ready(),
        "no key can be fetched before a token names one"
    );
    let signed_by = |load_balancer: &str, id: &str| {
        let header = json!({
            "alg": "ES256", "kid": id, "signer": load_balancer, "iss": "https://issuer.test", "client": "tenantry",
            "exp": now_seconds() + 60.0,
        });
        let text = padded(&signer, &header, &json!({"tenant_id": "tenant-2"}));
        HeaderMap::from_iter([(
            LOAD_BALANCER_DATA,
            HeaderValue::try_from(text).expect("a value"),
        )])
    };
    let other = ALB.replace("tenants", "mine");
    assert_eq!(
        tokens
            .check_headers(&signed_by(&other, "k"), &tenant())
            .await,
        Err(Refusal::Signer)
    );
    assert_eq!(
        issuer.fetches(),
        0,
        "a token of another load balancer causes no fetch"
    );
    for _ in 0..3 {
        assert_eq!(
            tokens.check_headers(&signed_by(ALB, "k"), &tenant()).await,
            Ok(())
        );
    }
    assert_eq!(issuer.fetches(), 1);
    tokio::time::advance(REFETCH_INTERVAL).await;
    assert_eq!(
        tokens
            .check_headers(&signed_by(ALB, "made-up"), &tenant())
            .await,
        Err(Refusal::UnknownKey)
    );
    issuer.then(Err(()));
    tokio::time::advance(REFETCH_INTERVAL).await;
    assert_eq!(
        tokens
            .check_headers(&signed_by(ALB, "new"), &tenant())
            .await,
        Err(Refusal::NoKeys),
        "whether the key exists is unknown"
    );
    assert_eq!(
        tokens.check_headers(&signed_by(ALB, "k"), &tenant()).await,
        Ok(())
    );
}

#[tokio::test]
async fn a_token_is_accepted_once_and_as_a_bearer_token_only() {
    let signer = Signer::es256();
    let (tokens, _) = Issuer::answering(true, [Ok(signer.keys("k"))]).authenticator();
    let text = signer.token("k", &lasting_claims());
    let ask = async |values: &[String]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                AUTHORIZATION,
                HeaderValue::try_from(value).expect("a value"),
            );
        }
        tokens.check_headers(&headers, &tenant()).await
    };
    for good in ["Bearer ", "bearer ", "BEARER  "] {
        assert_eq!(ask(&[format!("{good}{text}")]).await, Ok(()), "{good}");
    }
    let twice = [format!("Bearer {text}"), format!("Bearer {text}")];
    assert_eq!(ask(&twice).await, Err(Refusal::Malformed));
    for missing in [
        &[][..],
        &["Basic dTpw".to_owned()],
        std::slice::from_ref(&text),
        &["Bearer".to_owned()],
    ] {
        assert_eq!(ask(missing).await, Err(Refusal::Missing), "{missing:?}");
    }
}

#[derive(Debug, clap::Parser)]
struct Parsed {
    #[command(flatten)]
    auth: Auth,
}

fn parse(arguments: &[&str]) -> Result<Auth, String> {
    let arguments = std::iter::once("service").chain(arguments.iter().copied());
    tenantry_process::config::parse_from::<Parsed, _>(arguments)
        .map(|parsed| parsed.auth)
        .map_err(|error| error.to_string())
}

#[test]
fn off_is_the_default_and_jwt_is_accepted_with_every_variable_it_needs() {
    assert_eq!(parse(&[]), Ok(Auth::None));
    let common = [
        "--auth=jwt",
        "--auth-issuer=https://issuer.test",
        "--auth-audience=a,b",
    ];
    let Ok(Auth::Jwt(config)) =
        parse(&[&common[..], &["--auth-jwks=https://issuer.test/jwks.json"]].concat())
    else {
        panic!("complete")
    };
    assert_eq!(
        (&*config.claim, config.leeway),
        ("tenant_id", Duration::from_secs(30))
    );
    assert_eq!(config.audiences, ["a", "b"]);
    let Ok(Auth::Jwt(config)) = parse(
        &[
            &common[..],
            &["--auth-source=alb", &format!("--auth-alb-arn={ALB}")],
        ]
        .concat(),
    ) else {
        panic!("complete")
    };
    let TokenSource::LoadBalancer { keys, .. } = config.source else {
        panic!("the load balancer's")
    };
    assert_eq!(
        keys.as_str(),
        "https://public-keys.auth.elb.us-east-1.amazonaws.com/"
    );
    for location in [
        "http://127.0.0.1:1/k",
        "http://localhost/k",
        "http://[::1]:80/k",
        "/etc/keys/jwks.json",
    ] {
        assert!(
            parse(&[&common[..], &[&format!("--auth-jwks={location}")]].concat()).is_ok(),
            "{location}"
        );
    }
}

#[test]
fn a_missing_or_invalid_value_is_one_line_that_names_the_variable() {
    let whole = [
        "--auth=jwt",
        "--auth-issuer=https://issuer.test",
        "--auth-audience=a",
        "--auth-jwks=https://issuer.test/jwks.json",
    ];
    let without = |at: usize| {
        whole
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != at)
            .map(|(_, text)| *text)
            .collect()
    };
    let with = |more: &'static [&'static str]| [&whole[..], more].concat();
    let of_alb = |arn: &'static str| {
        vec![
            "--auth=jwt",
            "--auth-issuer=i",
            "--auth-audience=a",
            "--auth-source=alb",
            arn,
        ]
    };
    let cases: [(Vec<&str>, &str); 17] = [
        (without(0), "AUTH_ISSUER"),
        (without(1), "AUTH_ISSUER"),
        (without(2), "AUTH_AUDIENCE"),
        (without(3), "AUTH_JWKS"),
        (vec!["--auth=yes"], "AUTH"),
        (vec!["--auth-alb-arn=x"], "AUTH_ALB_ARN"),
        (with(&["--auth-claim="]), "AUTH_CLAIM"),
        (with(&["--auth-leeway-seconds=301"]), "AUTH_LEEWAY_SECONDS"),
        (with(&["--auth-leeway-seconds=-1"]), "AUTH_LEEWAY_SECONDS"),
        (
            with(&["--auth-jwks-refresh-seconds=0"]),
            "AUTH_JWKS_REFRESH_SECONDS",
        ),
        (with(&["--auth-alb-arn=x"]), "AUTH_ALB_ARN"),
        (with(&["--auth-source=cookie"]), "AUTH_SOURCE"),
        (of_alb("--auth-claim=t"), "AUTH_ALB_ARN"),
        (
            of_alb("--auth-alb-arn=arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/x"),
            "AUTH_ALB_ARN",
        ),
        (
            of_alb("--auth-alb-arn=arn:aws:elasticloadbalancing:evil.test/:1:loadbalancer/app/x"),
            "AUTH_ALB_ARN",
        ),
        (
            vec![
                whole[0],
                whole[1],
                whole[2],
                "--auth-jwks=http://issuer.test/jwks.json",
            ],
            "AUTH_JWKS",
        ),
        (
            vec![
                whole[0],
                whole[1],
                whole[2],
                "--auth-jwks=https://u:p@issuer.test/jwks.json",
            ],
            "AUTH_JWKS",
        ),
    ];
    for (arguments, variable) in cases {
        let line = parse(&arguments).expect_err(variable);
        assert!(
            line.contains(variable) && !line.contains('\n') && !line.contains("u:p"),
            "{arguments:?}: {line}"
        );
    }
}
