//! How much of a client's address `persist` looks at.

use super::Wrong;
use super::number::decimal;
use crate::diagnostic::{Code, quote};

/// `source[/P4[/P6]]`: how many bits of an IPv4 and of an IPv6 client's address count.
pub(crate) fn client_prefixes(text: &str) -> Result<(u8, u8), Wrong> {
    let mut parts = text.split('/');
    let key = parts.next().unwrap_or_default();
    if key != "source" {
        let wrong = Wrong::new(
            Code::UnknownWord,
            format!("{} is not what `persist` goes by", quote(key)),
        );
        return Err(wrong.help("write `source`: a client comes back from another port"));
    }
    let ipv4 = length(parts.next(), "IPv4 prefix length", 32)?;
    let ipv6 = length(parts.next(), "IPv6 prefix length", 128)?;
    match parts.next() {
        None => Ok((ipv4, ipv6)),
        Some(_) => Err(Wrong::new(
            Code::BadNumber,
            format!("{} has more than two prefix lengths", quote(text)),
        )
        .help("write source/24/56: the first is for IPv4, the second for IPv6")),
    }
}

fn length(part: Option<&str>, what: &str, bits: u8) -> Result<u8, Wrong> {
    let Some(part) = part else { return Ok(bits) };
    if let Ok(mask) = part.parse::<std::net::Ipv4Addr>() {
        let ones = mask.to_bits().leading_ones();
        let message = format!("{} is a netmask, not a prefix length", quote(part));
        let wrong = Wrong::new(Code::BadNumber, message);
        let is_mask = ones > 0 && ones + mask.to_bits().trailing_zeros() >= 32;
        return Err(if is_mask {
            wrong.help(format!("write source/{ones}"))
        } else {
            wrong.help("write source/24")
        });
    }
    let length =
        decimal(part, Code::BadNumber, what, &(1..=u32::from(bits))).map_err(|wrong| Wrong {
            help: Some(match bits {
                32 => "write source/24; a length of IPv4 is from 1 to 32".to_owned(),
                _ => "write source/24/56; a length of IPv6 is from 1 to 128".to_owned(),
            }),
            ..wrong
        })?;
    Ok(u8::try_from(length).unwrap_or(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths() {
        assert_eq!(client_prefixes("source"), Ok((32, 128)));
        assert_eq!(client_prefixes("source/24"), Ok((24, 128)));
        assert_eq!(client_prefixes("source/24/56"), Ok((24, 56)));
        assert_eq!(client_prefixes("source/1/1"), Ok((1, 1)));
        for (bad, code) in [
            ("source/0", Code::BadNumber),
            ("source/33", Code::BadNumber),
            ("source/24/129", Code::BadNumber),
            ("source/024", Code::BadNumber),
            ("source/", Code::BadNumber),
            ("source/24/56/1", Code::BadNumber),
            ("source-port", Code::UnknownWord),
            ("", Code::UnknownWord),
        ] {
            assert_eq!(client_prefixes(bad).unwrap_err().code, code, "{bad}");
        }
    }
}
