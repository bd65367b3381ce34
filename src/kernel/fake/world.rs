//! What happens to a kernel in memory from outside: other programs' transactions, interfaces, addresses and neighbours. It
//! tells of it what Linux tells, in Linux's order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::diff::Observed;
use crate::kernel::KernelError;
use crate::kernel::events::{Address, Event, Link, Neighbour, Process, Source, Watch};
use crate::model::MacAddress;

use super::Fake;
use super::happenings::{Happenings, Notice};

/// As if a [`crate::kernel::events::Feed`] were opened when events are asked for first: of what was before, the interfaces
/// are told.
impl Watch for Fake {
    fn events(&mut self) -> Result<Vec<Event>, KernelError> {
        self.ask()?;
        let links = self.links();
        if let Some(happenings) = &mut self.happenings {
            return Ok(happenings.take(links));
        }
        let (happenings, events) = Happenings::begin(links);
        self.happenings = Some(happenings);
        Ok(events)
    }
}

impl Fake {
    /// Makes a transaction of another program.
    pub fn foreign(&mut self, by: Process, other: impl FnOnce(&mut Observed)) {
        let usual = self.stranger.replace(by);
        self.give_way(other);
        self.stranger = usual;
    }

    /// Loses what happens in this until events are asked for.
    pub fn miss(&mut self, source: Source) {
        if let Some(happenings) = &mut self.happenings {
            happenings.overrun(source);
        }
    }

    /// Makes an interface, which is switched off, and says its number.
    pub fn link_comes(&mut self, name: &str, mac: Option<MacAddress>) -> u32 {
        let highest = self.interfaces.values().copied().max().unwrap_or_default();
        let index = highest.max(self.last_interface) + 1;
        self.last_interface = index;
        self.interfaces.insert(name.into(), index);
        if let Some(mac) = mac {
            self.macs.insert(name.to_owned(), mac);
        }
        self.down.insert(name.to_owned());
        self.tell_link(name);
        index
    }

    /// Takes an interface away, and its addresses and neighbours with it.
    pub fn link_goes(&mut self, name: &str) {
        self.switch(name, false);
        let Some(index) = self.interfaces.get(name).copied() else {
            return;
        };
        self.last_interface = self.last_interface.max(index);
        self.lose_addresses(|address| address.interface == index);
        self.interfaces.remove(name);
        self.macs.remove(name);
        self.down.remove(name);
        self.unplugged.remove(name);
        self.tell(Notice::Gone(index));
    }

    /// Takes an interface away and makes another of the same name and MAC address, which is switched on; says its number.
    pub fn link_made_anew(&mut self, name: &str) -> u32 {
        let mac = self.macs.get(name).copied();
        self.link_goes(name);
        let index = self.link_comes(name, mac);
        self.switch(name, true);
        index
    }

    /// Gives an interface another name, which none has.
    pub fn link_renamed(&mut self, from: &str, to: &str) {
        let Some(index) = self.interfaces.remove(from) else {
            return;
        };
        self.interfaces.insert(to.into(), index);
        if let Some(mac) = self.macs.remove(from) {
            self.macs.insert(to.to_owned(), mac);
        }
        for names in [&mut self.down, &mut self.unplugged] {
            if names.remove(from) {
                names.insert(to.to_owned());
            }
        }
        self.tell_link(to);
        // These have names too, which are made of the interface's.
        let addresses = self.addresses.iter().copied();
        let renamed = addresses.filter(|one| one.interface == index && one.address.is_ipv4());
        for address in renamed.collect::<Vec<_>>() {
            self.tell(Notice::Event(Event::AddressCame(address)));
        }
    }

    /// Switches an interface on or off. One that is off has no neighbours, and no address of IPv6.
    pub fn switch(&mut self, name: &str, up: bool) {
        let Some(index) = self.interfaces.get(name).copied() else {
            return;
        };
        let changes = if up {
            self.down.remove(name)
        } else {
            self.down.insert(name.to_owned())
        };
        if !changes {
            return;
        }
        self.tell_link(name);
        if !up {
            self.lose_addresses(|one| one.interface == index && one.address.is_ipv6());
            self.lose_neighbours(index);
        }
    }

    /// Puts somebody at the other end of an interface, or takes him away.
    pub fn plug(&mut self, name: &str, carrier: bool) {
        if carrier {
            self.unplugged.remove(name);
        } else {
            self.unplugged.insert(name.to_owned());
        }
        self.tell_link(name);
    }

    /// Gives an interface another MAC address. Its neighbours are asked anew.
    pub fn set_mac(&mut self, name: &str, mac: MacAddress) {
        self.macs.insert(name.to_owned(), mac);
        self.tell_link(name);
        if let Some(index) = self.interfaces.get(name).copied() {
            self.lose_neighbours(index);
        }
    }

    /// Gives an interface an address.
    pub fn address_comes(&mut self, name: &str, address: IpAddr, prefix: u8) {
        let Some(interface) = self.interfaces.get(name).copied() else {
            return;
        };
        let address = Address {
            interface,
            address,
            prefix,
        };
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        self.tell(Notice::Event(Event::AddressCame(address)));
    }

    /// Takes an address away from an interface.
    pub fn address_goes(&mut self, name: &str, address: IpAddr) {
        let interface = self.interfaces.get(name).copied();
        self.lose_addresses(|one| Some(one.interface) == interface && one.address == address);
    }

    /// Finds a neighbour, by this MAC address, or loses it.
    pub fn neighbour(&mut self, name: &str, address: IpAddr, mac: Option<MacAddress>) {
        let Some(interface) = self.interfaces.get(name).copied() else {
            return;
        };
        let neighbour = Neighbour {
            interface,
            address,
            mac,
        };
        self.neighbours
            .retain(|one| (one.interface, one.address) != (interface, address));
        if mac.is_some() {
            self.neighbours.push(neighbour);
        }
        self.tell(Notice::Event(Event::Neighbour(neighbour)));
    }

    fn lose_addresses(&mut self, lost: impl Fn(&Address) -> bool) {
        let gone = self.addresses.extract_if(.., |one| lost(one));
        // Linux begins with those of IPv6.
        let (v6, v4): (Vec<_>, Vec<_>) = gone.partition(|one| one.address.is_ipv6());
        for address in v6.into_iter().chain(v4) {
            self.tell(Notice::Event(Event::AddressGone(address)));
        }
    }

    fn lose_neighbours(&mut self, index: u32) {
        let lost = self.neighbours.extract_if(.., |one| one.interface == index);
        for neighbour in lost.collect::<Vec<_>>() {
            let mac = None;
            self.tell(Notice::Event(Event::Neighbour(Neighbour {
                mac,
                ..neighbour
            })));
        }
    }

    fn tell_link(&mut self, name: &str) {
        if let Some(link) = self.link(name) {
            self.tell(Notice::Link(link));
        }
    }

    fn link(&self, name: &str) -> Option<Link> {
        let up = !self.down.contains(name);
        Some(Link {
            index: *self.interfaces.get(name)?,
            name: name.to_owned(),
            mac: self.macs.get(name).copied(),
            up,
            carrier: up && !self.unplugged.contains(name),
        })
    }

    fn links(&self) -> BTreeMap<u32, Link> {
        let links = self.interfaces.keys().filter_map(|name| self.link(name));
        links.map(|link| (link.index, link)).collect()
    }
}

#[cfg(test)]
mod tests;
