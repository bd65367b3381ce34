//! MAC addresses of one host.

use super::{Wrong, in_plain_signs};
use crate::diagnostic::{Code, quote};
use crate::model::MacAddress;

/// Six pairs of hexadecimal digits with colons between them, the address of one host.
pub(crate) fn mac(text: &str) -> Result<MacAddress, Wrong> {
    let Ok(address) = text.parse::<MacAddress>() else {
        if let Some(wrong) = in_plain_signs(text, Code::BadMac, mac) {
            return Err(wrong);
        }
        let wrong = Wrong::new(
            Code::BadMac,
            format!("{} is not a MAC address", quote(text)),
        );
        return Err(match other_notation(text) {
            Some(address) => wrong.help(format!("write {address}")),
            None => {
                wrong.help("write 02:00:00:00:00:22; an address is six pairs of hexadecimal digits")
            }
        });
    };
    if address.is_host() {
        return Ok(address);
    }
    let what = match address.0 {
        [0, 0, 0, 0, 0, 0] => "is nobody's MAC address",
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => "is everybody's MAC address, the broadcast one",
        _ => "is the MAC address of a group (the first byte is odd)",
    };
    Err(Wrong::new(Code::BadMac, format!("{} {what}", quote(text)))
        .help("write 02:00:00:00:00:22; it is the address of one host"))
}

/// The address, if it is written as some switches and systems do: `0200.0000.0022`, `02-00-00-00-00-22`.
fn other_notation(text: &str) -> Option<MacAddress> {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, '.' | '-' | ':'))
        .collect();
    let is_address = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_address {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let [_, _, bytes @ ..] = number.to_be_bytes();
    Some(MacAddress(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_hosts_only() {
        assert_eq!(
            mac("02:00:00:00:00:2a"),
            Ok(MacAddress([2, 0, 0, 0, 0, 42]))
        );
        assert_eq!(
            mac("02:00:00:00:00:2A"),
            Ok(MacAddress([2, 0, 0, 0, 0, 42]))
        );
        for (bad, hint) in [
            ("0200.0000.0022", "write 02:00:00:00:00:22"),
            ("02-00-00-00-00-22", "write 02:00:00:00:00:22"),
            ("2:0:0:0:0:22", "six pairs"),
            ("02:00:00:00:00:2g", "six pairs"),
            ("02:00:00:00:00:22:33", "six pairs"),
            ("", "six pairs"),
            ("00:00:00:00:00:00", "one host"),
            ("ff:ff:ff:ff:ff:ff", "one host"),
            ("01:00:5e:00:00:01", "one host"),
        ] {
            let wrong = mac(bad).unwrap_err();
            assert!(wrong.help.unwrap().contains(hint), "{bad}");
        }
    }
}
