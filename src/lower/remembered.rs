//! Under which keys the rules remember a client or a flow: what a rule computes from a packet, computed here.

use std::net::{IpAddr, SocketAddr};

use crate::model::{Family, Persistence, Protocol};
use crate::ruleset::{Expression, Mask, Name};
use crate::schedule::jhash::{bucket, kernel_jhash};

use super::layout::Layout;
use super::region::Region;
use super::{persist, track};

/// A packet of a client, as far as keys are made of it.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// The client's address and port.
    pub from: SocketAddr,
    /// The VIP and port that the packet is for.
    pub to: SocketAddr,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Where something is remembered: a map, and the bytes of the key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The name of the map that remembers.
    pub map: Name,
    /// The bytes of the element's key.
    pub key: Vec<u8>,
}

/// Where `persist` remembers the client of a packet for a service, of which `server` is the number of any server of the
/// packet's family, in tables of this layout; `None` where that is no number of a service that remembers its clients.
pub fn client(
    packet: &Packet,
    persistence: &Persistence,
    (server, layout): (u32, Layout),
) -> Option<Remembered> {
    let region = Region::containing(server, layout)?;
    let (map, key) = persist::place(Family::of(packet.from.ip()), persistence, region);
    Some(Remembered {
        map,
        key: value(&key, packet)?,
    })
}

/// Where `track` remembers the flow of a packet.
pub fn flow(packet: &Packet) -> Option<Remembered> {
    let (map, key) = track::place(Family::of(packet.from.ip()));
    Some(Remembered {
        map,
        key: value(&key, packet)?,
    })
}

/// The bytes that an expression has in the kernel's registers; `None` for one that a packet alone does not tell.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not computed from the packet alone is not known here, whatever it is"
)]
fn value(expression: &Expression, packet: &Packet) -> Option<Vec<u8>> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    Some(match expression {
        Expression::Mark(mark) => mark.to_ne_bytes().to_vec(),
        Expression::Source(_) => octets(packet.from.ip()),
        Expression::Destination(_) => octets(packet.to.ip()),
        Expression::SourcePort => packet.from.port().to_be_bytes().to_vec(),
        Expression::SourcePortOf(protocol) => {
            let port = (packet.protocol == *protocol).then(|| packet.from.port())?;
            port.to_be_bytes().to_vec()
        }
        Expression::DestinationPort => packet.to.port().to_be_bytes().to_vec(),
        Expression::DestinationPortOf(protocol) => {
            let port = (packet.protocol == *protocol).then(|| packet.to.port())?;
            port.to_be_bytes().to_vec()
        }
        Expression::L4Proto => vec![packet.protocol.number()],
        Expression::Masked(inner, Mask::Address(mask)) => {
            let bytes = value(inner, packet)?;
            let masked = bytes.iter().zip(octets(*mask));
            masked.map(|(byte, mask)| byte & mask).collect()
        }
        Expression::Concat(fields) => {
            let mut all = Vec::new();
            for field in fields {
                all.extend(value(field, packet)?);
                all.resize(all.len().next_multiple_of(4), 0);
            }
            all
        }
        Expression::Jhash {
            key,
            modulus,
            seed,
            offset,
        } => {
            let hash = kernel_jhash(&value(key, packet)?, *seed);
            bucket(hash, *modulus)
                .wrapping_add(*offset)
                .to_ne_bytes()
                .to_vec()
        }
        _ => return None,
    })
}
