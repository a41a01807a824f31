//! Whose request it is, by address: the peer, or whom a trusted proxy speaks for.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::{IpNet, Ipv4Net};

use crate::error::ApiError;

/// The header in which proxies write whom they speak for, each behind those before it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a request comes from, in the extensions of every request. IPv4 is never written as IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let address = parts.extensions.get::<Self>().copied();
        address.ok_or_else(|| ApiError::internal("the request came without an address"))
    }
}

/// Addresses and networks of proxies whose word about their clients counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// True when this is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whom a request of this peer comes from.
    ///
    /// Each proxy adds whom it heard from at the end, and what stands before that it only passes on. So the list is read from its end,
    /// for as long as trusted proxies wrote it.
    pub fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        // A line that is no text is one entry that is no address.
        let mut entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        while self.contains(client) {
            let Some(before) = entries.next().and_then(address_in) else {
                break;
            };
            client = before;
        }
        client
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// One address, or a network in CIDR form. What is IPv4 in the form of IPv6 is IPv4.
fn network(text: &str) -> Result<IpNet, String> {
    const MAPPED: u8 = 96;
    let wrong = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
    let network = match text.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().into(),
        Err(_) => text.parse::<IpNet>().map_err(|_error| wrong())?,
    };
    match (network, network.addr().to_canonical()) {
        (IpNet::V6(long), IpAddr::V4(address)) => {
            let length = long.prefix_len().checked_sub(MAPPED).ok_or_else(wrong)?;
            let network = Ipv4Net::new(address, length).map_err(|_error| wrong())?;
            Ok(network.into())
        }
        _ => Ok(network),
    }
}

/// The address in an entry of the list, which some proxies write with a port, and IPv6 in brackets.
fn address_in(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse::<IpAddr>();
    let address = address.or_else(|_error| entry.parse::<SocketAddr>().map(|place| place.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Notes in a request whom it comes from.
pub async fn identify(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(&ConnectInfo(peer)) = peer {
        let client = proxies.client_of(peer.ip(), request.headers());
        request.extensions_mut().insert(ClientAddress(client));
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn client(proxies: &str, peer: &str, lines: &[&str]) -> String {
        let proxies = proxies.parse::<TrustedProxies>().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(FORWARDED_FOR, line);
        }
        let client = proxies.client_of(peer.parse().unwrap(), &headers);
        client.to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let proxies = "10.0.0.0/8, 2001:db8::1";
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.1"] as &[_], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.1,10.9.9.9"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["198.51.100.1", "2001:db8::1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "2001:db8::2"], "2001:db8::2"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, ünknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::2]:4711"], "2001:db8::2"),
            ("10.0.0.1", &["[2001:db8::2]"], "2001:db8::2"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(client(proxies, peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_listed() {
        assert_eq!(client("", "127.0.0.1", &["198.51.100.1"]), "127.0.0.1");
    }

    #[test]
    fn networks_are_read_in_every_form() {
        for (list, address) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.200"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.7"),
            ("2001:db8::/32,", "2001:db8:1::1"),
        ] {
            let proxies = list.parse::<TrustedProxies>().unwrap();
            assert!(proxies.contains(address.parse().unwrap()), "{list}");
            assert!(!proxies.contains("203.0.113.1".parse().unwrap()), "{list}");
        }
        for wrong in [
            "proxy.example.com",
            "10.0.0.0/33",
            "10.0.0.1:80",
            "::ffff:10.0.0.0/8",
        ] {
            let problem = wrong.parse::<TrustedProxies>().unwrap_err();
            assert!(problem.contains(wrong), "{problem}");
        }
    }

    proptest! {
        /// Whatever a client writes itself stands before what the proxy adds, and changes nothing.
        #[test]
        fn a_client_cannot_write_its_own_address(forged in "[ -~]{0,60}", client_bits in any::<u32>()) {
            let seen = IpAddr::from(client_bits.to_be_bytes());
            prop_assume!(!"10.0.0.0/8".parse::<TrustedProxies>().unwrap().contains(seen));
            let line = format!("{forged}, {seen}");
            prop_assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&line]), seen.to_string());
            let seen = seen.to_string();
            prop_assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&forged, &seen]), seen);
        }
    }
}
