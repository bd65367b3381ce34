//! The only room that touches Linux: nf_tables, connection tracking, interfaces, routes and neighbours, kernel
//! parameters, the notes in `/run`, and the watcher of a trial.
//!
//! [`Kernel`] says what the rest of flbc needs; [`Linux`] is the real one, `fake::Fake` one in memory for tests. What happens
//! in it is told by an [`events::Watch`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;

use crate::diff::{Counter, Observed, ObservedSet, ObservedTable};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::{Bytes, Element, Interfaces, TableFamily};
use crate::model::{MacAddress, Protocol, Served};
use crate::ruleset::name;

mod arrival;
mod by_key;
mod conntrack;
mod error;
pub mod events;
pub(crate) mod files;
// For tests: no release has it.
#[cfg(any(test, debug_assertions))]
pub mod fake;
mod foreign;
pub mod host;
#[cfg(test)]
mod lent;
pub(crate) mod linux;
mod memory;
mod message;
pub mod neighbour;
mod read;
mod reading;
mod socket;

pub use error::{KernelError, Reason, Refusal};
pub use foreign::ForeignChain;
pub use linux::Linux;

/// What flbc asks of a kernel.
pub trait Kernel {
    /// The generation of the whole ruleset: every transaction of anybody makes it another.
    fn generation(&mut self) -> Result<u32, KernelError>;

    /// The texts by which the tables of this name are known again, `inet` first.
    fn identities(&mut self, table: &str) -> Result<[Option<String>; 2], KernelError>;

    /// All that is in the tables of this name, as of one generation.
    fn observe(&mut self, table: &str) -> Result<Observed, KernelError> {
        self.observe_part(table, Part::Whole)
    }

    /// So much of what is in the tables of this name, as of one generation.
    fn observe_part(&mut self, table: &str, part: Part<'_>) -> Result<Observed, KernelError>;

    /// What real servers in nat were sent and what they answered, in no order; those without a packet are not there.
    fn traffic(&mut self, table: &str) -> Result<Vec<Traffic>, KernelError> {
        let counted = self.counters(table, TableFamily::Inet, name::TRAFFIC)?;
        let traffic = counted.iter();
        Ok(traffic
            .filter_map(|(element, counter)| Traffic::of(element, *counter))
            .collect())
    }

    /// The same of these servers at least, for whoever knows them: a list of all takes a time that grows with its square.
    fn traffic_of(&mut self, table: &str, _servers: &[u32]) -> Result<Vec<Traffic>, KernelError> {
        self.traffic(table)
    }

    /// Fills in the handles of rules that were added to `observed` after it was read.
    ///
    /// # Errors
    ///
    /// [`KernelError::Changed`] if the kernel is not at the generation of `observed`, or if its rules are others.
    fn read_handles(&mut self, table: &str, observed: &mut Observed) -> Result<(), KernelError>;

    /// Makes all changes or none, if the kernel is still at the generation `expected`. Without a change the kernel is not
    /// asked.
    fn commit(
        &mut self,
        table: &str,
        changes: &[Change],
        expected: u32,
    ) -> Result<Committed, KernelError>;

    /// The elements of a set, and what each has counted; none where there is no such set.
    fn counters(
        &mut self,
        table: &str,
        family: TableFamily,
        set: &str,
    ) -> Result<Vec<(Element, Counter)>, KernelError>;

    /// Lets the kernel check the changes, and makes none.
    fn check(&mut self, table: &str, changes: &[Change]) -> Result<(), KernelError>;

    /// The other tables of this host that are flbc's, whoever loaded them, with the sets whose names begin with `stem`.
    fn siblings(
        &mut self,
        own_table: &str,
        stem: &str,
    ) -> Result<Vec<(String, Vec<ObservedSet>)>, KernelError>;

    /// The time since boot, that in suspend too: whoever sleeps does nothing.
    fn now(&mut self) -> Duration;

    /// The machine's clock: seconds since 1970. For people to read; nothing is decided by it.
    fn clock(&mut self) -> u64;

    /// The network interfaces.
    fn interfaces(&mut self) -> Result<Interfaces, KernelError>;

    /// The own MAC address of an interface; `None` where there is no such interface, or it has none.
    fn mac_of(&mut self, interface: &str) -> Result<Option<MacAddress>, KernelError>;

    /// Where packets enter others' chains: those of tables that are not flbc's, under any name.
    fn base_chains(&mut self, own_table: &str) -> Result<Vec<BaseChain>, KernelError>;

    /// These chains with the rules of their tables; those of tables that are not in force are left out.
    fn rules_of_chains(&mut self, chains: Vec<BaseChain>)
    -> Result<Vec<ForeignChain>, KernelError>;

    /// The connections that match.
    fn connections(&mut self, filter: &Balanced) -> Result<Vec<Connection>, KernelError>;

    /// How many connections that were translated have each mark.
    fn connections_by_mark(&mut self, which: Counted)
    -> Result<FxHashMap<u32, usize>, KernelError>;

    /// What rules remember in the dynamic maps of the tables of this name.
    fn memories(&mut self, table: &str) -> Result<Vec<Memory>, KernelError>;

    /// Deletes what the dynamic maps of the tables of this name remember of these servers. `generation` is the one
    /// that the kernel is known to be at. Says how many it deleted, and the last generation of which that is known: the
    /// one afterwards, unless somebody else has committed something.
    fn forget_remembered(
        &mut self,
        table: &str,
        servers: &FxHashSet<u32>,
        generation: u32,
    ) -> Result<(usize, u32), KernelError>;

    /// Does to each connection that was translated what the judge says.
    fn judge(&mut self, judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError>;

    /// What rules remember in the dynamic maps of the tables of this name.
    fn recollections(&mut self, table: &str) -> Result<Vec<Recollection>, KernelError>;

    /// The flows that are followed and whose destination is not translated: those from or to this address, or all.
    fn untranslated(&mut self, of: Option<IpAddr>) -> Result<Vec<Flow>, KernelError>;

    /// Forgets those of them that are `doomed`, once all packets have passed that were on their way; says how many.
    fn forget_untranslated(&mut self, doomed: &dyn Fn(&Flow) -> bool)
    -> Result<usize, KernelError>;
}

/// How much of the tables is read.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// All of it.
    Whole,
    /// All of it, but of the slots, where there are many, only these: what a table, read so far, is asked for.
    Slots(&'a dyn Fn(TableFamily, &ObservedTable) -> Vec<u32>),
    /// The sets whose elements count, with what they have counted: no chain, and no other set. Of a set that has keys here,
    /// where they are many, only the elements of these keys.
    Counters(&'a dyn Fn(TableFamily, &str) -> Option<&'a [u32]>),
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// It gets this mark.
    Mark(u32),
    /// It is forgotten.
    Forget,
}

/// How many connections were judged how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those that were forgotten.
    pub forgotten: usize,
    /// Those that got another mark.
    pub marked: usize,
}

/// What rules put into a dynamic map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recollection {
    /// The family of its table.
    pub family: TableFamily,
    /// The map's name.
    pub map: Arc<str>,
    /// In no order, but that those of one key, if there are several, are in the order in which the kernel finds them.
    pub entries: Vec<Entry>,
}

/// An element of a dynamic map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// The value: the number of a server.
    pub server: u32,
    /// How long it lives after a packet, in milliseconds; 0 where that is not its own.
    pub timeout: u64,
    /// How long it has to live, in milliseconds.
    pub left: u64,
}

/// What passed between clients and a real server, one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// The number of the server.
    pub server: u32,
    /// Whether it is what the server answered.
    pub answer: bool,
    /// How much it was.
    pub counter: Counter,
}

impl Traffic {
    /// What an element of the set says.
    fn of(element: &Element, counter: Counter) -> Option<Self> {
        let (server, way) = element.key.as_slice().split_first_chunk()?;
        Some(Self {
            server: u32::from_ne_bytes(*server),
            answer: *way.first()? != 0,
            counter,
        })
    }
}

/// What is in a dynamic map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// The family of its table.
    pub family: TableFamily,
    /// The map's name.
    pub map: Arc<str>,
    /// How many elements it has room for.
    pub room: u32,
    /// How many lead to each server, by its number.
    pub by_server: FxHashMap<u32, usize>,
}

/// A transaction that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The generation that it made.
    pub generation: u32,
}

/// A chain of somebody else's, where packets enter it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// The family of its table: `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// `filter`, `nat`, `route`
    pub kind: String,
    /// `prerouting`, `input` and so on.
    pub hook: &'static str,
    /// The priority: the lowest comes first.
    pub priority: i32,
    /// Whether what reaches the end of it is accepted.
    pub accepts: bool,
    /// Its interfaces, if it is bound to some.
    pub devices: Vec<String>,
}

/// Which connections: those that flbc translated for a service to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balanced {
    /// The connection mark: the number of a real server. `None`: any.
    pub mark: Option<u32>,
    /// The address that the client connected to. `None`: any.
    pub vip: Option<IpAddr>,
}

/// Which connections are counted, of those that were translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// All.
    All,
    /// Those of one mark: the number of a real server.
    Of(u32),
    /// Those of TCP and SCTP that got no answer yet.
    Unanswered,
}

/// A connection that was translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The number of the protocol.
    pub protocol: u8,
    /// Who connected.
    pub client: IpAddr,
    /// From which port.
    pub client_port: Option<u16>,
    /// To which address.
    pub vip: IpAddr,
    /// To which port.
    pub vip_port: Option<u16>,
    /// Who answers.
    pub server: IpAddr,
    /// From which port.
    pub server_port: Option<u16>,
    /// The connection mark.
    pub mark: u32,
}

/// A flow that the kernel follows, and whose destination it does not translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The number of the protocol.
    pub protocol: u8,
    /// Who sent its first packet.
    pub source: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To which address.
    pub destination: IpAddr,
    /// To which port.
    pub destination_port: u16,
    /// Whether packets went the other way too.
    pub answered: bool,
}

impl Flow {
    /// Whether its packets are for one of these VIPs, and will never be balanced as long as it is followed: the kernel
    /// chooses a translation for a connection's first packet and never again.
    ///
    /// Of a flow of answers whose questions passed elsewhere (those of direct return) the VIP is the source.
    ///
    /// A connection of TCP or SCTP that is established is not meant. It ends some day, and what begins it anew makes the
    /// kernel follow another; in the middle of one no real server would know it.
    pub fn passes_by(&self, served: &Served) -> bool {
        let may_begin_anew = self.protocol == Protocol::Udp.number() || !self.answered;
        may_begin_anew
            && (served.has(self.destination, self.protocol, self.destination_port)
                || served.has(self.source, self.protocol, self.source_port))
    }
}

/// How the text begins by which flbc knows a table that it made.
pub(crate) const ID_STEM: &str = "flbc ";

/// A random text for tables that are made anew: 128 bits.
pub fn random_id() -> Result<String, KernelError> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(16) => Ok(format!("{ID_STEM}{:032x}", u128::from_ne_bytes(bytes))),
        Ok(_) => Err(KernelError::Failed {
            doing: "read random numbers",
            errno: Errno::IO,
        }),
        Err(errno) => Err(KernelError::Failed {
            doing: "read random numbers",
            errno,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ports, Vip};
    use crate::source::Span;

    #[test]
    fn what_passes_by_a_vip() {
        let of = |protocol| Vip {
            address: IpAddr::from([192, 0, 2, 10]),
            protocol,
            ports: Ports::One(80),
            span: Span::NOWHERE,
        };
        let vips = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(of);
        let served: Served = vips.into_iter().collect();
        let client = (IpAddr::from([198, 51, 100, 1]), 80);
        let vip = (IpAddr::from([192, 0, 2, 10]), 80);
        let passes = |protocol: Protocol, answered, from: (IpAddr, u16), to: (IpAddr, u16)| {
            let flow = Flow {
                protocol: protocol.number(),
                source: from.0,
                source_port: from.1,
                destination: to.0,
                destination_port: to.1,
                answered,
            };
            flow.passes_by(&served)
        };
        for (from, to) in [(client, vip), (vip, client)] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                assert!(passes(protocol, false, from, to));
                assert_eq!(passes(protocol, true, from, to), protocol == Protocol::Udp);
            }
        }
        assert!(!passes(Protocol::Udp, false, client, client));
        assert!(!passes(Protocol::Udp, false, client, (vip.0, 81)));
    }
}
