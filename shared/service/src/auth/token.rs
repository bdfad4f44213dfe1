//! Tokens: parsing their three parts and verifying their signature. Pure.
//!
//! The library's `decode` is not used, for two reasons. It reads the clock, and it cannot verify the tokens of load
//! balancers, whose parts are padded and signed with their padding. The library verifies the signature over the bytes
//! as they were received.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::key_set::Key;
use super::refusal::Refusal;

/// Longest token. The head of a request has at most 32 KiB altogether.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_KID_BYTES: usize = 256;
/// Base64url, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The claims of a token whose signature is verified.
pub type Claims = Map<String, Value>;

/// A parsed token that is not verified yet.
pub(super) struct Token<'a> {
    /// The signed text: the first two parts.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
    pub(super) header: Header,
    pub(super) algorithm: Algorithm,
}

/// The header of a token. Load balancers write the last four fields.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    pub(super) kid: Option<String>,
    /// Extensions that a verifier must support (RFC 7515). None is supported.
    crit: Option<IgnoredAny>,
    pub(super) signer: Option<String>,
    pub(super) client: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) exp: Option<f64>,
}

impl<'a> Token<'a> {
    /// # Errors
    /// [`Refusal::Malformed`]; [`Refusal::Algorithm`] if the algorithm is not accepted.
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        if claims.contains('.') {
            return Err(Refusal::Malformed);
        }
        let header: Header = decode_json(header)?;
        let algorithm = accepted_algorithm(&header.alg).ok_or(Refusal::Algorithm)?;
        if header.crit.is_some()
            || header
                .kid
                .as_ref()
                .is_some_and(|kid| kid.len() > MAX_KID_BYTES)
        {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            message,
            claims,
            signature,
            header,
            algorithm,
        })
    }

    /// Returns the claims, if this key signed them.
    ///
    /// # Errors
    /// [`Refusal::Signature`]; [`Refusal::Algorithm`] if the key does not support the token's algorithm.
    pub(super) fn verify(&self, key: &Key) -> Result<Claims, Refusal> {
        if !key.supports(self.algorithm) {
            return Err(Refusal::Algorithm);
        }
        // The library reads signatures without padding only.
        let signature = self.signature.trim_end_matches('=');
        match jsonwebtoken::crypto::verify(
            signature,
            self.message.as_bytes(),
            key.material(),
            self.algorithm,
        ) {
            Ok(true) => decode_json(self.claims),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }
}

/// Public-key algorithms only: with a shared secret, every verifier can sign, and a public key is no secret.
fn accepted_algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

fn decode_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = BASE64.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

/// Shows nothing of the token: a logged token could be used.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
