//! The name that a request gives the server. A page of an attacker whose name is made to resolve to
//! the server (DNS rebinding) cannot make a browser send another one.

use std::net::IpAddr;

use http::Uri;
use http::header::{HOST, HeaderMap};

/// The host of a request, without port and root label. `None` if the request names none.
pub(crate) fn name(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str))?; // HTTP/2
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// Whether nobody can make the name resolve to another machine.
pub(crate) fn is_safe(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || address.parse::<IpAddr>().is_ok()
}

/// Whether the name is one of a cluster or of a local network, which no public DNS has.
pub(crate) fn is_internal(name: &str) -> bool {
    !name.contains('.')
        || [".svc", ".cluster.local", ".localhost", ".internal"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> Option<String> {
        let headers = [(HOST, value.parse().unwrap())].into_iter().collect();
        name(&headers, &Uri::from_static("/"))
    }

    #[test]
    fn a_name_has_no_port_and_no_root_label() {
        for (value, expected) in [
            ("Demo.AI.svc.:7000", "demo.ai.svc"),
            ("[::1]:7000", "[::1]"),
            ("[::1]", "[::1]"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(host(value).as_deref(), Some(expected));
        }
        let uri = Uri::from_static("http://demo:7000/mcp");
        assert_eq!(name(&HeaderMap::new(), &uri).as_deref(), Some("demo"));
        assert_eq!(name(&HeaderMap::new(), &Uri::from_static("/")), None);
    }

    #[test]
    fn names_that_public_dns_may_have_are_neither_safe_nor_internal() {
        for name in ["evil.example", "demo.ai.svc.evil.example", "10.0.0.1.evil.example", "1.2.3"] {
            assert!(!is_safe(name) && !is_internal(name), "{name}");
        }
        assert!(is_safe("localhost") && is_safe("[2001:db8::7]") && is_safe("10.0.0.1"));
        for name in ["demo-admin", "demo.ai.svc", "demo.ai.svc.cluster.local"] {
            assert!(is_internal(name) && !is_safe(name), "{name}");
        }
    }
}
