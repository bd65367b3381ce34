//! A table that grows: how Maglev's table is filled where the file names no size.
//!
//! Sizes are [`SMALLEST`] doubled as often as it takes. A slot is drawn by `(hash * size) >> 32`, so the two halves of a
//! slot are neighbours in the table of twice the size, and a table that is made from the smaller one sends hardly anybody
//! elsewhere:
//!
//! 1. In the smallest table servers claim slots, each in an order of its own, until they have their shares.
//! 2. Each half of a slot begins with the owner of the whole. Then as few slots change hands as fairness needs.
//! 3. The slots of servers that take no clients now are handed over to the others. Nobody else moves.
//!
//! All of it follows from the servers' addresses, ports, weights and states. How they were added one after the other does
//! not matter, so balancers agree, and a table can be made anew at any time.

use std::cmp::Reverse;

use super::maglev::ServerIdentity;

/// The smallest table. With 512 slots, a server more or less moves at most 10 points of a hundred beside its share; with
/// 256 it would be 13, with 1024 7. A service of two servers has half of the slots for nothing but that.
pub const SMALLEST: u32 = 512;

/// The largest table, of about 100 MB in the kernel.
pub const LARGEST: u32 = 1 << 20;

/// The table's size for so many declared servers: a hundred slots for each, as far as there are so many.
pub fn size(declared: usize) -> u32 {
    let enough = |size: &u32| *size as usize >= declared.saturating_mul(100);
    let sizes = std::iter::successors(Some(SMALLEST), |size| Some(size * 2));
    let mut sizes = sizes.take_while(|size| *size < LARGEST);
    sizes.find(enough).unwrap_or(LARGEST)
}

/// A server that has a share in the table.
#[derive(Debug, Clone, Copy)]
pub struct Shareholder {
    /// What tells the server from others: its address and port.
    pub identity: ServerIdentity,
    /// The server's weight, 1 to 65535.
    pub weight: u16,
    /// Whether it takes clients now. If not, the others have its share.
    pub live: bool,
}

/// The owner of each slot, by its place among `servers`, of which at least one is live. They are in an order that every
/// balancer shares.
pub fn fill(servers: &[Shareholder], size: u32) -> Vec<u32> {
    let mut table = GrowingTable::new(servers);
    while table.owners.len() < size as usize {
        table.double();
    }
    table.hand_over();
    table.owners
}

/// The owner of a slot that has none.
const FREE: u32 = u32::MAX;

/// What servers walk through the table or have scores for: each time anew, so that who had luck once has no more of it
/// later.
#[derive(Clone, Copy)]
enum Matter {
    /// Slots of the table that is the smallest doubled so many times.
    Doubled(u32),
    /// Slots of servers that are not live.
    Inherited,
}

struct GrowingTable<'s> {
    servers: &'s [Shareholder],
    /// For each server, a number that is its own.
    ids: Vec<u64>,
    owners: Vec<u32>,
    /// How often the smallest table was doubled.
    doubled: u32,
}

impl<'s> GrowingTable<'s> {
    fn new(servers: &'s [Shareholder]) -> Self {
        let ids = servers.iter().map(|server| server.identity.number());
        let mut table = Self {
            servers,
            ids: ids.collect(),
            owners: vec![FREE; SMALLEST as usize],
            doubled: 0,
        };
        let quotas = table.quotas(|_| true);
        let all: Vec<u32> = (0..SMALLEST).collect();
        table.claim(&all, &quotas, Matter::Doubled(0));
        table
    }

    /// Makes two slots of each, then evens out what the finer table can tell apart.
    fn double(&mut self) {
        let halves = self.owners.iter().flat_map(|owner| [*owner; 2]);
        self.owners = halves.collect();
        self.doubled += 1;
        let (quotas, counts) = (self.quotas(|_| true), self.counts());
        let pairs = || counts.iter().zip(&quotas);
        let mut surplus: Vec<u32> = pairs()
            .map(|(count, quota)| count.saturating_sub(quota + slack(*quota)))
            .collect();
        let lack = self.lack(&counts, &quotas, total(&surplus));
        // What some have to take others have to give up.
        let more = total(&lack).saturating_sub(total(&surplus));
        let room: Vec<u32> = pairs()
            .zip(&surplus)
            .map(|((count, quota), gives)| (count - gives).saturating_sub(*quota))
            .collect();
        self.spread(more, &room, &mut surplus);
        let matter = Matter::Doubled(self.doubled);
        let free = self.released(&surplus, matter);
        self.claim(&free, &lack, matter);
    }

    /// Gives the slots of servers that take no clients to those that do.
    fn hand_over(&mut self) {
        let live = |at: usize| self.servers.get(at).is_some_and(|server| server.live);
        let free: Vec<u32> = (0..)
            .zip(&self.owners)
            .filter_map(|(slot, owner)| (!live(*owner as usize)).then_some(slot))
            .collect();
        if !free.is_empty() {
            let quotas = self.quotas(live);
            let lack = self.lack(&self.counts(), &quotas, free.len() as u64);
            self.claim(&free, &lack, Matter::Inherited);
        }
    }

    /// How many slots each server has to take, so that none has too few and so many are taken.
    fn lack(&self, counts: &[u32], quotas: &[u32], slots: u64) -> Vec<u32> {
        let pairs = || counts.iter().zip(quotas);
        let mut lack: Vec<u32> = pairs()
            .map(|(count, quota)| (quota - slack(*quota)).saturating_sub(*count))
            .collect();
        let room: Vec<u32> = pairs()
            .zip(&lack)
            .map(|((count, quota), takes)| quota.saturating_sub(count + takes))
            .collect();
        self.spread(slots.saturating_sub(total(&lack)), &room, &mut lack);
        lack
    }

    /// How many slots each server has.
    fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.servers.len()];
        for owner in &self.owners {
            if let Some(count) = counts.get_mut(*owner as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// How many slots each of these servers should have: in proportion to weight, and at least one where there are enough.
    ///
    /// What is left over when the parts of slots are cut off goes to the largest such parts, and to luck: each server
    /// adds a fixed part of a slot that is its own. Else equal weights would gain or lose a slot all at once when
    /// another server comes.
    fn quotas(&self, among: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut quotas = vec![0; self.servers.len()];
        let mut shares: Vec<(u64, usize)> = (0..)
            .zip(self.servers)
            .filter(|(at, _)| among(*at))
            .map(|(at, server)| (server.weight.into(), at))
            .collect();
        let mut slots = self.owners.len() as u64;
        let mut weights: u64 = shares.iter().map(|(weight, _)| weight).sum();
        if slots >= shares.len() as u64 {
            // The lightest have their one slot, and the rest is shared by the rest.
            shares.sort_unstable_by_key(|share| Reverse(*share));
            while let Some((weight, at)) = shares.pop_if(|(weight, _)| *weight * slots < weights) {
                set(&mut quotas, at, 1);
                slots -= 1;
                weights -= weight;
            }
        }
        let mut parts = Vec::with_capacity(shares.len());
        let mut left = slots;
        for (weight, at) in shares {
            let (whole, part) = (weight * slots / weights, weight * slots % weights);
            let luck = self.ids.get(at).map_or(0, |id| id >> 40);
            parts.push(((part << 24) / weights + luck, at, whole));
            left -= whole;
        }
        parts.sort_unstable_by_key(|part| Reverse(*part));
        for (luck, (_, at, whole)) in (0..).zip(parts) {
            set(&mut quotas, at, whole + u64::from(luck < left));
        }
        quotas
    }

    /// Spreads so many slots over servers that have room for them, one each in turn.
    fn spread(&self, slots: u64, rooms: &[u32], to: &mut [u32]) {
        let mut turn: Vec<(u64, usize, u32)> = (0..)
            .zip(rooms)
            .filter(|(_, room)| **room > 0)
            .filter_map(|(at, room)| Some((*self.ids.get(at)?, at, *room)))
            .collect();
        turn.sort_unstable();
        let mut left = slots;
        while left > 0 && !turn.is_empty() {
            for (_, at, room) in turn
                .iter_mut()
                .take(usize::try_from(left).unwrap_or(usize::MAX))
            {
                if let Some(count) = to.get_mut(*at) {
                    *count += 1;
                }
                *room -= 1;
                left -= 1;
            }
            turn.retain(|(.., room)| *room > 0);
        }
    }

    /// The slots that servers give up: of each so many as are told, those for which it has the lowest scores.
    fn released(&self, surplus: &[u32], matter: Matter) -> Vec<u32> {
        let gives = |owner: u32| surplus.get(owner as usize).copied().unwrap_or_default();
        let seeds: Vec<u64> = self.ids.iter().map(|id| seed(*id, matter)).collect();
        let mut slots: Vec<(u32, u64, u32)> = (0..)
            .zip(&self.owners)
            .filter(|(_, owner)| gives(**owner) > 0)
            .filter_map(|(slot, owner)| {
                let seed = *seeds.get(*owner as usize)?;
                Some((*owner, score(seed, slot), slot))
            })
            .collect();
        slots.sort_unstable();
        let of_each = slots.chunk_by(|(one, ..), (other, ..)| one == other);
        of_each
            .flat_map(|slots| {
                let gives = slots.first().map_or(0, |(owner, ..)| gives(*owner));
                slots.iter().take(gives as usize)
            })
            .map(|(.., slot)| *slot)
            .collect()
    }

    /// Gives slots to servers that have room for so many.
    ///
    /// All walk through the table at the same pace, each in an order of its own, and who finds a free slot has it: so it
    /// goes to the one that comes by first. In the paper a turn goes on until a free slot is found, and one slot more or
    /// less turns everything that comes after.
    fn claim(&mut self, free: &[u32], room: &[u32], matter: Matter) {
        for slot in free {
            if let Some(owner) = self.owners.get_mut(*slot as usize) {
                *owner = FREE;
            }
        }
        let size = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        // What is inherited goes where it went in the smaller table.
        let steps_a_place = match matter {
            Matter::Doubled(_) => 1,
            Matter::Inherited => size / SMALLEST,
        };
        let mut claimants: Vec<Claimant> = (0..)
            .zip(room.iter().zip(&self.ids))
            .filter(|(_, (room, _))| **room > 0)
            .map(|(server, (room, id))| Claimant {
                id: *id,
                server,
                room: *room,
                walk: Walk::new(seed(*id, matter), size / steps_a_place),
            })
            .collect();
        claimants.sort_unstable_by_key(|claimant| (claimant.id, claimant.server));
        let mut left = free.len();
        for step in 0..size {
            if left == 0 {
                break;
            }
            let (step, beside) = (step / steps_a_place, step % steps_a_place);
            for claimant in &mut claimants {
                let slot = claimant.walk.place(step) * steps_a_place + beside;
                if let Some(owner) = self.owners.get_mut(slot as usize)
                    && *owner == FREE
                    && claimant.room > 0
                {
                    *owner = claimant.server;
                    claimant.room -= 1;
                    left -= 1;
                }
            }
            claimants.retain(|claimant| claimant.room > 0);
        }
    }
}

/// A server that has room for slots.
struct Claimant {
    id: u64,
    /// Its place among the servers.
    server: u32,
    room: u32,
    walk: Walk,
}

/// The order in which a server walks through a table whose size is a power of two: it comes by each place once, as if
/// by chance.
struct Walk {
    factors: [u32; 3],
    offsets: [u32; 3],
    last: u32,
    half: u32,
}

impl Walk {
    fn new(seed: u64, places: u32) -> Self {
        let numbers = [1, 2, 3].map(|which| mixed(seed ^ which));
        Self {
            // Odd ones, so that no two steps lead to one place.
            factors: numbers.map(|number| upper(number) | 1),
            offsets: numbers.map(lower),
            last: places - 1,
            half: places.ilog2().div_ceil(2),
        }
    }

    fn place(&self, step: u32) -> u32 {
        let mut place = step;
        for (factor, offset) in self.factors.iter().zip(self.offsets) {
            place = place.wrapping_mul(*factor).wrapping_add(offset) & self.last;
            // Factors spread bits upwards, this downwards.
            place ^= place >> self.half;
        }
        place
    }
}

/// How far a server's slots may be from its quota before any change hands.
///
/// Two per cent keep a share within three where it has a hundred slots. In coarse tables, which finer ones are made from,
/// it is more, for each slot that moves there is many in the end.
fn slack(quota: u32) -> u32 {
    (quota / 50).max((quota / 8).min(2))
}

fn total(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

fn set(quotas: &mut [u32], at: usize, slots: u64) {
    if let Some(quota) = quotas.get_mut(at) {
        // At most the table's size.
        *quota = u32::try_from(slots).unwrap_or(u32::MAX);
    }
}

/// A number that is a server's own in a matter. Changing it moves clients of every table.
fn seed(id: u64, matter: Matter) -> u64 {
    mixed(
        id ^ match matter {
            Matter::Doubled(times) => u64::from(times) << 32,
            Matter::Inherited => u64::MAX,
        },
    )
}

/// A server's score for a slot.
fn score(seed: u64, slot: u32) -> u64 {
    mixed(mixed(seed ^ u64::from(slot) << 40))
}

/// Every bit of the outcome depends on every bit that goes in: both halves of the product with the golden ratio.
fn mixed(bits: u64) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(bits) * u128::from(GOLDEN);
    let fold = product ^ (product >> 64);
    u64::try_from(fold & u128::from(u64::MAX)).unwrap_or_default()
}

fn upper(bits: u64) -> u32 {
    u32::try_from(bits >> 32).unwrap_or_default()
}

fn lower(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_hundred_slots_for_each() {
        for (declared, slots) in [
            (1, 512),
            (5, 512),
            (6, 1024),
            (81, 8192),
            (82, 16384),
            (5242, 524_288),
            (5243, 1 << 20),
            (usize::MAX, 1 << 20),
        ] {
            assert_eq!(size(declared), slots, "{declared} servers");
        }
    }

    #[test]
    fn a_walk_comes_by_each_place_once() {
        for places in [512, 1024, 2048, 1 << 15] {
            for number in 0..20 {
                let walk = Walk::new(mixed(number), places);
                let mut seen = vec![false; places as usize];
                for step in 0..places {
                    seen[walk.place(step) as usize] = true;
                }
                assert!(seen.iter().all(|seen| *seen), "{number} of {places}");
            }
        }
    }

    #[test]
    fn quotas_are_within_one_of_what_weights_ask_for_and_leave_nobody_out() {
        let quotas = |weights: &[u16]| {
            let identity = |at: usize| ServerIdentity {
                address: std::net::Ipv4Addr::from(u32::try_from(at).unwrap()).into(),
                port: None,
            };
            let servers: Vec<_> = (0..)
                .zip(weights)
                .map(|(at, weight)| Shareholder {
                    identity: identity(at),
                    weight: *weight,
                    live: true,
                })
                .collect();
            GrowingTable::new(&servers).quotas(|_| true)
        };
        assert_eq!(quotas(&[1, 1]), [256, 256]);
        assert_eq!(quotas(&[3, 1]), [384, 128]);
        assert_eq!(quotas(&[65_535, 1, 1]), [510, 1, 1]);
        let mixed: Vec<u16> = (0..100).map(|at| at % 5 + 1).collect();
        for (quota, weight) in quotas(&mixed).iter().zip(&mixed) {
            let asked = 512.0 * f64::from(*weight) / 300.0;
            assert!(
                (f64::from(*quota) - asked).abs() < 1.0,
                "{quota} for {asked}"
            );
        }
        let many = quotas(&[1; 1000]);
        assert_eq!(many.iter().sum::<u32>(), 512);
        assert!(many.iter().all(|quota| *quota <= 1));
    }
}
