//! Addresses as they are typed: where an upstream is, and where something listens. Parsed once, with the rule that a
//! wrong one breaks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::name;

const FORM: &str = "must be HOST:PORT, as in 10.0.0.5:8080, [2001:db8::5]:8080 or shop.internal:8080";
const PORT_RULE: &str = "the port must be a number from 1 to 65535, and the end";

/// Where an upstream is; plain HTTP/1.1 is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// What Envoy takes as it is, or has to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

impl Endpoint {
    /// Its address; none for a name, but for the one whose address everybody knows.
    pub(super) fn place(&self) -> Option<SocketAddr> {
        let ip = match &self.host {
            Host::Ip(ip) => *ip,
            Host::Name(name) if name == "localhost" => Ipv4Addr::LOCALHOST.into(),
            Host::Name(_) => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }

    /// Whether both are known to be one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self == other || self.place().is_some_and(|place| Some(place) == other.place())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// `HOST:PORT` of an upstream.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text.split_once("://") {
        Some(("https", _)) => return Err(format!("{FORM}; TLS to upstreams is not written by init")),
        Some(_) => return Err(format!("{FORM}, without a scheme")),
        None => {}
    }
    if text.starts_with('[') {
        return endpoint_of(socket(text).ok_or(FORM)?);
    }
    let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
    if host.contains(':') {
        return Err(format!("{FORM}; an IPv6 address stands in brackets"));
    }
    let port = port_of(port)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return endpoint_of(SocketAddr::new(ip, port));
    }
    // The dot at the end of a fully qualified name.
    name::check(host.strip_suffix('.').unwrap_or(host))?;
    Ok(Endpoint { host: Host::Name(host.to_ascii_lowercase()), port })
}

fn endpoint_of(address: SocketAddr) -> Result<Endpoint, String> {
    let (ip, port) = (address.ip().to_canonical(), address.port());
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Err("must be an address that one can connect to".into());
    }
    if port == 0 {
        return Err(PORT_RULE.into());
    }
    Ok(Endpoint { host: Host::Ip(ip), port })
}

fn port_of(text: &str) -> Result<u16, String> {
    let port = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    port.filter(|port| *port > 0).ok_or_else(|| PORT_RULE.into())
}

/// Without a zone, which no peer would understand.
fn socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|_| !text.contains('%'))
}

/// `IP:PORT` that anybody may reach.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    const RULE: &str = "must be IP:PORT, as in 127.0.0.1:10000 for this machine alone or 0.0.0.0:10000 for all; names \
                        are not listened on";
    let address = socket(text).ok_or(RULE)?;
    if address.port() == 0 {
        return Err(PORT_RULE.into());
    }
    if address.ip().is_multicast() {
        return Err(RULE.into());
    }
    Ok(address)
}

/// `IP:PORT` that only this machine reaches.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    match listen(text) {
        Ok(address) if !address.ip().is_loopback() => {
            Err("must be on loopback, as 127.0.0.1 is: anyone who reaches it can command the proxy".into())
        }
        Ok(address) => Ok(address),
        Err(_) => Err("must be IP:PORT on loopback, as in 127.0.0.1:7070, with a port from 1 to 65535".into()),
    }
}

/// Whether two programs cannot listen on these, or one of them would reach the other there.
pub(super) fn is_same_place(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    let covers = |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_an_address_or_a_name_with_a_port() {
        for (typed, shown) in [
            ("10.0.0.5:8080", "10.0.0.5:8080"),
            ("[2001:DB8::5]:80", "[2001:db8::5]:80"),
            ("[::ffff:10.0.0.5]:80", "10.0.0.5:80"),
            ("Shop.internal:65535", "shop.internal:65535"),
            ("shop_v2:80", "shop_v2:80"),
            ("shop.prod.svc.cluster.local.:80", "shop.prod.svc.cluster.local.:80"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(endpoint(typed).map(|it| it.to_string()), Ok(shown.into()), "{typed}");
        }
    }

    #[test]
    fn an_upstream_that_breaks_a_rule_is_refused_with_the_rule() {
        for (typed, rule) in [
            ("10.0.0.5", "must be HOST:PORT"),
            ("", "must be HOST:PORT"),
            ("10.0.0.5:0", "from 1 to 65535"),
            ("10.0.0.5:65536", "from 1 to 65535"),
            ("10.0.0.5:+80", "from 1 to 65535"),
            ("10.0.0.5:8080/api", "from 1 to 65535"),
            ("10.0.0.5:", "from 1 to 65535"),
            ("[::1]:0", "from 1 to 65535"),
            ("::1:8080", "in brackets"),
            ("[::1]", "must be HOST:PORT"),
            ("[fe80::1%2]:80", "must be HOST:PORT"),
            ("http://shop:80", "without a scheme"),
            ("https://shop:443", "TLS to upstreams"),
            ("10.0.0.300:80", "neither a name nor an address"),
            ("sh op:80", "may hold"),
            ("-shop:80", "begin or end"),
            (":80", "empty label"),
            ("0.0.0.0:80", "can connect to"),
            ("[::]:80", "can connect to"),
            ("224.0.0.1:80", "can connect to"),
        ] {
            let said = endpoint(typed).unwrap_err();
            assert!(said.contains(rule), "{typed}: {said}");
        }
    }

    #[test]
    fn a_listener_has_an_address_and_what_commands_the_proxy_is_on_loopback() {
        assert_eq!(listen("0.0.0.0:80").map(|it| it.to_string()), Ok("0.0.0.0:80".into()));
        assert!(listen("localhost:80").unwrap_err().contains("names are not listened on"));
        assert!(listen("127.0.0.1:0").unwrap_err().contains("from 1 to 65535"));
        assert!(loopback("127.0.0.2:7070").is_ok() && loopback("[::1]:7070").is_ok());
        assert!(loopback("0.0.0.0:7070").unwrap_err().contains("anyone who reaches it"));
        assert!(loopback("7070").unwrap_err().contains("IP:PORT on loopback"));
    }

    #[test]
    fn two_places_are_one_where_an_unspecified_address_covers_the_other() {
        let same = |a: &str, b: &str| is_same_place(a.parse().unwrap(), b.parse().unwrap());
        assert!(same("127.0.0.1:80", "127.0.0.1:80") && !same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(same("0.0.0.0:80", "127.0.0.1:80") && same("127.0.0.1:80", "[::]:80"));
        assert!(!same("0.0.0.0:80", "[::1]:80") && !same("127.0.0.1:80", "127.0.0.2:80"));
    }
}
