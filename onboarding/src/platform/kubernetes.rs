//! The applied state of a cluster, read from the Kubernetes API, and figures, read from Prometheus. It lists and never writes.
//!
//! The HTTP client that is linked anyway reads the eight lists. A client library of Kubernetes would add 36 crates.
//!
//! Objects are read page by page and reduced to what [`Gather`] keeps, so that memory does not grow with the size of objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tenantctl::status::Gather;

use super::{Observed, Platform};
use tenantry_process::retry::with_causes;

/// Objects of one page.
const PAGE: u32 = 50;
/// Pages of one list: more is a defect of the server.
const MAX_PAGES: usize = 2_000;
/// Longest wait for one page, and for Prometheus.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Label of everything that the tenant chart makes.
const OURS: &str = "app.kubernetes.io/part-of=tenantry";

/// Folder of the pod's account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// One page of a list. An object is parsed when its turn comes: as values, a page would take ten times its bytes.
#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMetadata,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Kind, path of the list, and whether only objects of the tenant chart are read.
const LISTS: [(&str, &str, bool); 8] = [
    (
        "GitRepository",
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories",
        false,
    ),
    (
        "Kustomization",
        "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations",
        false,
    ),
    (
        "HelmRelease",
        "/apis/helm.toolkit.fluxcd.io/v2/namespaces/flux-tenants/helmreleases",
        false,
    ),
    (
        "HelmChart",
        "/apis/source.toolkit.fluxcd.io/v1/helmcharts",
        false,
    ),
    (
        "Terraform",
        "/apis/infra.contrib.fluxcd.io/v1alpha2/terraforms",
        false,
    ),
    ("Deployment", "/apis/apps/v1/deployments", true),
    ("Pod", "/api/v1/pods", true),
    ("Namespace", "/api/v1/namespaces", false),
];

/// Figures of each environment, and the queries that give them.
const QUERIES: [(Figure, &str); 3] = [
    (
        Figure::Requests,
        "sum by (environment) (rate(http_requests_total[5m]))",
    ),
    (
        Figure::Errors,
        "sum by (environment) (rate(http_requests_total{status=~\"5..\"}[5m])) / sum by (environment) (rate(http_requests_total[5m]))",
    ),
    (
        Figure::Age,
        "histogram_quantile(0.99, sum by (environment, le) (rate(queue_lag_seconds_bucket[5m])))",
    ),
];

#[derive(Clone, Copy)]
enum Figure {
    Requests,
    Errors,
    Age,
}

/// The cluster that this process runs on.
pub struct Kubernetes {
    server: String,
    /// Whether the account's token is sent: a proxy has credentials of its own.
    has_token: bool,
    client: reqwest::Client,
    load_balancer: Option<String>,
    /// Address of Prometheus, and the client that asks there.
    prometheus: Option<(String, reqwest::Client)>,
}

impl Kubernetes {
    /// Reads the API at this address, for example that of `kubectl proxy`, which adds the credentials.
    ///
    /// # Errors
    /// One sentence: the address is not on this machine, and the lists would be read unencrypted.
    pub fn proxied(
        server: &str,
        load_balancer: Option<String>,
        prometheus: Option<String>,
    ) -> Result<Self, String> {
        let url: Option<reqwest::Url> = server.parse().ok();
        let is_loopback = url
            .as_ref()
            .and_then(reqwest::Url::host_str)
            .is_some_and(|host| {
                let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
                host == "localhost" || address.is_some_and(|address| address.is_loopback())
            });
        if !is_loopback || !server.starts_with("http://") {
            return Err(format!(
                "KUBERNETES_PROXY_URL: {server:?} is not an http:// address of this machine; run `kubectl proxy`, and name its \
                 address"
            ));
        }
        Self::at(
            server.trim_end_matches('/').to_owned(),
            None,
            load_balancer,
            prometheus,
        )
    }

    /// Reads where the API of the pod's cluster is.
    ///
    /// # Errors
    /// One sentence: the process runs outside of a cluster, or without a token.
    pub fn in_cluster(
        load_balancer: Option<String>,
        prometheus: Option<String>,
    ) -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                format!(
                    "{name} is not set: run in a pod of the cluster, or set KUBERNETES_PROXY_URL"
                )
            })
        };
        let (host, port) = (
            variable("KUBERNETES_SERVICE_HOST")?,
            variable("KUBERNETES_SERVICE_PORT")?,
        );
        let server = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        let authority = std::fs::read(format!("{ACCOUNT}/ca.crt"));
        let authority = authority.map_err(|error| {
            format!(
                "{ACCOUNT}/ca.crt cannot be read: {error}; set automountServiceAccountToken: true"
            )
        })?;
        Self::at(server, Some(&authority), load_balancer, prometheus)
    }

    /// Reads the API of this server, whose certificate this authority has signed. Without an authority, no token is sent.
    fn at(
        server: String,
        authority: Option<&[u8]>,
        load_balancer: Option<String>,
        prometheus: Option<String>,
    ) -> Result<Self, String> {
        let wrong = |error: reqwest::Error| format!("{ACCOUNT}/ca.crt is not valid: {error}");
        let authorities = authority.map(reqwest::Certificate::from_pem_bundle);
        let authorities = authorities.transpose().map_err(wrong)?;
        let client = || {
            reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
        };
        let trimmed = |url: Option<String>| url.map(|url| url.trim_end_matches('/').to_owned());
        let has_token = authorities.is_some();
        let trusting = match authorities {
            Some(authorities) => client().tls_certs_only(authorities),
            None => client(),
        };
        Ok(Self {
            server,
            has_token,
            client: trusting.build().map_err(wrong)?,
            load_balancer: trimmed(load_balancer),
            prometheus: match trimmed(prometheus) {
                Some(url) => Some((url, client().build().map_err(|error| error.to_string())?)),
                None => None,
            },
        })
    }

    async fn gathered(&self) -> Result<Observed, String> {
        let mut gather = Gather::default();
        for (kind, path, ours) in LISTS {
            self.list(kind, path, ours, &mut gather).await?;
        }
        let mut observed = gather.finish();
        if let Some((prometheus, client)) = &self.prometheus {
            for (figure, query) in QUERIES {
                match ask(client, prometheus, query).await {
                    Ok(values) => add(&mut observed, figure, &values),
                    Err(reason) => tracing::warn!(reason, query, "figure not read from Prometheus"),
                }
            }
        }
        Ok(observed)
    }

    async fn list(
        &self,
        kind: &str,
        path: &str,
        ours: bool,
        gather: &mut Gather,
    ) -> Result<(), String> {
        let failed = |why: String| {
            format!("list of {kind} failed: {why}; see the role of the service account")
        };
        let selector = if ours {
            format!("&labelSelector={}", form(OURS))
        } else {
            String::new()
        };
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let url = format!(
                "{}{path}?limit={PAGE}{selector}&continue={}",
                self.server,
                form(&next)
            );
            let mut request = self.client.get(url);
            if self.has_token {
                // The kubelet replaces the token long before it expires.
                let token = std::fs::read_to_string(format!("{ACCOUNT}/token"));
                let token = token.map_err(|error| failed(error.to_string()))?;
                request = request.bearer_auth(token.trim());
            }
            let answer = request.send().await;
            let answer = answer.map_err(|error| failed(with_causes(&error.without_url())))?;
            match answer.status().as_u16() {
                200 => {}
                // The cluster does not have the kind, for example no Terraform controller.
                404 => return Ok(()),
                status => return Err(failed(format!("the server answers {status}"))),
            }
            let body = answer.bytes().await;
            let body = body.map_err(|error| failed(with_causes(&error.without_url())))?;
            let List { metadata, items } =
                serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?;
            for item in items {
                let mut object: Map<String, Value> =
                    serde_json::from_str(item.get()).map_err(|error| failed(error.to_string()))?;
                // Items of a list do not name their kind.
                object.insert("kind".to_owned(), Value::from(kind));
                gather.add(&Value::Object(object));
            }
            match metadata.next {
                Some(token) if !token.is_empty() => next = token,
                _ => return Ok(()),
            }
        }
        Err(failed("it does not end".to_owned()))
    }
}

/// The values of a query of Prometheus, by environment.
async fn ask(
    client: &reqwest::Client,
    prometheus: &str,
    query: &str,
) -> Result<BTreeMap<String, f64>, String> {
    let failed = |error: reqwest::Error| with_causes(&error.without_url());
    let encoded: String = form(query);
    let url = format!("{prometheus}/api/v1/query?query={encoded}");
    let response = client.get(url).send().await.map_err(failed)?;
    let body = response
        .error_for_status()
        .map_err(failed)?
        .bytes()
        .await
        .map_err(failed)?;
    let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(values(&answer))
}

/// The values of an instant query, by environment.
fn values(answer: &Value) -> BTreeMap<String, f64> {
    let found = answer.pointer("/data/result").and_then(Value::as_array);
    let value = |one: &Value| {
        let environment = one.pointer("/metric/environment")?.as_str()?;
        let number: f64 = one.pointer("/value/1")?.as_str()?.parse().ok()?;
        number.is_finite().then(|| (environment.to_owned(), number))
    };
    found.into_iter().flatten().filter_map(value).collect()
}

fn add(observed: &mut Observed, figure: Figure, values: &BTreeMap<String, f64>) {
    for (environment, value) in values {
        let Some(release) = observed.releases.get_mut(environment) else {
            continue;
        };
        let figures = &mut release.figures;
        let into = match figure {
            Figure::Requests => &mut figures.requests_per_second,
            Figure::Errors => &mut figures.error_ratio,
            Figure::Age => &mut figures.oldest_message_seconds,
        };
        *into = Some(*value);
    }
}

/// A text as the value of a query.
fn form(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Platform for Kubernetes {
    fn name(&self) -> &'static str {
        "Kubernetes"
    }

    fn observe(&self) -> BoxFuture<'_, Result<Observed, String>> {
        Box::pin(self.gathered())
    }

    fn changed(&self, within: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(within))
    }

    fn load_balancer(&self) -> Option<String> {
        self.load_balancer.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_of_an_environment_become_those_of_its_release() {
        let answer = json!({ "status": "success", "data": { "resultType": "vector", "result": [
            { "metric": { "environment": "pool-1" }, "value": [1, "0.25"] },
            { "metric": { "environment": "tenant-1" }, "value": [1, "NaN"] },
            { "metric": {}, "value": [1, "1"] }] } });
        let values = values(&answer);
        assert_eq!(values, BTreeMap::from([("pool-1".to_owned(), 0.25)]));
        let mut observed = Observed::default();
        observed
            .releases
            .insert("pool-1".to_owned(), super::super::AppliedTenant::default());
        add(&mut observed, Figure::Errors, &values);
        assert_eq!(observed.releases["pool-1"].figures.error_ratio, Some(0.25));
        assert_eq!(
            form("a{b=~\"5..\"}"),
            "a%7Bb%3D~%225..%22%7D".replace('~', "%7E")
        );
    }
}
