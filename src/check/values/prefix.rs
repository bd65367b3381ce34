//! Prefixes of `allow` and `deny`.

use std::net::{IpAddr, Ipv4Addr};

use super::address::address;
use super::number::decimal;
use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::model::{Family, Prefix};

/// `ADDR/LENGTH`, or an address alone; and whether bits beyond the length were set.
pub(crate) fn prefix(text: &str) -> Result<(Prefix, bool), Wrong> {
    let (base, length) = match text.split_once('/') {
        Some((base, length)) => (base, Some(length)),
        None => (text, None),
    };
    let base: IpAddr = base.parse().map_err(|_| explain(text, base))?;
    if let IpAddr::V6(mapped) = base
        && let Some(v4) = mapped.to_ipv4_mapped()
    {
        let message = format!(
            "{} is an IPv4-mapped IPv6 address, which no packet carries",
            quote(text)
        );
        let wrong = Wrong::new(Code::BadPrefix, message);
        let length = length.and_then(|l| l.parse::<u8>().ok()).unwrap_or(128);
        return Err(match length.checked_sub(96) {
            Some(length @ 0..=32) => wrong.help(format!("write {v4}/{length}")),
            _ => wrong,
        });
    }
    let bits = Family::of(base).bits();
    let length = match length {
        None => bits,
        Some(length) => length_of(length, base, bits)?,
    };
    let Some(prefix) = Prefix::new(base, length) else {
        return Err(wrong(text));
    };
    Ok((prefix, prefix.address() != base))
}

fn length_of(text: &str, base: IpAddr, bits: u8) -> Result<u8, Wrong> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let ones = mask.to_bits().leading_ones();
        let wrong = Wrong::new(
            Code::BadPrefix,
            format!("{} is a netmask, not a prefix length", quote(text)),
        );
        return Err(
            if ones + mask.to_bits().trailing_zeros() == 32 && bits == 32 {
                wrong.help(format!("write {base}/{ones}"))
            } else {
                wrong
            },
        );
    }
    let range = 0..=u32::from(bits);
    // The fault is at the whole prefix.
    let length = decimal(text, Code::BadPrefix, "prefix length", &range).map_err(|wrong| {
        let whole = |help: String| match help.strip_prefix("write ") {
            Some(length) => format!("write {base}/{length}"),
            None => help,
        };
        Wrong {
            help: wrong.help.map(whole),
            ..wrong
        }
    })?;
    u8::try_from(length).map_err(|_| wrong(text))
}

fn wrong(text: &str) -> Wrong {
    Wrong::new(Code::BadPrefix, format!("{} is not a prefix", quote(text)))
}

fn explain(text: &str, base: &str) -> Wrong {
    if let Some(wrong) = in_plain_signs(text, Code::BadPrefix, prefix) {
        return wrong;
    }
    if matches!(text, "any" | "all" | "*") {
        return wrong(text).help("write 0.0.0.0/0, ::/0");
    }
    let from_address = address(base).err();
    let wrong = match &from_address {
        // Leading zeros, zones, ports: what is wrong with the address is wrong with the prefix.
        Some(wrong)
            if base == text
                && !wrong
                    .help
                    .as_deref()
                    .unwrap_or_default()
                    .contains("192.0.2.10") =>
        {
            Wrong {
                code: Code::BadPrefix,
                ..wrong.clone()
            }
        }
        Some(wrong) if base == text => Wrong {
            help: None,
            code: Code::BadPrefix,
            ..wrong.clone()
        },
        _ => wrong(text),
    };
    if wrong.message.contains("is a range") {
        return wrong.help("write 198.51.100.0/24; name the prefixes that it is made of");
    }
    if wrong.help.is_none() {
        return wrong.help("write 198.51.100.0/24; of IPv6 such as 2001:db8::/48");
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prefixes() {
        for (text, shown, host_bits) in [
            ("10.0.0.0/8", "10.0.0.0/8", false),
            ("10.1.2.3/8", "10.0.0.0/8", true),
            ("10.1.2.3", "10.1.2.3/32", false),
            ("0.0.0.0/0", "0.0.0.0/0", false),
            ("1.0.0.0/0", "0.0.0.0/0", true),
            ("2001:db8::/48", "2001:db8::/48", false),
            ("2001:db8::1", "2001:db8::1/128", false),
            ("2001:db8::1/64", "2001:db8::/64", true),
            ("::/0", "::/0", false),
        ] {
            let (prefix, bits) = prefix(text).unwrap();
            assert_eq!((prefix.to_string().as_str(), bits), (shown, host_bits));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message, help) in [
            (
                "10.0.0.0/33",
                "prefix length `33` is out of range",
                "from 0 to 32",
            ),
            (
                "2001:db8::/129",
                "prefix length `129` is out of range",
                "from 0 to 128",
            ),
            ("10.0.0.0/08", "leading zero", "write 10.0.0.0/8"),
            ("10.0.0.0/", "`` is not a prefix length", "from 0 to 32"),
            ("10.0.0.0/255.255.255.0", "netmask", "write 10.0.0.0/24"),
            ("10.0.0.0-10.0.0.9", "is a range", "made of"),
            ("any", "is not a prefix", "0.0.0.0/0, ::/0"),
            ("office", "is not an address", "write 198.51.100.0/24"),
            ("10.0.0.01", "octal", "write 10.0.0.1"),
            ("::ffff:10.0.0.0/104", "IPv4-mapped", "write 10.0.0.0/8"),
            ("::ffff:10.0.0.1", "IPv4-mapped", "write 10.0.0.1/32"),
        ] {
            let wrong = prefix(text).unwrap_err();
            assert_eq!(wrong.code, Code::BadPrefix, "{text}");
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert!(wrong.help.unwrap().contains(help), "{text}");
        }
    }
}
