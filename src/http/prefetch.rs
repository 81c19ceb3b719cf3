//! Whether a request says of itself that nobody asked for it: browsers that fetch ahead, and previews. A link is not to be used up
//! by one (contract, Links, Uses).

use actix_web::http::header::HeaderMap;

/// Headers that say so: `Sec-Purpose` (Fetch, a structured field), and what was sent before there was that one.
const NAMES: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// What they say.
const WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];

/// Whether one of its headers says so, as an item or as the parameter of one (`prefetch;prerender`).
pub(super) fn says_so(headers: &HeaderMap) -> bool {
    NAMES.iter().flat_map(|name| headers.get_all(*name)).any(|value| is_ahead(value.as_bytes()))
}

fn is_ahead(value: &[u8]) -> bool {
    let mut words = value.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-'));
    words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn says(name: &str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        says_so(&headers)
    }

    #[test]
    fn what_browsers_and_previews_send_ahead_is_known() {
        for (name, value) in [
            // Fetch §3.5: a structured field; Chromium sends the second and the third.
            ("Sec-Purpose", "prefetch"),
            ("Sec-Purpose", "prefetch;prerender"),
            ("Sec-Purpose", "prefetch;anonymous-client-ip"),
            ("Sec-Purpose", "prefetch; prerender"),
            ("Sec-Purpose", "prerender"),
            ("Sec-Purpose", "Prefetch"),
            ("Purpose", "prefetch"),
            ("Purpose", "preview"),
            ("X-Purpose", "preview"),
            ("X-Moz", "prefetch"),
        ] {
            assert!(says(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("Sec-Purpose", ""),
            ("Sec-Purpose", "navigate"),
            ("Purpose", "prefetched"),
            ("Sec-Fetch-Purpose", "prefetch"),
            ("Purpose", "reading"),
        ] {
            assert!(!says(name, value), "{name}: {value}");
        }
    }
}
