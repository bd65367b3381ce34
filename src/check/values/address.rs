//! Addresses, alone and with a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Wrong;
use super::number::{is_digits, without_leading_zeros};
use super::port::port;
use crate::diagnostic::{Code, quote};

/// An address, and perhaps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The address.
    pub(crate) address: IpAddr,
    /// The port, where one is written.
    pub(crate) port: Option<u16>,
    /// A bare IPv6 address whose last group reads like a port: what it would be then.
    pub(crate) misread: Option<(Ipv6Addr, u16)>,
}

/// One address, without a port.
pub(crate) fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| explain(text, Wanted::Address))
}

/// `ADDR` or `ADDR:PORT`, IPv6 with a port in brackets. `[2001:db8::1]` is an address that nobody
/// misreads.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(Endpoint {
            address,
            port: None,
            misread: misreading(text),
        });
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (address, rest) = if let Some((inside, rest)) = bracketed {
        let address = inside.parse::<Ipv6Addr>();
        let address = address.map_err(|_| explain_brackets(text, inside, rest))?;
        (IpAddr::V6(address), rest)
    } else {
        let colon = text.find(':').unwrap_or(text.len());
        let (first, rest) = text.split_at(colon);
        let address = first.parse::<Ipv4Addr>();
        let address = address.map_err(|_| explain(text, Wanted::Endpoint))?;
        (IpAddr::V4(address), rest)
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) => Some(port(digits)?),
        None if rest.is_empty() => None,
        None => return Err(explain(text, Wanted::Endpoint)),
    };
    Ok(Endpoint {
        address,
        port,
        misread: None,
    })
}

/// `2001:db8::1:80` as an address and a port, if its last group has two digits or more and no letters, and
/// what stands before it is an address too.
fn misreading(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (before, last) = text.rsplit_once(':')?;
    if last.len() < 2 || !is_digits(last) || without_leading_zeros(last).is_some() {
        return None;
    }
    Some((before.parse().ok()?, last.parse().ok()?))
}

/// What stands where the text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Address,
    Endpoint,
}

fn wrong(text: &str, what: &str) -> Wrong {
    Wrong::new(Code::BadAddress, format!("{} {what}", quote(text)))
}

fn explain(text: &str, wanted: Wanted) -> Wrong {
    if let Some(wrong) = explain_notation(text) {
        return wrong;
    }
    if wanted == Wanted::Address
        && let Ok(endpoint) = endpoint(text)
    {
        let address = endpoint.address;
        return match endpoint.port {
            Some(_) => wrong(text, "has a port where only an address can stand"),
            None => wrong(text, "has brackets, which only go with a port"),
        }
        .help(format!("write {address}"));
    }
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    if let Some(wrong) = explain_ipv4(text, host) {
        return wrong;
    }
    if host.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains("::") {
        let example = match wanted {
            Wanted::Address => "192.0.2.10 or 2001:db8::10",
            Wanted::Endpoint => "10.20.0.11:8080 or [2001:db8::11]:8080",
        };
        return wrong(text, "is not an address").help(format!(
            "write an address such as {example}; host names are not looked up"
        ));
    }
    wrong(text, "is not an address")
}

/// What is an address in another notation, or more than one address.
fn explain_notation(text: &str) -> Option<Wrong> {
    if let Some((address, _)) = text.split_once('%')
        && let Ok(address) = address.trim_start_matches('[').parse::<Ipv6Addr>()
    {
        return Some(
            wrong(text, "has an IPv6 zone, which packets do not carry").help(format!(
                "write {address}; interfaces are named by `mode dr on` and `via`"
            )),
        );
    }
    if let Some((address, length)) = text.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
        && is_digits(length)
    {
        return Some(
            wrong(text, "is a prefix where one address stands").help(format!("write {address}")),
        );
    }
    if let Some((first, last)) = text.split_once('-')
        && first.parse::<IpAddr>().is_ok()
        && (last.parse::<IpAddr>().is_ok() || is_digits(last))
    {
        return Some(
            wrong(text, "is a range where one address stands")
                .help("several servers are written 10.20.0.[11-13], several VIPs with commas"),
        );
    }
    None
}

fn explain_ipv4(text: &str, host: &str) -> Option<Wrong> {
    let parts: Vec<_> = host.split('.').take(6).collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_digits(part)) {
        return None;
    }
    if parts.len() != 4 {
        return Some(
            wrong(text, "is not an address")
                .help("an IPv4 address has four numbers, such as 10.0.0.1"),
        );
    }
    if let Some(part) = parts
        .iter()
        .find(|part| !matches!(part.parse(), Ok(0..=255)))
    {
        return Some(
            wrong(text, "is not an address").help(format!("{} is greater than 255", quote(part))),
        );
    }
    let plain: Vec<_> = parts
        .iter()
        .map(|part| without_leading_zeros(part).unwrap_or(part))
        .collect();
    let plain = plain.join(".");
    (plain != host).then(|| {
        wrong(
            text,
            "has a number with a leading zero, which some programs read as octal",
        )
        .help(format!("write {}", text.replacen(host, &plain, 1)))
    })
}

fn explain_brackets(text: &str, inside: &str, rest: &str) -> Wrong {
    if inside.parse::<Ipv4Addr>().is_ok() {
        return wrong(text, "has brackets, which only go with IPv6")
            .help(format!("write {inside}{}", quoted_rest(rest)));
    }
    explain(text, Wanted::Endpoint)
}

/// What follows the brackets, if it is short enough to be shown.
fn quoted_rest(rest: &str) -> &str {
    let is_port = rest.strip_prefix(':').is_some_and(is_digits) && rest.len() <= 6;
    if is_port { rest } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_endpoints() {
        for (text, address, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
            ("[2001:db8::1:80]", "2001:db8::1:80", None),
        ] {
            let endpoint = endpoint(text).unwrap();
            assert_eq!(endpoint.address, address.parse::<IpAddr>().unwrap());
            assert_eq!((endpoint.port, endpoint.misread), (port, None), "{text}");
        }
    }

    #[test]
    fn sees_what_reads_like_a_port() {
        let misread = |text: &str| endpoint(text).unwrap().misread.map(|(_, port)| port);
        assert_eq!(misread("2001:db8::1:80"), Some(80));
        assert_eq!(misread("2001:db8::8080:443"), Some(443));
        // `2001:db8:` is no address, so nobody means a port.
        assert_eq!(misread("2001:db8::80"), None);
        assert_eq!(misread("2001:db8::1:8f"), None);
        assert_eq!(misread("2001:db8::1:1"), None);
        assert_eq!(misread("2001:db8:0:0:0:0:1:80"), None);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message, help) in [
            ("10.0.0.01", "octal", "write 10.0.0.1"),
            ("010.0.0.1:80", "octal", "write 10.0.0.1:80"),
            ("10.0.0", "not an address", "four numbers"),
            ("10.0.0.0.1", "not an address", "four numbers"),
            ("10.0.0.256", "not an address", "`256` is greater than 255"),
            ("10.0.0.1/24", "is a prefix", "write 10.0.0.1"),
            ("10.0.0.1-9", "is a range", "10.20.0.[11-13]"),
            ("fe80::1%eth0", "zone", "write fe80::1"),
            ("[fe80::1%eth0]:80", "zone", "write fe80::1"),
            ("web.example.com", "not an address", "host names"),
            ("web.example.com:80", "not an address", "host names"),
            ("[10.0.0.1]:80", "only go with IPv6", "write 10.0.0.1:80"),
        ] {
            let wrong = endpoint(text).unwrap_err();
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert!(wrong.help.unwrap().contains(help), "{text}");
        }
        assert_eq!(endpoint("10.0.0.1:0").unwrap_err().code, Code::BadPort);
        assert_eq!(endpoint("10.0.0.1:").unwrap_err().code, Code::BadPort);
        assert_eq!(endpoint("[::1]80").unwrap_err().code, Code::BadAddress);
    }

    #[test]
    fn an_address_alone_has_no_port() {
        for (text, message, help) in [
            ("10.0.0.1:80", "has a port", "write 10.0.0.1"),
            ("[2001:db8::1]:80", "has a port", "write 2001:db8::1"),
            ("[2001:db8::1]", "has brackets", "write 2001:db8::1"),
        ] {
            let wrong = address(text).unwrap_err();
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert_eq!(wrong.help.unwrap(), help, "{text}");
        }
    }
}
