//! The files of pages: style, scripts, icon. They are part of the binary, and need no permission.
//!
//! An address names the content of its file by a hash, so browsers keep files for as long as they
//! like and ask again after an update.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::RawQuery;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;

use crate::api::Served;
use crate::decisions::digest::digest;

const FOLDER: &str = "/assets/";
/// The digits of a hash in an address: enough to distinguish versions.
const HASH_DIGITS: usize = 16;
const KEPT: &str = "public, max-age=31536000, immutable";
/// The caching of an address without the hash of this host's file.
const ASKED_AGAIN: &str = "no-cache";

struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 4] = [
    Asset {
        path: "/assets/pages.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("assets/pages.css"),
    },
    Asset {
        path: "/assets/pages.js",
        media_type: SCRIPT,
        content: include_str!("assets/pages.js"),
    },
    Asset {
        path: "/assets/htmx.js",
        media_type: SCRIPT,
        // One script: htmx begins when the script has run, and its extension must be there then.
        content: concat!(
            include_str!("assets/vendored/htmx.min.js"),
            "\n",
            include_str!("assets/vendored/hx-sse.min.js"),
        ),
    },
    Asset {
        path: "/assets/icon.svg",
        media_type: "image/svg+xml",
        content: include_str!("assets/icon.svg"),
    },
];

/// The hashes, by path.
static HASHES: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let hash = |content: &str| digest(content.as_bytes())[..HASH_DIGITS].to_owned();
    ASSETS.iter().map(|asset| (asset.path, hash(asset.content))).collect()
});

/// The address of a file by its name.
///
/// # Panics
/// If there is no file of this name.
pub(super) fn address(name: &str) -> String {
    let path = format!("{FOLDER}{name}");
    let hash = HASHES.get(path.as_str()).expect("a file of the pages");
    format!("{path}?v={hash}")
}

pub(super) fn served() -> Vec<Served> {
    let serve = |asset: Asset| -> Served {
        let Asset { path, media_type, content } = asset;
        let handler = move |RawQuery(query): RawQuery| async move {
            let is_named = query.as_deref().and_then(|query| query.strip_prefix("v="))
                == HASHES.get(path).map(String::as_str);
            let kept = if is_named { KEPT } else { ASKED_AGAIN };
            let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, kept)];
            (headers, content).into_response()
        };
        (path, get(handler))
    };
    ASSETS.into_iter().map(serve).collect()
}
