//! Who claims which address, protocol and port.
//!
//! An exact port beats a range and a range beats `any`, so that claims of different kinds live together;
//! two of one kind must not meet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Ports, Protocol};
use crate::source::Span;

/// One VIP as one `vip` claims it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) address: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) ports: Ports,
    /// The service that has the VIP, by its place in the file set, from 0.
    pub(super) service: usize,
    pub(super) statement: Span,
    /// The word that gives the ports.
    pub(super) place: Span,
}

/// All claims, in the order written.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: Vec<Claim>,
}

/// Claims of one statement that meet those of an earlier one.
#[derive(Debug)]
struct Conflict {
    earlier: usize,
    later: usize,
    others: usize,
}

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// Reports what two `vip` claim, once for each two statements.
    pub(super) fn report_conflicts(&self, names: &[Arc<str>], reader: &mut Reader<'_>) {
        let mut conflicts: Vec<Conflict> = Vec::new();
        let mut by_statements: HashMap<(Span, Span), usize> = HashMap::new();
        for (earlier, later) in self.meetings() {
            let (Some(first), Some(second)) = (self.claims.get(earlier), self.claims.get(later))
            else {
                continue;
            };
            let at = by_statements
                .entry((first.place, second.place))
                .or_insert(conflicts.len());
            match conflicts.get_mut(*at) {
                Some(conflict) => conflict.others += 1,
                None => conflicts.push(Conflict {
                    earlier,
                    later,
                    others: 0,
                }),
            }
        }
        conflicts.sort_by_key(|conflict| conflict.later);
        for conflict in conflicts {
            self.report(&conflict, names, reader);
        }
    }

    /// Pairs of claims that meet, each with the earlier one first; for every claim that meets others, one pair.
    fn meetings(&self) -> Vec<(usize, usize)> {
        let mut order: Vec<(usize, &Claim)> = self.claims.iter().enumerate().collect();
        // Ports sort by kind, then by where they start; what meets is then near.
        order.sort_by_key(|(at, claim)| (claim.address, claim.protocol, claim.ports, *at));
        let mut meetings = Vec::new();
        let mut reach: Option<(usize, &Claim)> = None;
        for (at, claim) in order {
            let Some((furthest_at, furthest)) = reach else {
                reach = Some((at, claim));
                continue;
            };
            if meet(furthest, claim) {
                meetings.push((furthest_at.min(at), furthest_at.max(at)));
            }
            let reaches_further = match (furthest.ports, claim.ports) {
                (Ports::Range(_, furthest_end), Ports::Range(_, end)) => {
                    !same_target(furthest, claim) || end > furthest_end
                }
                // Of equal ones, all are compared with the first.
                _ => !meet(furthest, claim),
            };
            if reaches_further {
                reach = Some((at, claim));
            }
        }
        meetings
    }

    fn report(&self, conflict: &Conflict, names: &[Arc<str>], reader: &mut Reader<'_>) {
        let (Some(first), Some(claim)) = (
            self.claims.get(conflict.earlier),
            self.claims.get(conflict.later),
        ) else {
            return;
        };
        let ports = match claim.ports {
            Ports::One(port) => port.to_string(),
            Ports::Range(from, to) => format!("{from}-{to}"),
            Ports::Any => "any".into(),
        };
        let how = if claim.ports == first.ports {
            "is claimed"
        } else {
            "overlaps what is claimed"
        };
        let by = if claim.statement == first.statement {
            "twice in this statement".to_owned()
        } else if claim.service == first.service {
            "by this service before".to_owned()
        } else {
            let name = names.get(first.service).map_or("", |name| name);
            format!("by service {} before", quote(name))
        };
        let others = match conflict.others {
            0 => String::new(),
            1 => ", and so is one more VIP of this statement".to_owned(),
            more => format!(", and so are {more} more VIPs of this statement"),
        };
        let (address, protocol) = (claim.address, claim.protocol.name());
        let message = format!("{address} {protocol} {ports} {how} {by}{others}");
        let fault = Diagnostic::new(Code::VipClaimedTwice, claim.place, message)
            .related(first.place, "first claimed here");
        reader.report(fault);
    }
}

fn same_target(a: &Claim, b: &Claim) -> bool {
    a.address == b.address && a.protocol == b.protocol
}

fn meet(a: &Claim, b: &Claim) -> bool {
    same_target(a, b)
        && match (a.ports, b.ports) {
            (Ports::One(a), Ports::One(b)) => a == b,
            (Ports::Range(a_first, a_last), Ports::Range(b_first, b_last)) => {
                a_first <= b_last && b_first <= a_last
            }
            (Ports::Any, Ports::Any) => true,
            _ => false,
        }
}
