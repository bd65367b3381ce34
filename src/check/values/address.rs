//! Addresses, alone and with a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::number::{is_digits, without_leading_zeros};
use super::port::port;
use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::model::Prefix;

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
        Some("") => return Err(explain(text, Wanted::Endpoint)),
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
    let in_plain_signs = match wanted {
        Wanted::Address => in_plain_signs(text, Code::BadAddress, address),
        Wanted::Endpoint => in_plain_signs(text, Code::BadAddress, endpoint),
    };
    if let Some(wrong) = in_plain_signs {
        return wrong;
    }
    if let Some(wrong) = explain_notation(text) {
        return wrong;
    }
    if wanted == Wanted::Address
        && let Ok(endpoint) = endpoint(text)
    {
        let address = endpoint.address;
        return match endpoint.port {
            Some(_) => wrong(text, "has a port where only an address can stand"),
            None => wrong(
                text,
                "has brackets, and no port can stand here beside the address",
            ),
        }
        .help(format!("write {address}"));
    }
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    if let Some(wrong) = explain_ipv4(text, host) {
        return wrong;
    }
    if wanted == Wanted::Endpoint
        && let Some(digits) = text.strip_prefix(':').or(Some(text))
        && port(digits).is_ok()
    {
        return wrong(text, "is a port without an address").help(format!(
            "write 10.20.0.11:{digits}; the server's address stands before it"
        ));
    }
    let example = example(text, wanted);
    if host.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains("::") {
        return wrong(text, "is not an address")
            .help(format!("write {example}; host names are not looked up"));
    }
    wrong(text, "is not an address").help(format!(
        "write {example}; an address is all that can stand here"
    ))
}

/// An address, with the port of the text if it has one.
fn example(text: &str, wanted: Wanted) -> String {
    let port = text
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|digits| port(digits).is_ok());
    match (wanted, port) {
        (Wanted::Address, _) => "192.0.2.10".to_owned(),
        (Wanted::Endpoint, Some(port)) => format!("10.20.0.11:{port}"),
        (Wanted::Endpoint, None) => "10.20.0.11:8080".to_owned(),
    }
}

/// `10.20.0.11-13` and `10.20.0.11-10.20.0.13` as a `server` has them.
fn range_in_flb(first: &str, last: &str) -> String {
    let several = "several servers are written 10.20.0.[11-13], several VIPs with commas";
    let Some((network, first)) = first.rsplit_once('.') else {
        return several.to_owned();
    };
    let last = last.rsplit_once('.').map_or(last, |(_, last)| last);
    format!("write {network}.[{first}-{last}]; several VIPs stand with commas between them")
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
        && let Ok(length) = length.parse::<u8>()
    {
        let wrong = wrong(text, "is a prefix where one address stands");
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let is_network =
            length < bits && Prefix::new(address, length).is_some_and(|p| p.address() == address);
        // The first address of a network is nobody's.
        return Some(match (is_network, next(address)) {
            (true, Some(host)) => wrong.help(format!(
                "write {host}; each address stands for itself, and {address} is the network's own"
            )),
            _ => wrong.help(format!("write {address}")),
        });
    }
    if let Some(address) = text.strip_suffix(':')
        && let Ok(endpoint) = endpoint(address)
        && endpoint.port.is_none()
        && (address.starts_with('[') || endpoint.address.is_ipv4())
    {
        return Some(
            wrong(text, "ends with a `:` and has no port behind it")
                .help(format!("write {address}")),
        );
    }
    if let Some(addresses) = each_of_range(text) {
        return Some(
            wrong(text, "is a range, which only `server` takes").help(format!("write {addresses}")),
        );
    }
    if let Some((first, last)) = text.split_once('-')
        && first.parse::<IpAddr>().is_ok()
        && (last.parse::<IpAddr>().is_ok() || is_digits(last))
    {
        return Some(
            wrong(text, "is a range where one address stands").help(range_in_flb(first, last)),
        );
    }
    None
}

/// The address after an address.
fn next(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_add(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_add(1)?).into(),
    })
}

/// So many addresses are written out.
const WRITTEN_OUT: u8 = 32;

/// The addresses of `192.0.2.[10-12]`, with commas between them.
fn each_of_range(text: &str) -> Option<String> {
    let (before, range) = text.strip_suffix(']')?.split_once('[')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u8>().ok()?, last.parse::<u8>().ok()?);
    format!("{before}{first}").parse::<Ipv4Addr>().ok()?;
    let is_few = last.checked_sub(first)? < WRITTEN_OUT;
    is_few.then(|| {
        let all: Vec<String> = (first..=last)
            .map(|number| format!("{before}{number}"))
            .collect();
        all.join(", ")
    })
}

fn explain_ipv4(text: &str, host: &str) -> Option<Wrong> {
    let parts: Vec<_> = host.split('.').take(6).collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_digits(part)) {
        return None;
    }
    if parts.len() != 4 {
        return Some(
            wrong(text, "is not an address: one of IPv4 has four numbers")
                .help("write 10.0.0.1; the numbers have dots between them"),
        );
    }
    if let Some(part) = parts
        .iter()
        .find(|part| !matches!(part.parse(), Ok(0..=255)))
    {
        return Some(wrong(text, "is not an address").help(format!(
            "write {}; {} is greater than 255",
            text.replacen(*part, "255", 1),
            quote(part)
        )));
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
            ("10.0.0", "four numbers", "write 10.0.0.1"),
            ("10.0.0.0.1", "four numbers", "write 10.0.0.1"),
            (
                "10.0.0.256",
                "not an address",
                "write 10.0.0.255; `256` is greater than 255",
            ),
            ("10.0.0.1/24", "is a prefix", "write 10.0.0.1"),
            ("10.0.0.1-9", "is a range", "write 10.0.0.[1-9]"),
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
        for text in ["10.0.0.1:", "[2001:db8::1]:"] {
            let wrong = endpoint(text).unwrap_err();
            assert_eq!(wrong.code, Code::BadAddress);
            assert!(wrong.message.contains("no port behind it"), "{text}");
        }
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
