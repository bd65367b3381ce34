//! Reads events off the kernel's messages. Whatever the bytes are, it neither fails nor stops: what is damaged, and what
//! it does not know, says nothing.

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::header::of_rules;
use crate::kernel::message::Message;
use crate::model::MacAddress;

use super::{Address, Event, Generation, Link, Neighbour, Process};

/// `NFT_MSG_NEWGEN`
pub(super) const NEW_GENERATION: u16 = of_rules(15);

/// Messages of `linux/rtnetlink.h`.
pub(super) const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;

/// The length of `nfgenmsg`.
const NFGENMSG: usize = 4;
/// The length of `ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;
/// The length of `ifaddrmsg`.
const IFADDRMSG: usize = 8;
/// The length of `ndmsg`.
const NDMSG: usize = 12;

/// Families. What a bridge tells of its ports and of the MAC addresses behind them comes as the same messages with its own.
const ANY: u8 = 0;
const INET: u8 = 2;
const INET6: u8 = 10;

/// Knows the interfaces, so that it can tell what about one is new: the kernel tells all of it, also when nothing is.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    links: BTreeMap<u32, Link>,
}

impl Reader {
    /// Adds what a datagram of the kernel tells to `events`.
    pub fn read(&mut self, datagram: &[u8], events: &mut Vec<Event>) {
        let mut rest = datagram;
        while let Some((message, after)) = Message::read(rest) {
            rest = after;
            events.extend(self.event(&message));
        }
    }

    /// What is new if these are the interfaces.
    pub(in crate::kernel) fn replace(&mut self, links: BTreeMap<u32, Link>) -> Vec<Event> {
        let known: Vec<u32> = self.links.keys().copied().collect();
        let gone = known.into_iter().filter(|index| !links.contains_key(index));
        let gone: Vec<Event> = gone.filter_map(|index| self.gone(index)).collect();
        let told = links.into_values().filter_map(|link| self.link(link));
        gone.into_iter().chain(told).collect()
    }

    /// What is new if an interface is this.
    pub(in crate::kernel) fn link(&mut self, link: Link) -> Option<Event> {
        match self.links.get_mut(&link.index) {
            None => {
                self.links.insert(link.index, link.clone());
                Some(Event::LinkCame(link))
            }
            Some(known) if *known == link => None,
            Some(known) => Some(Event::LinkChanged {
                before: mem::replace(known, link.clone()),
                after: link,
            }),
        }
    }

    /// What is new if there is no interface of this number.
    pub(in crate::kernel) fn gone(&mut self, index: u32) -> Option<Event> {
        self.links.remove(&index).map(Event::LinkGone)
    }

    fn event(&mut self, message: &Message<'_>) -> Option<Event> {
        match message.kind {
            NEW_GENERATION => generation(message.payload).map(Event::Generation),
            NEW_LINK => self.link(link(message.payload)?),
            DELETE_LINK => self.gone(link(message.payload)?.index),
            NEW_ADDRESS => {
                let (address, usable) = address(message.payload)?;
                usable.then_some(Event::AddressCame(address))
            }
            DELETE_ADDRESS => {
                let (address, _) = address(message.payload)?;
                Some(Event::AddressGone(address))
            }
            NEW_NEIGHBOUR => neighbour(message.payload, true),
            DELETE_NEIGHBOUR => neighbour(message.payload, false),
            _ => None,
        }
    }
}

fn generation(payload: &[u8]) -> Option<Generation> {
    const ID: u16 = 1;
    const PROCESS_ID: u16 = 2;
    const PROCESS_NAME: u16 = 3;
    let attributes = Attributes::new(payload.get(NFGENMSG..)?);
    let process = || {
        let name = text(attributes.find(PROCESS_NAME)?);
        Some(Process {
            id: attributes.find(PROCESS_ID)?.u32()?,
            name: name.replace(char::is_control, "\u{fffd}"),
        })
    };
    Some(Generation {
        number: attributes.find(ID)?.u32()?,
        process: process(),
    })
}

/// An interface as a message tells it.
pub(super) fn link(payload: &[u8]) -> Option<Link> {
    const ADDRESS: u16 = 1;
    const NAME: u16 = 3;
    const UP: u32 = 0x1;
    const LOWER_UP: u32 = 0x1_0000;
    let (head, rest) = payload.split_at_checked(IFINFOMSG)?;
    if *head.first()? != ANY {
        return None;
    }
    let attributes = Attributes::new(rest);
    let flags = native(head, 8)?;
    Some(Link {
        index: native(head, 4)?,
        name: text(attributes.find(NAME)?),
        mac: attributes.find(ADDRESS).and_then(mac),
        up: flags & UP != 0,
        carrier: flags & LOWER_UP != 0,
    })
}

/// An address as a message tells it, and whether it can be used: the kernel first asks whether somebody else has it.
fn address(payload: &[u8]) -> Option<(Address, bool)> {
    const ADDRESS: u16 = 1;
    /// The own address, where `ADDRESS` is that of the other end.
    const LOCAL: u16 = 2;
    const FLAGS: u16 = 8;
    const TENTATIVE: u32 = 0x40;
    let (head, rest) = payload.split_at_checked(IFADDRMSG)?;
    let [family, prefix, flags, ..] = *head else {
        return None;
    };
    let attributes = Attributes::new(rest);
    let found = attributes
        .find(LOCAL)
        .or_else(|| attributes.find(ADDRESS))?;
    let wide = attributes.find(FLAGS);
    let flags = wide
        .and_then(|flags| native(flags.value, 0))
        .unwrap_or_else(|| u32::from(flags));
    let address = Address {
        interface: native(head, 4)?,
        address: ip(family, found)?,
        prefix,
    };
    Some((address, flags & TENTATIVE == 0))
}

fn neighbour(payload: &[u8], is_there: bool) -> Option<Event> {
    const DESTINATION: u16 = 1;
    const ADDRESS: u16 = 2;
    /// The kernel asks, and has no answer yet.
    const INCOMPLETE: u16 = 0x1;
    const FAILED: u16 = 0x20;
    /// It is not a neighbour, but one for whom this machine answers.
    const PROXY: u8 = 0x8;
    let (head, rest) = payload.split_at_checked(NDMSG)?;
    let [family, _, _, _, _, _, _, _, s0, s1, flags, ..] = *head else {
        return None;
    };
    let state = u16::from_ne_bytes([s0, s1]);
    if flags & PROXY != 0 || (is_there && state & INCOMPLETE != 0) {
        return None;
    }
    let attributes = Attributes::new(rest);
    let known = is_there && state & FAILED == 0;
    Some(Event::Neighbour(Neighbour {
        interface: native(head, 4)?,
        address: ip(family, attributes.find(DESTINATION)?)?,
        mac: attributes.find(ADDRESS).filter(|_| known).and_then(mac),
    }))
}

/// The number at this place, in the order of this machine.
fn native(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

fn mac(attribute: Attribute<'_>) -> Option<MacAddress> {
    attribute.value.try_into().ok().map(MacAddress)
}

fn ip(family: u8, attribute: Attribute<'_>) -> Option<IpAddr> {
    let octets = attribute.value;
    match family {
        INET => <[u8; 4]>::try_from(octets)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        INET6 => <[u8; 16]>::try_from(octets)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// The text before the first zero byte. Linux does not ask for UTF-8.
fn text(attribute: Attribute<'_>) -> String {
    let mut parts = attribute.value.split(|byte| *byte == 0);
    String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
