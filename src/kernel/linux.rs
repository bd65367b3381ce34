//! The kernel that flbc runs on.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::diff::{Observed, ObservedChain, ObservedSet};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::batch::{Batch, Ending};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::constant::{element, message, table};
use crate::emit::netlink::{Bytes, Counter, Element, Hook, Interfaces, TableFamily, kind};
use crate::model::MacAddress;
use crate::ruleset::name;

use super::error::{Reason, Refusal};
use super::read::{self, ATTEMPTS, RulesByChain};
use super::socket::{Answer, Socket};
use super::{
    Balanced, BaseChain, Committed, Connection, Counted, Flow, ForeignChain, Judged, Kernel,
    KernelError, Memory, Part, Recollection, Traffic, Verdict, conntrack,
};

/// So many chains are asked for one by one; more, with all others.
const FEW_CHAINS: usize = 64;

/// The kernel of this network namespace.
pub struct Linux {
    pub(super) socket: Socket,
}

impl Linux {
    /// The kernel, in the network namespace of the calling thread.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            socket: Socket::open()?,
        })
    }

    pub(super) fn read_generation(&mut self) -> Result<u32, KernelError> {
        const ID: u16 = 1;
        let mut generation = None;
        self.socket.get(
            message::GET_GENERATION,
            0,
            |_| {},
            |_, attributes| {
                generation = attributes.find(ID).and_then(Attribute::u32);
            },
        )?;
        generation.ok_or(KernelError::Failed {
            doing: "read the generation of the kernel's rules",
            errno: Errno::PROTO,
        })
    }

    pub(super) fn transact(
        &mut self,
        table: &str,
        changes: &[Change],
        expected: Option<u32>,
        ending: Ending,
    ) -> Result<(), KernelError> {
        let batch = Batch::new(table, changes, expected, ending);
        let answers = self.socket.transact(&batch)?;
        verdict(&batch, changes, &answers)
    }
}

/// Whether a table's comment is one of [`super::random_id`].
fn is_of_flbc(id: &str) -> bool {
    let digits = id.strip_prefix("flbc ");
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What the kernel's answers to a batch mean.
fn verdict(batch: &Batch, changes: &[Change], answers: &[Answer]) -> Result<(), KernelError> {
    let accepted: HashSet<u32> = answers
        .iter()
        .filter(|answer| answer.errno.is_none())
        .map(|answer| answer.sequence)
        .collect();
    let mut refusals = Vec::new();
    for answer in answers {
        let Some(errno) = answer.errno else {
            continue;
        };
        if answer.sequence == Batch::begin() {
            return Err(match errno {
                // The kernel is at another generation.
                Errno::RESTART => KernelError::Changed,
                Errno::PERM | Errno::ACCESS => KernelError::NoPrivilege,
                Errno::NOMEM | Errno::NOBUFS => KernelError::OutOfMemory,
                errno => KernelError::Failed {
                    doing: "begin a transaction",
                    errno,
                },
            });
        }
        if accepted.contains(&answer.sequence) {
            // The message itself was taken: the kernel tells of the failed transaction here.
            return Err(KernelError::NotTogether(errno));
        }
        let culprit = batch.culprit(answer.sequence, answer.offset);
        if let Some(culprit) = culprit
            && let Some(change) = changes.get(culprit.change)
        {
            refusals.push(Refusal::new(
                culprit.change,
                change,
                culprit.element,
                culprit.expression.as_deref(),
                errno,
            ));
        }
    }
    // Where the table is somebody else's, every change to it is refused, and one tells it all.
    if refusals.iter().all(|r| r.reason == Reason::Owned) {
        refusals.truncate(1);
    }
    if !refusals.is_empty() {
        return Err(if refusals.iter().all(|r| r.errno == Errno::NOMEM) {
            KernelError::OutOfMemory
        } else {
            KernelError::Refused(refusals)
        });
    }
    if batch.last() == Batch::begin() || accepted.contains(&batch.last()) {
        Ok(())
    } else {
        Err(KernelError::Failed {
            doing: "read the kernel's answer",
            errno: Errno::PROTO,
        })
    }
}

/// The generation after this one; none is 0.
pub(super) const fn next_generation(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

impl Kernel for Linux {
    fn generation(&mut self) -> Result<u32, KernelError> {
        self.read_generation()
    }

    fn identities(&mut self, table: &str) -> Result<[Option<String>; 2], KernelError> {
        let mut identity = |family| -> Result<Option<String>, KernelError> {
            let found = self.read_table(family, table)?;
            Ok(found.and_then(|table| Some(table.id?.to_string())))
        };
        Ok([identity(TableFamily::Inet)?, identity(TableFamily::Netdev)?])
    }

    fn observe_part(&mut self, table: &str, part: Part<'_>) -> Result<Observed, KernelError> {
        let (mut observed, generation) = self.undisturbed(|kernel| {
            Ok(Observed {
                generation: 0,
                inet: kernel.read_part(TableFamily::Inet, table, part)?,
                netdev: kernel.read_part(TableFamily::Netdev, table, part)?,
            })
        })?;
        observed.generation = generation;
        Ok(observed)
    }

    fn counters(
        &mut self,
        table: &str,
        family: TableFamily,
        set: &str,
    ) -> Result<Vec<(Element, Counter)>, KernelError> {
        let (counters, _) = self.undisturbed(|kernel| {
            // A reading can show an element twice, or not at all, while packets add others.
            let mut all: FxHashMap<(Bytes, Option<Bytes>), (Element, Counter)> =
                FxHashMap::default();
            for _ in 0..ATTEMPTS {
                let before = all.len();
                kernel.socket.dump(
                    message::GET_ELEMENTS,
                    family.number(),
                    |w| {
                        w.string(element::TABLE, table);
                        w.string(element::SET, set);
                    },
                    |_, attributes| {
                        read::counted(attributes, |element, counter| {
                            let key = (element.key, element.key_end.as_deref().copied());
                            all.insert(key, (element, counter));
                        });
                    },
                )?;
                if all.len() == before {
                    break;
                }
            }
            Ok(all.into_values().collect())
        })?;
        Ok(counters)
    }

    fn traffic_of(&mut self, table: &str, servers: &[u32]) -> Result<Vec<Traffic>, KernelError> {
        match self.read_traffic_of(table, servers)? {
            Some(traffic) => Ok(traffic),
            None => self.traffic(table),
        }
    }

    fn read_handles(&mut self, table: &str, observed: &mut Observed) -> Result<(), KernelError> {
        for family in TableFamily::BOTH {
            let Some(ours) = observed.table_mut(family) else {
                continue;
            };
            let mut lacking: Vec<&mut ObservedChain> = ours
                .chains
                .iter_mut()
                .filter(|chain| chain.lacks_handles())
                .collect();
            // The kernel walks all rules of a table for each part that it tells of them.
            let mut rules = if lacking.len() > FEW_CHAINS {
                self.read_rules(family, table, None)?
            } else {
                let mut rules = RulesByChain::new();
                for chain in &lacking {
                    rules.extend(self.read_rules(family, table, Some(&chain.name))?);
                }
                rules
            };
            for chain in &mut lacking {
                let theirs = rules.remove(&chain.name).unwrap_or_default();
                if theirs.len() != chain.rules.len() {
                    return Err(KernelError::Changed);
                }
                for (ours, theirs) in chain.rules.iter_mut().zip(theirs) {
                    ours.handle = theirs.handle;
                }
            }
        }
        if self.read_generation()? == observed.generation {
            Ok(())
        } else {
            Err(KernelError::Changed)
        }
    }

    fn commit(
        &mut self,
        table: &str,
        changes: &[Change],
        expected: u32,
    ) -> Result<Committed, KernelError> {
        if changes.is_empty() {
            return Ok(Committed {
                generation: expected,
            });
        }
        self.transact(table, changes, Some(expected), Ending::Commit)?;
        Ok(Committed {
            generation: next_generation(expected),
        })
    }

    fn check(&mut self, table: &str, changes: &[Change]) -> Result<(), KernelError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.transact(table, changes, None, Ending::Check)
    }

    fn siblings(
        &mut self,
        own_table: &str,
        stem: &str,
    ) -> Result<Vec<(String, Vec<ObservedSet>)>, KernelError> {
        let (siblings, _) = self.undisturbed(|kernel| {
            let mut others: Vec<(String, bool)> = Vec::new();
            kernel.socket.dump(
                message::GET_TABLE,
                TableFamily::Inet.number(),
                |_| {},
                |_, attributes| {
                    let name = attributes.find(table::NAME).and_then(Attribute::string);
                    let userdata = attributes.find(table::USERDATA);
                    let id = userdata.and_then(|data| read::comment(data.value));
                    if let Some(name) = name.filter(|name| *name != own_table) {
                        others.push((name.to_owned(), id.is_some_and(|id| is_of_flbc(&id))));
                    }
                },
            )?;
            let mut siblings = Vec::new();
            for (other, mut of_flbc) in others {
                let sets = kernel.read_sets(TableFamily::Inet, &other, |set| {
                    // A table that `nft -f` loaded has no text of flbc's, but the set of every real server.
                    of_flbc |= *set.name == *name::SERVERS && set.shape.key_type == kind::MARK;
                    set.name.starts_with(stem)
                })?;
                if of_flbc {
                    siblings.push((other, sets));
                }
            }
            Ok(siblings)
        })?;
        Ok(siblings)
    }

    fn now(&mut self) -> Duration {
        since_boot()
    }

    fn clock(&mut self) -> u64 {
        u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or_default()
    }

    fn interfaces(&mut self) -> Result<Interfaces, KernelError> {
        conntrack::interfaces()
    }

    fn mac_of(&mut self, interface: &str) -> Result<Option<MacAddress>, KernelError> {
        conntrack::mac_of(interface)
    }

    fn base_chains(&mut self, own_table: &str) -> Result<Vec<BaseChain>, KernelError> {
        // What flbc has under another name is not somebody else's. No set's name begins so: none is read.
        let siblings = self.siblings(own_table, " ")?;
        let (mut chains, _) = self.undisturbed(|kernel| {
            let mut chains = Vec::new();
            kernel.socket.dump(
                message::GET_CHAIN,
                0,
                |_| {},
                |family, attributes| chains.extend(base_chain(family, attributes, own_table)),
            )?;
            Ok(chains)
        })?;
        chains.retain(|chain: &BaseChain| {
            let is_sibling = siblings.iter().any(|(name, _)| *name == chain.table);
            !(is_sibling && matches!(chain.family, "inet" | "netdev"))
        });
        Ok(chains)
    }

    fn rules_of_chains(
        &mut self,
        chains: Vec<BaseChain>,
    ) -> Result<Vec<ForeignChain>, KernelError> {
        self.with_rules(chains)
    }

    fn connections(&mut self, filter: &Balanced) -> Result<Vec<Connection>, KernelError> {
        conntrack::list(*filter)
    }

    fn connections_by_mark(
        &mut self,
        which: Counted,
    ) -> Result<FxHashMap<u32, usize>, KernelError> {
        conntrack::by_mark(&mut self.socket, which)
    }

    fn memories(&mut self, table: &str) -> Result<Vec<Memory>, KernelError> {
        self.read_memories(table)
    }

    fn forget_remembered(
        &mut self,
        table: &str,
        servers: &FxHashSet<u32>,
        generation: u32,
    ) -> Result<(usize, u32), KernelError> {
        self.delete_remembered(table, servers, generation)
    }

    fn judge(&mut self, judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError> {
        conntrack::judge(judge)
    }

    fn recollections(&mut self, table: &str) -> Result<Vec<Recollection>, KernelError> {
        self.read_recollections(table)
    }

    fn untranslated(&mut self, of: Option<IpAddr>) -> Result<Vec<Flow>, KernelError> {
        conntrack::untranslated(&mut self.socket, of)
    }

    fn forget_untranslated(
        &mut self,
        doomed: &dyn Fn(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        conntrack::forget_untranslated(&mut self.socket, doomed)
    }
}

fn base_chain(family: u8, attributes: Attributes<'_>, own_table: &str) -> Option<BaseChain> {
    let family = match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    };
    let (table, chain) = read::chain(attributes)?;
    if table == own_table && matches!(family, "inet" | "netdev") {
        return None;
    }
    let hook = chain.hook?;
    Some(BaseChain {
        family,
        table: table.to_owned(),
        chain: chain.name.to_string(),
        kind: hook.kind.to_string(),
        hook: hook_name(family, &hook),
        priority: hook.priority,
        accepts: hook.policy == 1,
        devices: hook.devices.iter().map(ToString::to_string).collect(),
    })
}

fn hook_name(family: &str, hook: &Hook) -> &'static str {
    let names: &[&'static str] = match family {
        "netdev" => &["ingress", "egress"],
        "arp" => &["input", "output"],
        _ => &["prerouting", "input", "forward", "output", "postrouting"],
    };
    let place = usize::try_from(hook.number).unwrap_or(usize::MAX);
    names.get(place).copied().unwrap_or("ingress")
}

/// The time since boot, that in suspend too.
pub(crate) fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let whole = u64::try_from(time.tv_sec).unwrap_or_default();
    let rest = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(whole, rest)
}
