//! Direct return: `netdev NAME`. The packet mark carries the choice from the service's chain to the chain
//! that sends the frame, which is the only one that writes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{
    DirectReturn, Family, Fragments, Interface, MacAddress, Mode, ModeKind, Ports, Protocol,
};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Header, Hook, MarkOf, Rule, Statement, Table, Word, name,
};
use crate::schedule::Choice;

use super::access::Gates;
use super::block::{self, NumberedServer, Onward};
use super::dispatch::{self, Dispatch, Fragment};
use super::persist::ClientMaps;
use super::set::SetBuilder;
use super::way::{self, SEND, SendingWay};
use super::{Input, empty, inhabited, quoted, service, track};

const ONWARD: Onward = Onward {
    mark: MarkOf::Packet,
    slotted: way::slotted,
    chosen: SEND,
    kept: ["slotted_kept", "remember"],
};

const fn is_dr(mode: &Mode) -> bool {
    matches!(mode, Mode::Dr(_))
}

/// The table, `None` without a direct-return service.
pub(super) fn table(input: &Input<'_>) -> Option<Table> {
    let mut table = Table::default();
    input.services(is_dr).next()?;
    if empty::refuses_in_dr(input) {
        table.chains.push(empty::mark_chain(input));
    }
    sending(input, &mut table);
    services(input, &mut table);
    inhabited(table)
}

/// The maps from a server's number to all that sending needs.
struct Maps {
    how: SetBuilder,
    addresses: [(Family, SetBuilder); 2],
    mac: SetBuilder,
    from: SetBuilder,
    device: SetBuilder,
    ways: BTreeSet<SendingWay>,
    sources: BTreeSet<MacAddress>,
}

impl Maps {
    fn new() -> Self {
        Self {
            how: SetBuilder::by_mark(
                name::WAYS,
                Some(DataType::Verdict),
                "real server to the way there",
            ),
            addresses: Family::BOTH.map(|family| {
                let name = name::addresses(family);
                let kind = Some(DataType::Address(family));
                let purpose = "real server to its address; counts packets";
                let map = SetBuilder::by_mark(&name, kind, purpose);
                (family, map.counted())
            }),
            mac: SetBuilder::by_mark(
                name::MACS,
                Some(DataType::Mac),
                "real server to its MAC address; counts packets",
            )
            .counted(),
            from: SetBuilder::by_mark(
                "from",
                Some(DataType::Mac),
                "real server to the MAC address of the interface it is reached by; looked up if there are several",
            ),
            device: SetBuilder::by_mark(
                name::DEVICES,
                Some(DataType::Interface),
                "real server to the interface it is reached by",
            ),
            ways: BTreeSet::new(),
            sources: BTreeSet::new(),
        }
    }

    /// The MAC address that all frames come from that leave by another interface, if it is one: a constant costs less
    /// than a look-up.
    fn only_source(&self) -> Option<MacAddress> {
        let only = self.sources.len() == 1;
        self.sources.first().copied().filter(|_| only)
    }

    fn push(&mut self, server: &NumberedServer<'_>, mode: &DirectReturn) {
        let how = SendingWay::of(server.server, server.block.family, mode);
        self.ways.insert(how);
        self.how.push(server.element(Some(Data::Goto(how.chain()))));
        match server.server.mac {
            Some(mac) => {
                self.mac.push(server.element(Some(Data::Mac(mac))));
                if let Some(from) = mode.source_mac_to(server.server) {
                    self.from.push(server.element(Some(Data::Mac(from))));
                    self.sources.insert(from);
                }
            }
            None => {
                for (family, map) in &mut self.addresses {
                    if *family == server.block.family {
                        map.push(server.element(Some(Data::Address(server.server.address))));
                    }
                }
            }
        }
        if let Some(interface) = way::outgoing(server.server, mode) {
            let interface = Data::Interface(interface.clone());
            self.device.push(server.element(Some(interface)));
        }
    }
}

/// Chains `send` and `slotted`, one chain for each way to a server, and their maps.
fn sending(input: &Input<'_>, table: &mut Table) {
    let mut maps = Maps::new();
    for (block, numbers) in block::blocks(input, is_dr) {
        if let Mode::Dr(mode) = block.mode {
            for server in block::servers(block, numbers) {
                maps.push(&server, mode);
            }
        }
    }
    let lowered: BTreeSet<Family> = maps.ways.iter().filter_map(|how| how.lowered()).collect();
    table.chains.extend(lowered.into_iter().map(way::lowering));
    table
        .chains
        .extend(maps.ways.iter().map(|how| how.sending(maps.only_source())));
    if !maps.how.is_empty() {
        table.chains.push(Chain {
            name: SEND.into(),
            hook: None,
            purpose: "meta mark is a real server: which way there?",
            rules: vec![Rule::fixed([way::send()]), Rule::fixed([Statement::Drop])],
        });
    }
    let slots = block::slot_map(input, block::blocks(input, is_dr));
    if !slots.is_empty() {
        let slotted =
            |name, next, purpose| block::slotted(ONWARD.mark, &slots, name, next, purpose);
        let purpose = "meta mark is a slot: make it a real server";
        let any_way = slotted(way::SLOTTED, way::send(), purpose);
        let purpose = "meta mark is a slot of servers that are all reached in one way";
        let one_way =
            |how: SendingWay| slotted(how.slotted(), Statement::Goto(how.chain()), purpose);
        table.chains.push(any_way);
        table
            .chains
            .extend(ways_of_slots(input).into_iter().map(one_way));
    }
    memory(input, table, &slots);
    let [(_, four), (_, six)] = maps.addresses;
    let known = block::server_set(input, block::blocks(input, is_dr));
    let sets = [
        known,
        slots,
        maps.how,
        four,
        six,
        maps.mac,
        maps.from,
        maps.device,
    ];
    table
        .sets
        .extend(sets.into_iter().filter_map(SetBuilder::finish));
}

/// The ways of all blocks whose chains draw a slot and send, and whose servers are all reached in one way.
fn ways_of_slots(input: &Input<'_>) -> BTreeSet<SendingWay> {
    let blocks = block::blocks(input, is_dr).filter(|(block, numbers)| {
        let remembers = numbers.region.is_some() || block.service.track.is_some();
        matches!(block.choice, Choice::Slots { .. }) && !remembers
    });
    blocks
        .filter_map(|(block, _)| SendingWay::of_all(block))
        .collect()
}

/// What remembers clients: every packet passes it on its way to `send`.
///
/// ```text
/// chain returned4_32 { meta mark vmap @keeper; delete ... }
/// chain remember { meta mark vmap @keeper; meta mark vmap @how }
/// chain slotted_kept { meta mark set meta mark map @slot goto remember; drop }
/// ```
fn memory(input: &Input<'_>, table: &mut Table, slots: &SetBuilder) {
    let Some(memory) = ClientMaps::of(input, MarkOf::Packet, is_dr) else {
        track::lower(input, slots, None, table);
        return;
    };
    let [slotted, remember] = ONWARD.kept;
    let clients = track::ClientMemory {
        look: &memory.remember(),
        remember,
    };
    track::lower(input, slots, Some(&clients), table);
    // A flow is remembered after its client.
    let send = if track::is_used(input) {
        Statement::Goto(track::FOLLOW.into())
    } else {
        way::send()
    };
    table.chains.extend(memory.keeping(Some(&send)));
    table.chains.extend(memory.asking(&[memory.remember()]));
    table.chains.push(Chain {
        name: remember.into(),
        hook: None,
        purpose: "meta mark is a real server of a service that remembers its clients",
        rules: vec![Rule::fixed([memory.remember()]), Rule::fixed([send])],
    });
    if !slots.is_empty() {
        let purpose = "meta mark is a slot of such a service: make it a real server";
        let next = Statement::Goto(remember.into());
        table
            .chains
            .push(block::slotted(ONWARD.mark, slots, slotted, next, purpose));
    }
    table.sets.extend(memory.into_sets());
}

/// A chain for each service, and on each interface the dispatch to the services that listen there.
fn services(input: &Input<'_>, table: &mut Table) {
    let mut by_interface: BTreeMap<&Interface, Vec<dispatch::Entry>> = BTreeMap::new();
    let gates = Gates::of(input, is_dr, ONWARD.mark);
    gates.lower(input, table);
    for plan in input.services(is_dr) {
        let Mode::Dr(mode) = &plan.service.mode else {
            continue;
        };
        table
            .chains
            .extend(service::chains(input, plan, ONWARD, &gates));
        for on in &mode.on {
            let entries = by_interface.entry(on).or_default();
            let service = plan.service;
            entries.extend(dispatch::entries(input, service, |vip| {
                let family = vip.family();
                Data::Goto(name::service_chain(&service.name, family))
            }));
        }
    }
    let errors = quoted::lower(input, table);
    let later = input.model.fragments();
    let mut dispatch_sets = Vec::new();
    for (interface, mut entries) in by_interface {
        let beaten = input.beaten_by_nat(|mode| mode.on.contains(interface));
        entries.extend(beaten.iter().map(dispatch::passing));
        let (sets, lookups) = Dispatch {
            stem: name::dispatch(ModeKind::Dr),
            tail: &name::per_interface("", interface),
            counter: true,
            purpose: "virtual services on one interface; counts packets",
        }
        .build(
            &entries,
            &later
                .get(interface)
                .map_or_else(Vec::new, |of| fragments(input, interface, of)),
        );
        dispatch_sets.extend(sets);
        let mut rules = strangers();
        rules.extend(lookups);
        rules.extend(errors.iter().flat_map(|family| quoted::entry(*family)));
        table.chains.push(Chain {
            name: name::per_interface("on", interface),
            hook: Some(Hook::Ingress(interface.clone())),
            purpose: "frames that arrive here for this host: which service?",
            rules,
        });
    }
    table.sets.splice(0..0, dispatch_sets);
}

/// Frames that arrive on an interface and are none of its own: those for other hosts, which a switch shows that floods,
/// and those of a VLAN, which its own interface takes if there is one. The kernel moves the tag aside before flbc sees
/// the frame, so that all but the tag looks like a packet of this interface; where Ethernet's type is asked for it is in
/// its place. Number 0 is no VLAN: such a frame has a priority, and is this interface's own.
///
/// ```text
/// meta pkttype != host accept
/// @ll,96,32 & 0xff000000 == 0x81000000 meta iiftype ether @ll,112,16 & 0x00000fff != 0x00000000 accept
/// @ll,96,32 & 0xff000000 == 0x88000000 meta iiftype ether @ll,112,16 & 0x00000fff != 0x00000000 accept
/// ```
///
/// The types of tags are 0x8100 and 0x88a8. Neither IPv4 nor IPv6 (0x0800, 0x86dd) begins like one of them, and what else
/// does is nothing that could be for a service.
fn strangers() -> Vec<Rule> {
    let link = |offset, bits, mask| Word {
        header: Header::Link,
        offset,
        bits,
        mask,
    };
    let tagged = |kind| {
        Rule::fixed([
            Statement::Match(Condition::WordIs(link(96, 32, 0xff00_0000), kind)),
            // What has no Ethernet header has others' bytes there.
            Statement::Match(Condition::FromEthernet),
            Statement::Match(Condition::WordIsNot(link(112, 16, 0x0fff), 0)),
            Statement::Accept,
        ])
    };
    vec![
        Rule::fixed([Statement::Match(Condition::ForOthers), Statement::Accept]),
        tagged(0x8100_0000),
        tagged(0x8800_0000),
    ]
}

/// Where later fragments go that arrive on one interface. Those that no service finds the server of are the balancer's
/// own, even where a service takes any port of the VIP.
fn fragments(
    input: &Input<'_>,
    interface: &Interface,
    of: &BTreeMap<(IpAddr, Protocol), Fragments>,
) -> Vec<Fragment> {
    let takes_any: BTreeSet<(IpAddr, Protocol)> = input
        .services(is_dr)
        .filter(|plan| matches!(&plan.service.mode, Mode::Dr(mode) if mode.on.contains(interface)))
        .flat_map(|plan| &plan.service.vips)
        .filter(|vip| vip.ports == Ports::Any)
        .map(|vip| (vip.address, vip.protocol))
        .collect();
    let found = of.iter().filter_map(|(&(address, protocol), fragments)| {
        let (place, follow) = match *fragments {
            Fragments::Follow(place) => (place, true),
            Fragments::Lost { first, .. } => (first, false),
        };
        let service = input.model.services.get(place)?;
        let vip = service
            .vips
            .iter()
            .find(|vip| vip.address == address && vip.protocol == protocol)?;
        let data = if follow {
            Data::Goto(name::service_chain(&service.name, Family::of(address)))
        } else if takes_any.contains(&(address, protocol)) {
            Data::Return
        } else {
            return None;
        };
        Some(Fragment {
            address,
            protocol,
            data,
            origin: vip.span,
        })
    });
    found.collect()
}
