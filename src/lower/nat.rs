//! NAT: `inet NAME`. The connection mark carries the choice from the service's chain to the translation.

use std::net::IpAddr;

use crate::model::{Family, Mode, ModeKind, SourceNat};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Element, Expression, Hook, Key, KeyType, MarkOf, Name, Rule,
    Set, Statement, Table, name,
};
use crate::source::Span;

use super::access::Gates;
use super::block::{self, NumberedServer, Onward};
use super::dispatch::{self, Dispatch};
use super::persist::{self, ClientMaps};
use super::set::{Counted, SetBuilder};
use super::{Input, Scope, empty, guard, inhabited, service, traffic};

const SLOTTED: &str = "slotted";
const TRANSLATE: &str = "translate";
const DISPATCH: &str = "dispatch";
const SOURCE: &str = "source";
const REMEMBER_CLIENT: &str = "remember_client";

const ONWARD: Onward = Onward {
    mark: MarkOf::Connection,
    slotted: |_| SLOTTED,
    chosen: TRANSLATE,
    // What remembers sees the connection's first packet after its translation.
    kept: [SLOTTED, TRANSLATE],
};

const fn is_nat(mode: &Mode) -> bool {
    matches!(mode, Mode::Nat(_))
}

/// The table, `None` without any service.
pub(super) fn table(input: &Input<'_>) -> Option<Table> {
    let mut table = Table::default();
    if input.plan.services.is_empty() {
        return None;
    }
    table.chains.push(empty::refuse_chain());
    if empty::refuses_in_dr(input) {
        table.chains.push(guard::refused_chain(input));
    }
    if input.services(is_nat).next().is_some() {
        translation(input, &mut table);
        let remembering = memory(input, &mut table);
        services(input, &mut table);
        let vips = vips(input);
        let families: Vec<Family> = vips.iter().map(|(family, _)| *family).collect();
        sources(input, &families, &mut table);
        traffic::lower(input, &families, remembering, &mut table);
        table.sets.extend(vips.into_iter().map(|(_, set)| set));
    }
    guard::lower(input, &mut table);
    inhabited(table)
}

/// From a mark to the server's address, and its port where it has one of its own. A map for servers with
/// and one for servers without, so that each new connection is counted by one element, once.
struct Destinations {
    family: Family,
    same_port: SetBuilder,
    own_port: SetBuilder,
}

impl Destinations {
    fn new(family: Family, servers: usize) -> Self {
        let map = |name: Name, purpose| {
            SetBuilder::by_mark(&name, Some(DataType::Address(family)), purpose)
                .counted()
                .expecting(servers)
        };
        Self {
            family,
            same_port: map(
                name::addresses(family),
                "real server to its address; the port stays",
            ),
            own_port: map(
                name::addresses_with_ports(family),
                "real server to its address; the port is in @port",
            ),
        }
    }

    fn push(&mut self, server: &NumberedServer<'_>) {
        let element = server.element(Some(Data::Address(server.server.address)));
        match server.server.port {
            Some(_) => self.own_port.push(element),
            None => self.same_port.push(element),
        }
    }

    /// ```text
    /// meta l4proto { tcp, udp, sctp } dnat ip to ct mark map @addr4p : ct mark map @port
    /// dnat ip to ct mark map @addr4
    /// ```
    fn rules(&self, port: &SetBuilder) -> Vec<Rule> {
        let lookup = |set: &SetBuilder| Expression::Map(Box::new(Expression::CtMark), set.name());
        let mut rules = Vec::new();
        if !self.own_port.is_empty() {
            rules.push(Rule::fixed([
                Statement::Match(Condition::HasPorts),
                Statement::Dnat {
                    family: self.family,
                    address: lookup(&self.own_port),
                    port: Some(lookup(port)),
                },
            ]));
        }
        if !self.same_port.is_empty() {
            rules.push(Rule::fixed([Statement::Dnat {
                family: self.family,
                address: lookup(&self.same_port),
                port: None,
            }]));
        }
        rules
    }
}

/// Chains `translate` and `slotted`, and the maps that they look up.
fn translation(input: &Input<'_>, table: &mut Table) {
    let mut destinations = Family::BOTH.map(|family| Destinations::new(family, input.servers()));
    let mut port =
        SetBuilder::by_mark(name::PORTS, Some(DataType::Port), "real server to its port")
            .expecting(input.servers());
    for (block, numbers) in block::blocks(input, is_nat) {
        for server in block::servers(block, numbers) {
            for destination in &mut destinations {
                if destination.family == block.family {
                    destination.push(&server);
                }
            }
            if let Some(own) = server.server.port {
                port.push(server.element(Some(Data::Port(own))));
            }
        }
    }
    let mut rules: Vec<Rule> = destinations.iter().flat_map(|d| d.rules(&port)).collect();
    // Never let a connection through to whatever listens on the VIP itself.
    rules.push(Rule::fixed([Statement::Drop]));
    table.chains.push(Chain {
        name: TRANSLATE.into(),
        hook: None,
        purpose: "ct mark is a real server: send the connection there",
        rules,
    });
    let slots = block::slot_map(input, block::blocks(input, is_nat));
    if !slots.is_empty() {
        let purpose = "ct mark is a slot: make it a real server";
        let next = Statement::Goto(TRANSLATE.into());
        table
            .chains
            .push(block::slotted(ONWARD.mark, &slots, SLOTTED, next, purpose));
    }
    let [four, six] = destinations;
    // There even where no server is: rules look it up.
    let known = block::server_set(input, block::blocks(input, is_nat));
    table.sets.push(known.always());
    let sets = [
        slots,
        four.same_port,
        four.own_port,
        six.same_port,
        six.own_port,
        port,
    ];
    table
        .sets
        .extend(sets.into_iter().filter_map(SetBuilder::finish));
}

/// What remembers clients. The nat chains see only the first packet of a connection, and it must not be translated
/// before they have chosen: so a chain behind them remembers, at every packet of the client. The rule that goes there
/// is for the chain that sees them all.
///
/// ```text
/// ct mark >= 0x80000000 ct direction original goto remember_client
/// chain remember_client {
///     meta l4proto { tcp, udp, sctp } ct original ip daddr @vip4 ct mark vmap @keeper
/// }
/// ```
fn memory(input: &Input<'_>, table: &mut Table) -> Option<Rule> {
    let memory = ClientMaps::of(input, MarkOf::Connection, is_nat)?;
    table.chains.extend(memory.keeping(None));
    // ct mark @alive goto translate
    let returned = [
        Statement::Match(memory.alive()),
        Statement::Goto(TRANSLATE.into()),
    ];
    table.chains.extend(memory.asking(&returned));
    let rules = memory.families().map(|family| {
        let vips = name::per_family(name::VIPS, family, "");
        Rule::fixed([
            // An ICMP error comes from a router, in the client's direction.
            Statement::Match(Condition::HasPorts),
            Statement::Match(Condition::InSet(
                Expression::OriginalDestination(family),
                vips,
            )),
            memory.remember(),
        ])
    });
    table.chains.push(Chain {
        name: REMEMBER_CLIENT.into(),
        hook: None,
        purpose: "a packet of a client who is remembered, if flbc translated the connection",
        rules: rules.collect(),
    });
    table.sets.extend(memory.into_sets());
    let mut statements = persist::gate().to_vec();
    statements.push(Statement::Goto(REMEMBER_CLIENT.into()));
    Some(Rule::fixed(statements))
}

/// A chain for each service, and the dispatch to them from outside and from the balancer itself.
fn services(input: &Input<'_>, table: &mut Table) {
    let mut entries = Vec::new();
    let gates = Gates::of(input, is_nat, ONWARD.mark);
    gates.lower(input, table);
    for plan in input.services(is_nat) {
        let service = plan.service;
        table
            .chains
            .extend(service::chains(input, plan, ONWARD, &gates));
        entries.extend(dispatch::entries(input, service, |vip| {
            let family = vip.family();
            Data::Goto(name::service_chain(&service.name, family))
        }));
    }
    let (sets, rules) = Dispatch {
        stem: name::dispatch(ModeKind::Nat),
        tail: "",
        counter: true,
        purpose: "virtual services; counts new connections",
    }
    .build(&entries, &[]);
    // Maps that hold verdicts come first: a reader meets the services before the servers.
    table.sets.splice(0..0, sets);
    table.chains.push(Chain {
        name: DISPATCH.into(),
        hook: None,
        purpose: "which service?",
        rules,
    });
    for (name, hook, purpose) in [
        (
            "prerouting",
            Hook::NatPrerouting,
            "clients' new connections",
        ),
        (
            "output",
            Hook::NatOutput,
            "the balancer's own new connections",
        ),
    ] {
        table.chains.push(Chain {
            name: name.into(),
            hook: Some(hook),
            purpose,
            rules: vec![
                // ct status confirmed return
                Rule::fixed([Statement::Match(Condition::Followed), Statement::Return]),
                Rule::fixed([Statement::Jump(DISPATCH.into())]),
            ],
        });
    }
}

/// Who needs another source address: servers in `masquerade` and `snat` services, servers that are their own
/// clients (their answer would not come back through the balancer), and the balancer's own connections.
///
/// ```text
/// ct status dnat ct original ip daddr @vip4 ct mark @server goto source
/// ```
fn sources(input: &Input<'_>, families: &[Family], table: &mut Table) {
    let mut masquerade = SetBuilder::by_mark(
        name::MASQUERADED,
        None,
        "real servers of masquerade services",
    );
    let [mut four, mut six] = Family::BOTH.map(|family| {
        let name = name::per_family(name::FIXED_SOURCES, family, "");
        let purpose = "real servers of snat services";
        SetBuilder::by_mark(&name, Some(DataType::Address(family)), purpose)
    });
    let mut real: Vec<(IpAddr, Span)> = Vec::new();
    for (block, numbers) in block::blocks(input, is_nat) {
        for server in block::servers(block, numbers) {
            real.push((server.server.address, server.server.span));
            match block.mode {
                Mode::Dr(_) | Mode::Nat(SourceNat::Keep) => {}
                Mode::Nat(SourceNat::Masquerade) => masquerade.push(server.element(None)),
                Mode::Nat(source @ SourceNat::Fixed { .. }) => {
                    let map = match block.family {
                        Family::V4 => &mut four,
                        Family::V6 => &mut six,
                    };
                    if let Some(address) = source.fixed(block.family) {
                        map.push(server.element(Some(Data::Address(address))));
                    }
                }
            }
        }
    }
    let hairpin = "addresses of real servers, for hairpin";
    let real_sets = addresses(input, "real", real, hairpin);
    let mut rules = Vec::new();
    let in_set = |key, set| Statement::Match(Condition::InSet(key, set));
    if !masquerade.is_empty() {
        // ct mark @masq masquerade
        rules.push(Rule::fixed([
            Statement::Match(Condition::InSet(Expression::CtMark, masquerade.name())),
            Statement::Masquerade,
        ]));
    }
    for (family, map) in Family::BOTH.into_iter().zip([&four, &six]) {
        if !map.is_empty() {
            // snat ip to ct mark map @snat4
            rules.push(Rule::fixed([Statement::Snat {
                family,
                address: Expression::Map(Box::new(Expression::CtMark), map.name()),
            }]));
        }
    }
    for (family, set) in &real_sets {
        // ip saddr @real4 masquerade
        rules.push(Rule::fixed([
            in_set(Expression::Source(*family), set.name.clone()),
            Statement::Masquerade,
        ]));
    }
    // fib saddr type local masquerade
    rules.push(Rule::fixed([
        Statement::Match(Condition::FromThisHost),
        Statement::Masquerade,
    ]));
    table.chains.push(Chain {
        name: SOURCE.into(),
        hook: None,
        purpose: "whose answers would not come back by themselves?",
        rules,
    });
    let gate = families.iter().map(|family| {
        let vips = name::per_family(name::VIPS, *family, "");
        Rule::fixed([
            Statement::Match(Condition::Dnatted),
            in_set(Expression::OriginalDestination(*family), vips),
            in_set(Expression::CtMark, name::SERVERS.into()),
            Statement::Goto(SOURCE.into()),
        ])
    });
    table.chains.push(Chain {
        name: "postrouting".into(),
        hook: Some(Hook::NatPostrouting),
        purpose: "connections that flbc translated, and no others",
        rules: gate.collect(),
    });
    let marks = [masquerade, four, six].into_iter();
    table.sets.extend(marks.filter_map(SetBuilder::finish));
    table.sets.extend(real_sets.into_iter().map(|(_, set)| set));
}

/// The VIPs.
fn vips(input: &Input<'_>) -> Vec<(Family, Set)> {
    let services = input.services(is_nat);
    let vips = services.flat_map(|plan| &plan.service.vips);
    let vips = vips.map(|vip| (vip.address, vip.span)).collect();
    addresses(input, name::VIPS, vips, "addresses of virtual services")
}

/// Sets of addresses, for each family that has any.
fn addresses(
    input: &Input<'_>,
    stem: &str,
    mut all: Vec<(IpAddr, Span)>,
    purpose: &'static str,
) -> Vec<(Family, Set)> {
    // Each address once, with the first place that names it.
    all.sort_by_key(|(address, _)| *address);
    all.dedup_by_key(|(address, _)| *address);
    let expected = match input.scope {
        Scope::Whole => all.len(),
        Scope::Part(part) => part.addresses.len(),
    };
    let sets = Family::BOTH.into_iter().filter_map(|family| {
        let name = name::per_family(stem, family, "");
        let mut set =
            SetBuilder::new(&name, KeyType::Address(family), None, purpose).expecting(expected);
        for (address, span) in all.iter().filter(|(a, _)| Family::of(*a) == family) {
            if input.scope.has_address(*address) {
                set.push(Element {
                    key: Key::Address(*address),
                    data: None,
                    comment: None,
                    origin: *span,
                });
            } else {
                set.push(Counted::OUTSIDE);
            }
        }
        Some((family, set.finish()?))
    });
    sets.collect()
}
