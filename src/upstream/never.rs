//! Addresses that nothing of the gateway ever dials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
use crate::provider::switches::{Check, is_off};

/// Metadata services outside the link-local networks: Alibaba, Oracle, Azure's wire server.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// The same for IPv6: AWS (`fd00:ec2::254`, and its DNS, time and credential sisters) and Google.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What makes an address one that is never dialled, whatever the operator allows; `None` if nothing
/// does. Takes the [canonical](IpAddr::to_canonical) form.
#[must_use]
pub fn never_dialled(ip: IpAddr) -> Option<&'static str> {
    #[cfg(test)]
    if is_off(Check::NeverDialled) {
        return None;
    }
    match ip {
        IpAddr::V4(ip) => never_v4(ip),
        IpAddr::V6(ip) if ip.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("a multicast address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(ip) if METADATA_V6.contains(&ip) => Some("a metadata service"),
        IpAddr::V6(ip) => embedded_v4(ip).and_then(never_v4),
    }
}

fn never_v4(ip: Ipv4Addr) -> Option<&'static str> {
    if ip.octets().starts_with(&[0]) {
        // RFC 1122 section 3.2.1.3: "this network"; Linux connects 0.0.0.0 to loopback.
        Some("the unspecified address")
    } else if ip.is_link_local() {
        Some("a link-local address, where metadata services are")
    } else if ip.is_multicast() {
        Some("a multicast address")
    } else if ip.is_broadcast() {
        Some("the broadcast address")
    } else if METADATA_V4.contains(&ip) {
        Some("a metadata service")
    } else {
        None
    }
}

/// The IPv4 address that a NAT64 (RFC 6052 section 2.1), 6to4 (RFC 3056 section 2) or IPv4-compatible
/// (RFC 4291 section 2.5.5.1) address leads to.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0] if ip != Ipv6Addr::LOCALHOST => Some(v4(g, h)),
        _ => None,
    }
}
