//! What others changed, in the operator's words: an element by the VIP, the server or the slot that its key stands for.

use std::cell::LazyCell;
use std::net::IpAddr;

use crate::diff::{Drift, Drifted, Observed, ObservedTable, drift};
use crate::emit::netlink::{Bytes, Element, Shape, TableFamily, kind};
use crate::lower::Comment;
use crate::model::Protocol;
use crate::ruleset::name::{self, service_of};

use super::element::{address_of, mark, port_of, word};
use super::numbers::{Draw, draw};
use super::services::{mode_of, vip};

/// So many things that somebody else changed are told one by one.
pub(crate) const TOLD: usize = 10;

/// What others changed from what was left to what was found. Those that are told have words.
pub(crate) fn drifted_since(left: &Observed, found: &Observed) -> Vec<Drift> {
    let mut all = drift(left, found);
    let sides = [left, found];
    let draws = LazyCell::new(|| TableFamily::BOTH.map(|family| draws(sides, family)));
    for one in all.iter_mut().take(TOLD) {
        let Drifted::Element(set, element) = &one.what else {
            continue;
        };
        let tables = sides.map(|side| side.table(one.family));
        let service = |slot| {
            let [inet, netdev] = &*draws;
            let draws = match one.family {
                TableFamily::Inet => inet,
                TableFamily::Netdev => netdev,
            };
            slot_of(draws, slot)
        };
        one.about = about(tables, one.family, set, element, service);
    }
    all
}

/// The slots that a service's chain draws: the first, how many, and whose they are.
type Drawn = (u32, u32, String);

fn draws(sides: [&Observed; 2], family: TableFamily) -> Vec<Drawn> {
    let tables = sides.into_iter().filter_map(|side| side.table(family));
    let chains = tables.flat_map(|table| &table.chains);
    chains
        .filter_map(|chain| match (service_of(&chain.name)?, draw(chain)?) {
            (service, Draw::Slots(first, count)) => Some((first, count, service.to_owned())),
            (_, Draw::Only(_)) => None,
        })
        .collect()
}

/// `slot 3 of service www`. Services that share their servers share slots: the first by name is told.
fn slot_of(draws: &[Drawn], slot: u32) -> Option<String> {
    let having = draws.iter().filter_map(|(first, count, service)| {
        let place = slot.checked_sub(*first)?;
        (place < *count).then_some((service, place))
    });
    let (service, place) = having.min()?;
    Some(format!("slot {place} of service {service}"))
}

type Tables<'t> = [Option<&'t ObservedTable>; 2];

/// What an element is about; `None` where that cannot be told.
fn about(
    tables: Tables<'_>,
    family: TableFamily,
    set: &str,
    element: &Element,
    slot: impl Fn(u32) -> Option<String>,
) -> Option<String> {
    let leads_to_services = set.starts_with(name::dispatch(mode_of(family)));
    if (leads_to_services || set.starts_with(name::LOCAL))
        && let Some(vip) = vip(set, element)
    {
        let chain = crate::diff::destination(element);
        let service = chain.and_then(|chain| service_of(chain));
        let service = service.map_or_else(String::new, |service| format!(" of service {service}"));
        return Some(format!("VIP {vip}{service}"));
    }
    let mut sets = tables.into_iter().flatten();
    let shape = &sets.find_map(|table| table.set(set))?.shape;
    if shape.key_type == kind::MARK {
        let number = mark(element)?;
        return match set {
            name::SLOTS => slot(number),
            name::AWAY => Some(format!("service {}", element.comment.as_deref()?)),
            _ => server(tables, number),
        };
    }
    let first = fields(shape, &element.key, tables)?;
    let last = element.key_end.as_ref();
    Some(match last.and_then(|last| fields(shape, last, tables)) {
        Some(last) if last != first => format!("{first} to {last}"),
        _ => first,
    })
}

/// `server web1 of www`
fn server(tables: Tables<'_>, number: u32) -> Option<String> {
    let sets = tables.into_iter().flatten();
    let sets = sets.filter_map(|table| table.set(name::SERVERS));
    let mut elements = sets.flat_map(|set| &set.elements);
    let element = elements.find(|element| mark(element) == Some(number))?;
    let comment = Comment::read(element.comment.as_deref()?)?;
    Some(format!("server {}", comment.who))
}

/// The fields of a key, one after the other: `10.0.0.1 tcp 80`
fn fields(shape: &Shape, key: &Bytes, tables: Tables<'_>) -> Option<String> {
    let mut rest = key.as_slice();
    let mut words = Vec::new();
    let kinds = kind::fields(shape.key_type);
    for (at, kind) in kinds.iter().enumerate() {
        let length = shape
            .fields
            .get(at)
            .map_or(rest.len(), |length| usize::from(*length));
        let value = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        words.push(match *kind {
            kind::IPV4 | kind::IPV6 => address_of(value).as_ref().map(IpAddr::to_string)?,
            kind::SERVICE => port_of(value)?.to_string(),
            kind::PROTOCOL => protocol(*value.first()?)?,
            kind::MARK => {
                let number = word(value)?;
                server(tables, number).unwrap_or_else(|| format!("mark {number:#010x}"))
            }
            _ => return None,
        });
    }
    Some(words.join(" "))
}

fn protocol(number: u8) -> Option<String> {
    let mut all = Protocol::ALL.into_iter();
    let found = all.find(|protocol| protocol.number() == number)?;
    Some(found.name().to_owned())
}
