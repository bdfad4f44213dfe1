//! A token: its three parts, and whether a key signed it. Pure.
//!
//! The library's own `decode` is not used, for two reasons: it reads the clock, and it cannot verify what load balancers
//! send, whose parts are padded, and signed with their padding. The signature is checked by the library, over the bytes
//! as they came.

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

/// Longest token; the head of a request may have 32 KiB altogether.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest id of a key that is looked for.
const MAX_KID_BYTES: usize = 256;
/// Base64url, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The claims of a token whose signature is right.
pub(super) type Claims = Map<String, Value>;

/// A token, taken apart and not yet believed.
pub(super) struct Token<'a> {
    /// What was signed: the first two parts.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
    pub(super) header: Header,
    pub(super) algorithm: Algorithm,
}

/// What a token says of itself. The last four are the load balancer's.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    pub(super) kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<IgnoredAny>,
    pub(super) signer: Option<String>,
    pub(super) client: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) exp: Option<f64>,
}

impl<'a> Token<'a> {
    /// The token in a text.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], or [`Refusal::Algorithm`] for one that nobody may sign with.
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        if claims.contains('.') {
            return Err(Refusal::Malformed);
        }
        let header: Header = json(header)?;
        let algorithm = accepted(&header.alg).ok_or(Refusal::Algorithm)?;
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

    /// Its claims, if this key signed them.
    ///
    /// # Errors
    /// [`Refusal::Signature`]; [`Refusal::Algorithm`] where the key is not for the token's algorithm.
    pub(super) fn verified(&self, key: &Key) -> Result<Claims, Refusal> {
        if !key.takes(self.algorithm) {
            return Err(Refusal::Algorithm);
        }
        // The library takes signatures without padding.
        let signature = self.signature.trim_end_matches('=');
        match jsonwebtoken::crypto::verify(
            signature,
            self.message.as_bytes(),
            key.material(),
            self.algorithm,
        ) {
            Ok(true) => json(self.claims),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }
}

/// Public-key algorithms alone: with a shared secret whoever can verify can sign, and a public key is no secret.
fn accepted(name: &str) -> Option<Algorithm> {
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

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = BASE64.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

/// Whoever sees a token can use it.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
