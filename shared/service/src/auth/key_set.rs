//! Public keys as issuers publish them: a JSON Web Key Set, or one key as PEM. Pure.
//!
//! A key supports only the algorithms of its own type, whatever algorithm a token names. So no public key can be used
//! as a shared secret.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set that are parsed. Issuers publish two or three.
const MAX_KEYS: usize = 100;
/// First line of a public key as PEM (RFC 7468).
const PEM_HEADER: &[u8] = b"-----BEGIN PUBLIC KEY-----";
/// Bytes of an uncompressed point on P-256: a tag and two coordinates of 32 bytes (SEC 1).
const P256_POINT_BYTES: usize = 65;
/// Tag of an uncompressed point (SEC 1).
const UNCOMPRESSED: u8 = 0x04;

/// A public key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

/// The published document has no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidKeys {
    #[error("the document is not a JSON Web Key Set; check AUTH_JWKS")]
    Set,
    #[error("the key set has no key that verifies signatures; check AUTH_JWKS")]
    Empty,
    #[error("the document is not a public key on P-256 as PEM; check AUTH_JWKS")]
    Pem,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Key {
    pub(super) fn supports(&self, algorithm: Algorithm) -> bool {
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
        let algorithms: Vec<_> = algorithms_of(&jwk.algorithm)
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

/// Parses a JSON Web Key Set. Keys of unknown types and keys that do not verify signatures are skipped.
///
/// # Errors
/// [`InvalidKeys`] if no key is left, so that the cache keeps the keys it has.
pub(super) fn parse_set(document: &[u8]) -> Result<Vec<Key>, InvalidKeys> {
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

/// Parses a load balancer's key, which signs with ES256, from PEM.
///
/// # Errors
/// [`InvalidKeys::Pem`].
pub(super) fn parse_pem(id: &str, pem: &[u8]) -> Result<Key, InvalidKeys> {
    // The library also reads certificates, and keys on other curves.
    let is_public_key = pem.trim_ascii_start().starts_with(PEM_HEADER);
    let material = DecodingKey::from_ec_pem(pem).map_err(|_| InvalidKeys::Pem)?;
    let is_on_p256 = material
        .try_get_as_bytes()
        .is_ok_and(|point| point.len() == P256_POINT_BYTES && point.first() == Some(&UNCOMPRESSED));
    if !is_public_key || !is_on_p256 {
        return Err(InvalidKeys::Pem);
    }
    Ok(Key {
        id: Some(id.to_owned()),
        algorithms: vec![Algorithm::ES256],
        material,
    })
}

fn algorithms_of(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
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
        // Among the rest are shared secrets.
        _ => &[],
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithms)
    }
}
