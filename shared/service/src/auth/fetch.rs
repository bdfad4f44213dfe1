//! Reading published keys: from a URL or a file, bounded in time and size. Follows no redirect.

use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Client, StatusCode, Url};

use super::config::KeyPlace;
use super::key_set::{from_pem, from_set};
use super::keys::{Found, KeySource};

/// Longest a read may take, below the 5 s within which a request that waits for it is answered.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Largest document; a key set of three keys has 2 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// Longest id of a load balancer's key: they are UUIDs.
const MAX_ID_CHARS: usize = 64;

/// A JSON Web Key Set, read whole.
pub(super) struct PublishedSet {
    place: KeyPlace,
    web: Web,
}

/// Load balancers' keys, a PEM each, at their id under one URL.
pub(super) struct LoadBalancerKeys {
    under: Url,
    web: Web,
}

/// The HTTP client, made when first needed: making one reads the system's certificates, and may fail.
#[derive(Default)]
struct Web(OnceLock<Client>);

impl PublishedSet {
    pub(super) fn at(place: KeyPlace) -> Self {
        Self {
            place,
            web: Web::default(),
        }
    }
}

impl LoadBalancerKeys {
    pub(super) fn under(under: Url) -> Self {
        Self {
            under,
            web: Web::default(),
        }
    }
}

impl KeySource for PublishedSet {
    fn has_set(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Found, String>> {
        Box::pin(async move {
            let document = match &self.place {
                KeyPlace::Url(url) => self
                    .web
                    .get(url.clone())
                    .await?
                    .ok_or("there is no key set at the URL")?,
                KeyPlace::File(path) => {
                    let path = path.clone();
                    let reading = tokio::task::spawn_blocking(move || file(&path));
                    reading.await.map_err(|error| error.to_string())??
                }
            };
            from_set(&document)
                .map(Found::All)
                .map_err(|error| error.to_string())
        })
    }
}

impl KeySource for LoadBalancerKeys {
    fn has_set(&self) -> bool {
        false
    }

    fn read<'a>(&'a self, id: Option<&'a str>) -> BoxFuture<'a, Result<Found, String>> {
        Box::pin(async move {
            let Some(id) = id.filter(|id| is_id(id)) else {
                return Ok(Found::None);
            };
            let mut url = self.under.clone();
            url.path_segments_mut()
                .map_err(|()| "the keys' URL takes no path")?
                .pop_if_empty()
                .push(id);
            let Some(pem) = self.web.get(url).await? else {
                return Ok(Found::None);
            };
            from_pem(id, &pem)
                .map(|key| Found::One(Box::new(key)))
                .map_err(|error| error.to_string())
        })
    }
}

impl Web {
    /// What is at the URL, if anything is.
    async fn get(&self, url: Url) -> Result<Option<Vec<u8>>, String> {
        let plain = |error: reqwest::Error| describe(&error);
        let mut response = self
            .client()
            .map_err(plain)?
            .get(url)
            .send()
            .await
            .map_err(plain)?;
        // A store that does not list its contents says 403 for what it does not have.
        if matches!(
            response.status(),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN
        ) {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(format!("{} from {}", response.status(), response.url()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(plain)? {
            if document.len() + chunk.len() > MAX_BYTES {
                return Err(format!(
                    "more than {MAX_BYTES} bytes from {}",
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
        // A redirect could lead anywhere, and to plain HTTP; an issuer's keys are where its documents say.
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(self.0.get_or_init(|| client))
    }
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
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

/// An id becomes part of a URL.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The error with what caused it: alone it says only that a request failed.
fn describe(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
