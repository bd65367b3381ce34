//! Maglev's look-up table (Eisenbud et al., NSDI 2016, section 3.4), with weights: for files that name its size. Without
//! one see [`super::growing`].

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::IpAddr;

use super::jhash::jhash;
use crate::model::RealServer;

/// What the table knows of a server. Its name and its place in the file play no part, so that balancers
/// with differently written files agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIdentity {
    /// The server's address.
    pub address: IpAddr,
    /// The server's port, where it has one of its own.
    pub port: Option<u16>,
}

impl ServerIdentity {
    /// The identity of a real server.
    pub const fn of(server: &RealServer) -> Self {
        Self {
            address: server.address,
            port: server.port,
        }
    }

    /// A number that is the server's own, all but surely.
    pub(super) fn number(self) -> u64 {
        u64::from(self.hash(OFFSET_SEED)) << 32 | u64::from(self.hash(SKIP_SEED))
    }

    /// The bytes that all follows from: the address, then the port, zero without one.
    fn hash(self, seed: u32) -> u32 {
        let port = self.port.unwrap_or(0).to_be_bytes();
        let mut bytes = [0; 18];
        let length = match self.address {
            IpAddr::V4(a) => fill(&mut bytes, a.octets().iter().chain(&port)),
            IpAddr::V6(a) => fill(&mut bytes, a.octets().iter().chain(&port)),
        };
        jhash(bytes.get(..length).unwrap_or(&bytes), seed)
    }
}

fn fill<'a>(to: &mut [u8], from: impl Iterator<Item = &'a u8>) -> usize {
    to.iter_mut()
        .zip(from)
        .map(|(to, from)| *to = *from)
        .count()
}

/// The paper's h1 and h2: any two independent hashes. Changing either moves every client of every table.
const OFFSET_SEED: u32 = 0x6d61_676c;
const SKIP_SEED: u32 = 0x6576_2121;

/// A server's walk over the table: `(offset + j * skip) mod size`, which visits every slot since the size
/// is prime.
struct Walk {
    next: u32,
    skip: u32,
}

impl Walk {
    fn new(identity: ServerIdentity, size: u32) -> Self {
        Self {
            next: identity.hash(OFFSET_SEED) % size,
            skip: identity.hash(SKIP_SEED) % (size - 1).max(1) + 1,
        }
    }

    fn step(&mut self, size: u32) -> usize {
        let here = self.next;
        // Both are below `size`, which check keeps far below half of what fits.
        self.next = (here + self.skip) % size;
        here as usize
    }
}

/// When a server takes its next turn: after `taken` turns at a pace of `weight` a round.
#[derive(PartialEq, Eq)]
struct Turn {
    taken: u64,
    weight: u64,
    at: u32,
}

impl Ord for Turn {
    /// `taken / weight`, compared without division; of equals the earlier server.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.taken * other.weight)
            .cmp(&(other.taken * self.weight))
            .then(self.at.cmp(&other.at))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The owner of each slot, by its place among `servers`: identities, each with a weight of at least 1,
/// in an order that every balancer shares. `size` is a prime, at least the number of servers.
///
/// With equal weights this is the paper's loop: each server in turn takes the next free slot of its own
/// permutation. A weight is a pace: a server of weight 3 has three turns in the time that one of weight 1
/// has one. Everyone has a turn before anyone has a second within the same pace, so no server is left out.
pub fn populate(servers: &[(ServerIdentity, u16)], size: u32) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let mut owners = vec![FREE; size as usize];
    let mut walks: Vec<Walk> = servers
        .iter()
        .map(|(identity, _)| Walk::new(*identity, size))
        .collect();
    let mut turns: BinaryHeap<Reverse<Turn>> = (0..)
        .zip(servers)
        .map(|(at, (_, weight))| {
            Reverse(Turn {
                taken: 0,
                weight: u64::from(*weight),
                at,
            })
        })
        .collect();
    for _ in 0..size {
        let Some(Reverse(turn)) = turns.pop() else {
            break;
        };
        // There is a free slot, and the walk passes every slot.
        if let Some(walk) = walks.get_mut(turn.at as usize) {
            loop {
                if let Some(owner) = owners.get_mut(walk.step(size)).filter(|o| **o == FREE) {
                    *owner = turn.at;
                    break;
                }
            }
        }
        turns.push(Reverse(Turn {
            taken: turn.taken + 1,
            ..turn
        }));
    }
    owners
}

/// Whether a table may have this size.
pub fn is_prime(number: u32) -> bool {
    number >= 2 && (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn servers(count: u32) -> Vec<(ServerIdentity, u16)> {
        (0..count)
            .map(|n| {
                let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a14_000b + n));
                (
                    ServerIdentity {
                        address,
                        port: Some(8080),
                    },
                    1,
                )
            })
            .collect()
    }

    fn counts(owners: &[u32], servers: usize) -> Vec<u32> {
        let mut counts = vec![0; servers];
        for owner in owners {
            counts[*owner as usize] += 1;
        }
        counts
    }

    #[test]
    fn equal_weights_differ_by_one_slot() {
        let owners = populate(&servers(7), 509);
        let counts = counts(&owners, 7);
        assert_eq!(
            counts.iter().max().unwrap() - counts.iter().min().unwrap(),
            1
        );
    }

    #[test]
    fn one_of_a_hundred_leaves_and_few_others_move() {
        let all = servers(100);
        let before = populate(&all, 16381);
        let gone = 41;
        let left: Vec<_> = all.iter().filter(|s| **s != all[gone]).copied().collect();
        let after = populate(&left, 16381);
        let mut others = 0;
        let mut moved = 0;
        for (old, new) in before.iter().zip(&after) {
            if *old as usize != gone {
                others += 1;
                moved += u32::from(all[*old as usize].0 != left[*new as usize].0);
            }
        }
        assert!(moved * 100 < others * 3, "{moved} of {others} moved");
    }

    proptest! {
        #[test]
        fn weights_set_the_share(weights in prop::collection::vec(1u16..50, 2..12)) {
            let servers: Vec<_> = servers(12).into_iter().zip(&weights).map(|((i, _), w)| (i, *w)).collect();
            let size = 4093;
            let counts = counts(&populate(&servers, size), servers.len());
            let total: u32 = weights.iter().map(|w| u32::from(*w)).sum();
            for (weight, count) in weights.iter().zip(&counts) {
                let asked = f64::from(*weight) / f64::from(total) * f64::from(size);
                // Turns are whole: each server is off by at most one turn, and makes up for the others'.
                let slack = 1.0 + f64::from(*weight) / f64::from(total) * 12.0;
                prop_assert!((f64::from(*count) - asked).abs() <= slack);
            }
        }
    }
}
