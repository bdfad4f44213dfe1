//! The console's files: in the binary, each under an address that changes with its content, so that a browser caches it.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tenantry_service::error::ApiError;

pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
    version: u64,
}

pub(super) const STYLE: Asset = Asset::new(
    "console.css",
    "text/css; charset=utf-8",
    include_str!("../../assets/console.css"),
);
pub(super) const ICON: Asset = Asset::new(
    "icon.svg",
    "image/svg+xml",
    include_str!("../../assets/icon.svg"),
);
/// In the order in which they run: the library, its two extensions, the page's own.
pub(super) const SCRIPTS: [Asset; 4] = [
    script(
        "htmx-2.0.11.min.js",
        include_str!("../../assets/htmx-2.0.11.min.js"),
    ),
    script(
        "htmx-ext-sse-2.2.4.min.js",
        include_str!("../../assets/htmx-ext-sse-2.2.4.min.js"),
    ),
    script(
        "idiomorph-ext-0.8.0.min.js",
        include_str!("../../assets/idiomorph-ext-0.8.0.min.js"),
    ),
    script("console.js", include_str!("../../assets/console.js")),
];

const fn script(name: &'static str, content: &'static str) -> Asset {
    Asset::new(name, "text/javascript; charset=utf-8", content)
}

impl Asset {
    const fn new(name: &'static str, kind: &'static str, content: &'static str) -> Self {
        Self {
            name,
            kind,
            content,
            version: fnv1a(content.as_bytes()),
        }
    }

    pub(super) fn href(&self) -> String {
        format!("/console/assets/{:016x}/{}", self.version, self.name)
    }
}

/// FNV-1a, because it is the one hash that fits a constant expression in three lines.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

pub(super) async fn get(Path((_version, name)): Path<(String, String)>) -> Response {
    let asset = [&STYLE, &ICON]
        .into_iter()
        .chain(&SCRIPTS)
        .find(|asset| asset.name == name);
    match asset {
        Some(asset) => {
            let headers = [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, asset.content).into_response()
        }
        None => ApiError::no_route().into_response(),
    }
}
