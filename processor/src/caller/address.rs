//! Which addresses are called: those of the public internet. An address that hides a private one inside is private.
//!
//! The lists are those of the IANA special-purpose registries, and addresses at which clouds answer about the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not called; `None`: it is public.
pub fn refuses(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refuses_v4(address),
        IpAddr::V6(address) => refuses_v6(address),
    }
}

fn refuses_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, 0, 0, 0) => Some("unspecified"),
        (0, ..) => Some("reserved"),
        (127, ..) => Some("this machine's"),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Some("private"),
        (100, 64..=127, ..) => Some("carrier-grade NAT"),
        (169, 254, ..) => Some("link-local"),
        (168, 63, 129, 16) => Some("a cloud's metadata"),
        (192, 0, 0, _) | (192, 88, 99, _) | (198, 18..=19, ..) => Some("reserved"),
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => Some("documentation"),
        (224..=239, ..) => Some("multicast"),
        (240..=255, ..) => Some("reserved"),
        _ => None,
    }
}

fn refuses_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high, low].map(u16::to_be_bytes);
        refuses_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine's"),
        // IPv4 in its three notations, and behind NAT64: what counts is who is reached.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4: the relay is the IPv4 address inside.
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, identifiers that are no places.
        [0x2001, 0..=0x1ff, ..] => Some("reserved"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        // ISATAP: the last half names an IPv4 address.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if embedded(high, low).is_some() => embedded(high, low),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some("private"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<&str>) {
        let parsed = address.parse().unwrap_or_else(|_| panic!("{address}"));
        assert_eq!(refuses(parsed), expected, "{address}");
    }

    #[test]
    fn public_addresses_are_called() {
        for address in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "169.253.1.1", "198.20.0.1"] {
            check(address, None);
        }
        for address in
            ["2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
        {
            check(address, None);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (address, reason) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "reserved"),
            ("127.0.0.1", "this machine's"),
            ("127.255.255.254", "this machine's"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.100.100.200", "carrier-grade NAT"),
            ("169.254.169.254", "link-local"),
            ("168.63.129.16", "a cloud's metadata"),
            ("192.0.0.192", "reserved"),
            ("192.0.2.1", "documentation"),
            ("198.18.0.1", "reserved"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "this machine's"),
            ("::127.0.0.1", "this machine's"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fc00::1", "private"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("100::1", "reserved"),
            ("4000::1", "reserved"),
        ] {
            check(address, Some(reason));
        }
    }

    #[test]
    fn an_address_that_hides_a_private_one_is_refused() {
        for (address, reason) in [
            ("::ffff:127.0.0.1", "this machine's"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0:10.0.0.1", "private"),
            ("64:ff9b::7f00:1", "this machine's"),
            ("64:ff9b:1::808:808", "reserved"),
            ("2002:7f00:1::1", "this machine's"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
            ("2606:4700::5efe:10.0.0.1", "private"),
        ] {
            check(address, Some(reason));
        }
    }
}
