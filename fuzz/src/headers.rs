//! Headers of requests: `Range`, `If-Range`, and the forwarding headers.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use daylily::config::ForwardedHeader;
use daylily::http::{Proxies, Wanted, if_range_holds, wanted};

/// `size LF header`: the part lies in the file, and is what RFC 9110 §14.1.2 says, computed with numbers that cannot overflow.
pub fn range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((size, header)) = text.split_once('\n') else { return };
    let Ok(size) = size.parse::<u64>() else { return };
    // The arithmetic below holds 38 digits.
    if header.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 38) {
        return;
    }
    let answer = wanted(Some(header), size);
    if let Wanted::Part(part) = &answer {
        crate::taken();
        assert!(part.start < part.end && part.end <= size, "beyond the file");
    }
    if let Some(expected) = of_the_rfc(header, u128::from(size)) {
        let got = match &answer {
            Wanted::Part(part) => Some((u128::from(part.start), u128::from(part.end))),
            _ => None,
        };
        assert_eq!(got, expected, "not the part that was asked for");
    } else {
        assert_eq!(answer, Wanted::Whole, "what is no single range gets the whole");
    }
    let etag = "\"a\"";
    assert_eq!(if_range_holds(Some(header), etag, "never"), [etag, "never"].contains(&header.trim()));
}

/// `None`: no ranges-specifier of one range; `Some(None)`: nothing satisfiable (or an empty file's last bytes); else first and end.
fn of_the_rfc(header: &str, size: u128) -> Option<Option<(u128, u128)>> {
    let (unit, set) = header.split_once('=')?;
    (unit.trim().eq_ignore_ascii_case("bytes")).then_some(())?;
    let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
    let number = |text: &str| -> Option<u128> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
        text.parse().ok()
    };
    match (first, last) {
        ("", suffix) => {
            let count = number(suffix)?;
            Some((count > 0 && size > 0).then(|| (size - count.min(size), size)))
        }
        (first, "") => {
            let first = number(first)?;
            Some((first < size).then_some((first, size)))
        }
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(())?;
            Some((first < size).then(|| (first, (last + 1).min(size))))
        }
    }
}

/// `lines of a forwarding header`: nobody but a trusted proxy is believed, and a trusted address is never the answer where a stranger
/// stands to the right of it.
pub fn forwarded(data: &[u8]) {
    for (header, name) in
        [(ForwardedHeader::XForwardedFor, "x-forwarded-for"), (ForwardedHeader::Forwarded, "forwarded")]
    {
        let mut headers = HeaderMap::new();
        for line in data.split(|byte| *byte == b'\n') {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        let proxies = Proxies { trusted: vec!["10.0.0.0/8".parse().expect("a network")], header };
        let stranger: IpAddr = "203.0.113.9".parse().expect("an address");
        assert_eq!(proxies.caller(stranger, &headers), stranger, "a stranger is believed");
        let nobody = Proxies { trusted: Vec::new(), header: proxies.header };
        let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
        assert_eq!(nobody.caller(proxy, &headers), proxy);
        let believed = proxies.caller(proxy, &headers);
        if believed != proxy {
            crate::taken();
        }
        assert_eq!(believed, believed.to_canonical());
        // What the nearest proxy adds at the right end is what counts.
        let nearest = if name == "forwarded" { "for=198.51.100.7" } else { "198.51.100.7" };
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(nearest));
        assert_eq!(
            proxies.caller(proxy, &headers).to_string(),
            "198.51.100.7",
            "what stands left of a stranger is believed"
        );
    }
}
