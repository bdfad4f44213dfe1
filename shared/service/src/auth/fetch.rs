//! Fetching of published keys from a URL or a file, bounded in time and size. Never follows a redirect.

use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Client, StatusCode, Url};

use super::config::KeySetLocation;
use super::key_cache::{FetchedKeys, KeySource};
use super::key_set::{parse_pem, parse_set};
use tenantry_process::retry::with_causes;

/// Time-out of a fetch, below the 5 s within which a request that waits for the fetch is answered.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Largest document. A set of three keys has 2 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// Longest id of a load balancer's key. Today's ids are UUIDs.
const MAX_ID_CHARS: usize = 64;

/// A JSON Web Key Set.
pub(super) struct PublishedSet {
    location: KeySetLocation,
    http: LazyClient,
}

/// Keys of load balancers: each as PEM, at its id under one URL.
pub(super) struct LoadBalancerKeys {
    base: Url,
    http: LazyClient,
}

/// An HTTP client that is built on first use: building it reads the system's certificates, and may fail.
#[derive(Default)]
struct LazyClient(OnceLock<Client>);

impl PublishedSet {
    pub(super) fn at(location: KeySetLocation) -> Self {
        Self {
            location,
            http: LazyClient::default(),
        }
    }
}

impl LoadBalancerKeys {
    pub(super) fn under(base: Url) -> Self {
        Self {
            base,
            http: LazyClient::default(),
        }
    }
}

impl KeySource for PublishedSet {
    fn has_set(&self) -> bool {
        true
    }

    fn fetch<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<FetchedKeys, String>> {
        Box::pin(async move {
            let document = match &self.location {
                KeySetLocation::Url(url) => self
                    .http
                    .get(url.clone())
                    .await?
                    .ok_or("the URL has no key set; check AUTH_JWKS")?,
                KeySetLocation::File(path) => {
                    let path = path.clone();
                    let reading = tokio::task::spawn_blocking(move || read_file(&path));
                    reading.await.map_err(|error| error.to_string())??
                }
            };
            parse_set(&document)
                .map(FetchedKeys::All)
                .map_err(|error| error.to_string())
        })
    }
}

impl KeySource for LoadBalancerKeys {
    fn has_set(&self) -> bool {
        false
    }

    fn fetch<'a>(&'a self, id: Option<&'a str>) -> BoxFuture<'a, Result<FetchedKeys, String>> {
        Box::pin(async move {
            let Some(id) = id.filter(|id| is_key_id(id)) else {
                return Ok(FetchedKeys::None);
            };
            let mut url = self.base.clone();
            url.path_segments_mut()
                .map_err(|()| "the URL of AUTH_JWKS takes no path; set an https URL")?
                .pop_if_empty()
                .push(id);
            let Some(pem) = self.http.get(url).await? else {
                return Ok(FetchedKeys::None);
            };
            parse_pem(id, &pem)
                .map(|key| FetchedKeys::One(Box::new(key)))
                .map_err(|error| error.to_string())
        })
    }
}

impl LazyClient {
    /// Returns the document at the URL, if there is one.
    async fn get(&self, url: Url) -> Result<Option<Vec<u8>>, String> {
        let plain = |error: reqwest::Error| with_causes(&error);
        let mut response = self
            .client()
            .map_err(plain)?
            .get(url)
            .send()
            .await
            .map_err(plain)?;
        // Object stores that do not list their contents answer 403 for a missing object.
        if matches!(
            response.status(),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN
        ) {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(format!("{} answered {}", response.url(), response.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(plain)? {
            if document.len() + chunk.len() > MAX_BYTES {
                return Err(format!(
                    "{} sent more than {MAX_BYTES} bytes",
                    response.url()
                ));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(Some(document))
    }

    fn client(&self) -> Result<&Client, reqwest::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // A redirect could lead to plain HTTP. An issuer publishes its keys at the URL it documents.
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(self.0.get_or_init(|| client))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut document = Vec::new();
    let limit = u64::try_from(MAX_BYTES).expect("256 KiB fit") + 1;
    std::fs::File::open(path)
        .map_err(wrong)?
        .take(limit)
        .read_to_end(&mut document)
        .map_err(wrong)?;
    if document.len() > MAX_BYTES {
        return Err(format!(
            "{} has more than {MAX_BYTES} bytes",
            path.display()
        ));
    }
    Ok(document)
}

/// Whether the text is safe as a part of a URL.
fn is_key_id(text: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
