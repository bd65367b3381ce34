//! What would stop a configuration from working. Facts in, findings out: nothing here asks the kernel.
//!
//! ```text
//! destinations, vips_of ──▶ kernel::host::look ──▶ contacts ──▶ kernel::host::unresolved ──▶ examine
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::diagnostic::word;
use crate::kernel::ForeignChain;
use crate::kernel::host::Host;
use crate::lower::layout::Layout;
use crate::model::{Model, Service};
use crate::source::Span;

mod addresses;
mod after;
mod arp;
mod chains;
mod direct;
mod fate;
mod foreign;
mod machine;
mod older;
mod paths;
mod reach;
mod stack;

pub use addresses::{claimed, vips_of};
pub use after::{on_servers, unseen};
pub use chains::refusing_by_policy;
pub use foreign::{Hooked, Trouble, obstacles};
pub use older::{forgetting, older};
pub use paths::{contacts, destinations};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingCode {
    /// An interface that the file names is not there.
    NoSuchInterface,
    /// An interface that the file names is down, or nothing is at its other end.
    InterfaceDown,
    /// No interface has the VIP.
    VipNowhere,
    /// What no service takes of a VIP's packets goes back to the router that sent it.
    VipCircles,
    /// A route refuses the VIP's packets, those of this machine too.
    VipRefused,
    /// Another machine has the VIP too.
    VipDuplicate,
    /// An interface does not answer for a VIP that another has (`arp_ignore`).
    VipUnanswered,
    /// An interface asks for no MAC addresses.
    ArpOff,
    /// Nothing is sent on between interfaces.
    ForwardingOff,
    /// Strict reverse path filtering drops what clients send.
    StrictReversePath,
    /// No route leads to a real server.
    NoRouteToServer,
    /// No route leads back to clients.
    NoRouteToClients,
    /// A real server's answers come back only if a router sends them here.
    BehindRouter,
    /// A real server on a bridge that is its own client waits a second.
    BridgeWithoutHairpin,
    /// Packets for a VIP come in by an interface that stands on the one that is named.
    ComesByAnother,
    /// An interface that leads to this machine alone.
    LoopbackInterface,
    /// A real server is not on the link that direct return sends it packets by.
    NotOnLink,
    /// The link that direct return sends packets by is a port of another, which has the neighbours.
    PortOfAnother,
    /// A real server of direct return is this machine.
    ServerIsHere,
    /// A real server of direct return is the router that sends the VIP's packets here.
    ServerRoutesBack,
    /// Longer packets come in than the interface to a real server takes.
    SmallerMtu,
    /// Nobody answers for the MAC address of a neighbour.
    NeighbourUnresolved,
    /// More neighbours than the kernel keeps.
    NeighbourTableSmall,
    /// The table of connections is nearly full.
    ConnectionsNearlyFull,
    /// The table of connections was full before.
    ConnectionsWereDropped,
    /// Packets of balanced connections may be dropped as invalid.
    InvalidPackets,
    /// A chain of others drops what its rules do not accept.
    ForeignDrop,
    /// A chain of others sees packets before flbc.
    ForeignFirst,
    /// A chain of others keeps connection tracking away from packets.
    ForeignNotrack,
    /// A chain of others writes other addresses or ports into packets.
    ForeignRewrite,
    /// A chain of others writes marks of connections.
    ForeignMark,
    /// An `ip rule` refuses packets.
    RuleRefuses,
    /// An `ip rule` chooses routes by bits that marks of flbc have.
    RuleMatchesMarks,
    /// A flow that the kernel followed before its service came is not balanced.
    OlderFlow,
    /// Another table of flbc's has a VIP of the file.
    VipOfAnotherTable,
    /// The kernel does not take the rules.
    KernelRefuses,
    /// There is no `nft`.
    NftMissing,
    /// `nft` cannot list the rules.
    NftOld,
    /// Another program made a table of flbc's name.
    StrangeTable,
    /// The kernel has not what was applied.
    NotInForce,
    /// A trial is open: nothing else may change the tables.
    OnTrial,
    /// The kernel has not what the file says.
    NotApplied,
}

impl FindingCode {
    /// All of them.
    pub const ALL: [Self; 42] = [
        Self::NoSuchInterface,
        Self::InterfaceDown,
        Self::VipNowhere,
        Self::VipCircles,
        Self::VipRefused,
        Self::VipDuplicate,
        Self::VipUnanswered,
        Self::ArpOff,
        Self::ForwardingOff,
        Self::StrictReversePath,
        Self::NoRouteToServer,
        Self::NoRouteToClients,
        Self::BehindRouter,
        Self::BridgeWithoutHairpin,
        Self::ComesByAnother,
        Self::LoopbackInterface,
        Self::NotOnLink,
        Self::PortOfAnother,
        Self::ServerIsHere,
        Self::ServerRoutesBack,
        Self::SmallerMtu,
        Self::NeighbourUnresolved,
        Self::NeighbourTableSmall,
        Self::ConnectionsNearlyFull,
        Self::ConnectionsWereDropped,
        Self::InvalidPackets,
        Self::ForeignDrop,
        Self::ForeignFirst,
        Self::ForeignNotrack,
        Self::ForeignRewrite,
        Self::ForeignMark,
        Self::RuleRefuses,
        Self::RuleMatchesMarks,
        Self::OlderFlow,
        Self::VipOfAnotherTable,
        Self::KernelRefuses,
        Self::NftMissing,
        Self::NftOld,
        Self::StrangeTable,
        Self::NotInForce,
        Self::OnTrial,
        Self::NotApplied,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSuchInterface => "no-such-interface",
            Self::InterfaceDown => "interface-down",
            Self::VipNowhere => "vip-nowhere",
            Self::VipCircles => "vip-circles",
            Self::VipRefused => "vip-refused",
            Self::VipDuplicate => "vip-duplicate",
            Self::VipUnanswered => "vip-unanswered",
            Self::ArpOff => "arp-off",
            Self::ForwardingOff => "forwarding-off",
            Self::StrictReversePath => "strict-rp-filter",
            Self::NoRouteToServer => "no-route-to-server",
            Self::NoRouteToClients => "no-route-to-clients",
            Self::BehindRouter => "behind-router",
            Self::BridgeWithoutHairpin => "bridge-without-hairpin",
            Self::ComesByAnother => "comes-by-another",
            Self::LoopbackInterface => "loopback-interface",
            Self::NotOnLink => "not-on-link",
            Self::PortOfAnother => "port-of-another",
            Self::ServerIsHere => "server-is-this-machine",
            Self::ServerRoutesBack => "server-routes-back",
            Self::SmallerMtu => "smaller-mtu",
            Self::NeighbourUnresolved => "neighbour-unresolved",
            Self::NeighbourTableSmall => "neighbour-table-small",
            Self::ConnectionsNearlyFull => "connections-nearly-full",
            Self::ConnectionsWereDropped => "connections-were-dropped",
            Self::InvalidPackets => "invalid-packets",
            Self::ForeignDrop => "foreign-drop",
            Self::ForeignFirst => "foreign-first",
            Self::ForeignNotrack => "foreign-notrack",
            Self::ForeignRewrite => "foreign-rewrite",
            Self::ForeignMark => "foreign-mark",
            Self::RuleRefuses => "rule-refuses",
            Self::RuleMatchesMarks => "rule-matches-marks",
            Self::OlderFlow => "older-flow",
            Self::VipOfAnotherTable => "vip-of-another-table",
            Self::KernelRefuses => "kernel-refuses",
            Self::NftMissing => "nft-missing",
            Self::NftOld => "nft-old",
            Self::StrangeTable => "strange-table",
            Self::NotInForce => "not-in-force",
            Self::OnTrial => "on-trial",
            Self::NotApplied => "not-applied",
        }
    }

    /// What it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NoSuchInterface => "An interface that the file names is not there",
            Self::InterfaceDown => {
                "An interface that the file names is down, or nothing is connected to it"
            }
            Self::VipNowhere => "No interface has a VIP: nobody finds it but by a router",
            Self::VipCircles => {
                "What no service takes of a VIP's packets circles between this machine and a router"
            }
            Self::VipRefused => {
                "In nat, a route refuses this machine's own packets to a VIP too (to know)"
            }
            Self::VipDuplicate => {
                "Another machine answers for a VIP, by IPv6 duplicate address detection"
            }
            Self::VipUnanswered => "No interface answers for a VIP, by `arp_ignore`",
            Self::ArpOff => "An interface asks for no MAC addresses and tells none (`arp off`)",
            Self::ForwardingOff => "In nat, packets that come in are not sent on",
            Self::StrictReversePath => "In nat, rp_filter drops what clients send",
            Self::NoRouteToServer => "In nat, no route leads to a server",
            Self::NoRouteToClients => "In nat, no route leads back to the clients",
            Self::BehindRouter => {
                "In nat, a server's answers come back only if a router sends them here (to know)"
            }
            Self::BridgeWithoutHairpin => {
                "In nat, a server on a bridge that is its own client waits a second (to know)"
            }
            Self::ComesByAnother => {
                "In dr, packets for a VIP come in by a VLAN or macvlan of the interface that is named"
            }
            Self::LoopbackInterface => {
                "In dr, an interface is `lo`, which leads to this machine alone"
            }
            Self::NotOnLink => "In dr, a server is not on the link by which it is sent packets",
            Self::PortOfAnother => {
                "In dr, an interface is a port of a bridge or bond, which has the neighbours"
            }
            Self::ServerIsHere => {
                "In dr, a server is this machine, by its address or its MAC address"
            }
            Self::ServerRoutesBack => {
                "In dr, a server is the router that sends what is for the VIP here again"
            }
            Self::SmallerMtu => {
                "In dr, longer packets come in than the interface to the servers takes"
            }
            Self::NeighbourUnresolved => "Nobody answers for the MAC address of a server or router",
            Self::NeighbourTableSmall => {
                "There are more neighbours than the kernel keeps MAC addresses of"
            }
            Self::ConnectionsNearlyFull => {
                "In nat, three quarters of the connections that the kernel can follow are there"
            }
            Self::ConnectionsWereDropped => {
                "In nat, connections were dropped because the kernel could follow no more (to know)"
            }
            Self::InvalidPackets => {
                "In nat, many packets fit no connection, and are dropped where they are balanced (to know)"
            }
            Self::ForeignDrop => {
                "A chain of others refuses, by its policy or its rules: they have to accept what is balanced"
            }
            Self::ForeignFirst => "A chain of others sees packets before flbc and may take them",
            Self::ForeignNotrack => {
                "In nat, rules of others keep connection tracking away from packets, which are not balanced then"
            }
            Self::ForeignRewrite => "Rules of others write other addresses or ports into packets",
            Self::ForeignMark => {
                "In nat, rules of others write the marks by which flbc knows its connections"
            }
            Self::RuleRefuses => {
                "In nat, an `ip rule` refuses packets to or from servers or clients"
            }
            Self::RuleMatchesMarks => {
                "In nat, an `ip rule` looks at bits of a mark that flbc sets too"
            }
            Self::OlderFlow => {
                "In nat, a flow that the kernel followed before its service came is not balanced"
            }
            Self::VipOfAnotherTable => "Another table of flbc's has a VIP of the file",
            Self::KernelRefuses => {
                "The kernel does not take the rules: a module or feature is missing"
            }
            Self::NftMissing => "There is no nft: only listing the rules needs it (to know)",
            Self::NftOld => "nft is too old to list the rules",
            Self::StrangeTable => "Another program made a table of flbc's name",
            Self::NotInForce => "The kernel has not what was applied",
            Self::OnTrial => {
                "A trial is open: commands that change the tables are refused until it ends (to know)"
            }
            Self::NotApplied => "The kernel has not what the file says (to know)",
        }
    }

    /// The code of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// Whether it stops traffic, or only may be worth knowing.
    pub const fn is_to_mend(self) -> bool {
        !matches!(
            self,
            Self::VipRefused
                | Self::BehindRouter
                | Self::BridgeWithoutHairpin
                | Self::ConnectionsWereDropped
                | Self::InvalidPackets
                | Self::NftMissing
                | Self::OnTrial
                | Self::NotApplied
        )
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that stops a configuration from working, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub code: FindingCode,
    /// Whether it is to be mended; else it is good to know.
    pub mend: bool,
    /// What is wrong, in a sentence without its full stop.
    pub sentence: String,
    /// Commands that mend it, or where only a person can, that show more. Words in capitals are to be filled in.
    pub remedy: Vec<String>,
    /// What in the file it is about.
    pub origin: Option<Span>,
}

impl Finding {
    /// A finding without an origin.
    pub fn new(code: FindingCode, sentence: String, remedy: impl Into<String>) -> Self {
        Self {
            code,
            mend: code.is_to_mend(),
            sentence,
            remedy: vec![remedy.into()],
            origin: None,
        }
    }

    /// The same, good to know.
    #[must_use]
    pub const fn known(mut self) -> Self {
        self.mend = false;
        self
    }

    /// The same, about this place.
    #[must_use]
    pub fn at(mut self, origin: Span) -> Self {
        self.origin = Some(origin).filter(|span| span.is_somewhere());
        self
    }
}

/// What is known of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Links, addresses, routes, settings.
    pub host: &'a Host,
    /// Neighbours that nobody answers for, among those of [`contacts`]; `None` where the privilege to ask is missing.
    pub unresolved: Option<&'a BTreeSet<(u32, IpAddr)>>,
    /// Chains of others; `None` where the privilege to read them is missing.
    pub foreign: Option<&'a [ForeignChain]>,
    /// Which bits of marks flbc's tables leave to others.
    pub layout: Layout,
}

/// All that would stop the file from working on this machine, sorted by what it is about.
pub fn examine(model: &Model, facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    machine::examine(model, facts, &mut findings);
    addresses::examine(model, facts.host, &mut findings);
    arp::examine(model, facts.host, &mut findings);
    paths::examine(model, facts, &mut findings);
    direct::examine(model, facts.host, &mut findings);
    if let Some(foreign) = facts.foreign {
        chains::examine(model, facts, foreign, &mut findings);
    }
    findings.sort_by_key(|finding| finding.code);
    findings
}

/// The services that translate.
fn nat(model: &Model) -> impl Iterator<Item = &Service> {
    let translates = |service: &&Service| service.mode.translates();
    model.services.iter().filter(translates)
}

/// The command that sets a number of one interface's for IPv4.
fn set_for_link(link: &str, name: &str, value: u8) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if link.bytes().all(is_plain) {
        // With slashes, as an interface's name may have dots.
        format!("sysctl -w net/ipv4/conf/{link}/{name}={value}")
    } else {
        // `sysctl` would read signs such as `=` for its own.
        let file = word(&format!("/proc/sys/net/ipv4/conf/{link}/{name}"));
        format!("echo {value} > {file}")
    }
}
