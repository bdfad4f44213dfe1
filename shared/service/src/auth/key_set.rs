//! Keys that tokens are verified with, from what issuers publish: a JSON Web Key Set, or one key as PEM. Pure.
//!
//! A key is for the algorithms of its own kind, whatever a token says: so no token can have a public key taken for a
//! shared secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set that are looked at; issuers publish two or three.
const MAX_KEYS: usize = 100;
/// Bytes of one coordinate of a point on P-256.
const P256_COORDINATE_BYTES: usize = 32;
/// How the DER of a public key on P-256 begins (RFC 5480): the algorithm, the curve, and that the point is whole.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// A public key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

/// What was published is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidKeys {
    #[error("the answer is no JSON Web Key Set")]
    Set,
    #[error("the key set has no key that verifies a signature")]
    Empty,
    #[error("the answer is no public key on P-256 as PEM")]
    Pem,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Key {
    /// Whether the key verifies signatures of this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    pub(super) fn material(&self) -> &DecodingKey {
        &self.material
    }

    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let may_verify = common
            .public_key_use
            .as_ref()
            .is_none_or(|use_| *use_ == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|all| all.contains(&KeyOperations::Verify));
        let named = common.key_algorithm.map(Algorithm::try_from);
        let algorithms: Vec<_> = of_kind(&jwk.algorithm)
            .iter()
            .filter(|own| {
                named
                    .as_ref()
                    .is_none_or(|named| named.as_ref().is_ok_and(|named| named == *own))
            })
            .copied()
            .collect();
        if !may_verify || algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            material: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// The keys of a JSON Web Key Set. Those that are not for verifying, or of a kind nobody here knows, are left out.
///
/// # Errors
/// [`InvalidKeys`] where none is left: what is known is better kept then.
pub(super) fn from_set(document: &[u8]) -> Result<Vec<Key>, InvalidKeys> {
    let set: Set = serde_json::from_slice(document).map_err(|_| InvalidKeys::Set)?;
    let keys: Vec<_> = set
        .keys
        .into_iter()
        .take(MAX_KEYS)
        .filter_map(|key| Key::from_jwk(&serde_json::from_value(key).ok()?))
        .collect();
    if keys.is_empty() {
        Err(InvalidKeys::Empty)
    } else {
        Ok(keys)
    }
}

/// The load balancer's key of this id, for ES256, as PEM.
///
/// # Errors
/// [`InvalidKeys::Pem`].
pub(super) fn from_pem(id: &str, pem: &[u8]) -> Result<Key, InvalidKeys> {
    let text = std::str::from_utf8(pem).map_err(|_| InvalidKeys::Pem)?;
    let body = text
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
        .ok_or(InvalidKeys::Pem)?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| InvalidKeys::Pem)?;
    let point = der
        .strip_prefix(&P256_PREFIX)
        .filter(|point| point.len() == 2 * P256_COORDINATE_BYTES);
    let (x, y) = point
        .ok_or(InvalidKeys::Pem)?
        .split_at(P256_COORDINATE_BYTES);
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    let material = DecodingKey::from_ec_components(&x, &y).map_err(|_| InvalidKeys::Pem)?;
    Ok(Key {
        id: Some(id.to_owned()),
        algorithms: vec![Algorithm::ES256],
        material,
    })
}

fn of_kind(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // Shared secrets among them.
        _ => &[],
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithms)
    }
}
