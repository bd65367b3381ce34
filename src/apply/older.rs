//! Flows that connection tracking knew before their service came.
//!
//! The kernel chooses how to translate a connection when it sees its first packet. A sender that keeps its port (syslog,
//! SIP, a DNS forwarder) and does not pause has one flow for ever: if that was there first, it is never balanced. So it is
//! forgotten, and its next packet is a first one.

use rustc_hash::FxHashSet;

use crate::diff::Observed;
use crate::emit::netlink::TableFamily;
use crate::emit::netlink::change::{Change, Step};
use crate::kernel::{Flow, Kernel};
use crate::model::{ModeKind, Served, Vip};
use crate::ruleset::name;

use crate::view::services::vip;

/// The VIPs that nat serves by these changes and did not serve `before`.
pub(super) fn newly_served(before: &Observed, changes: &[Change]) -> Served {
    let added = changes.iter().filter_map(|change| match &change.step {
        Step::AddElements { set, elements, .. }
            if change.family == TableFamily::Inet && dispatches(set) =>
        {
            Some((set, elements))
        }
        _ => None,
    });
    let mut added: Vec<Vip> = added
        .flat_map(|(set, elements)| elements.iter().filter_map(|one| vip(set, one)))
        .collect();
    if added.is_empty() {
        return Served::default();
    }
    let is = |vip: &Vip| (vip.address, vip.protocol, vip.ports);
    // A map that is made anew, and a service that has another name: they were served.
    let known: FxHashSet<_> = vips(before).map(|vip| is(&vip)).collect();
    added.retain(|vip| !known.contains(&is(vip)));
    added.into_iter().collect()
}

/// The VIPs that nat serves by tables that were read.
pub(super) fn served(tables: &Observed) -> Served {
    vips(tables).collect()
}

fn vips(tables: &Observed) -> impl Iterator<Item = Vip> {
    let sets = tables.inet.iter().flat_map(|table| &table.sets);
    sets.filter(|set| dispatches(&set.name))
        .flat_map(|set| set.elements.iter().filter_map(|one| vip(&set.name, one)))
}

/// Whether a map of the `inet` table is looked up to find the service of a packet.
fn dispatches(map: &str) -> bool {
    map.starts_with(name::dispatch(ModeKind::Nat))
}

/// The same where nothing was committed just now: no packet is on its way through older rules, so that nothing is waited
/// for unless there is such a flow.
pub(super) fn forget_at_rest(
    kernel: &mut impl Kernel,
    served: &Served,
    notes: &mut Vec<String>,
) -> usize {
    let passes_by = |flows: &[Flow]| flows.iter().any(|flow| flow.passes_by(served));
    if served.is_empty()
        || kernel
            .untranslated(None)
            .is_ok_and(|flows| !passes_by(&flows))
    {
        return 0;
    }
    forget(kernel, served, notes)
}

/// Forgets the flows that are older than what serves them now. Says how many.
pub(super) fn forget(kernel: &mut impl Kernel, served: &Served, notes: &mut Vec<String>) -> usize {
    if served.is_empty() {
        return 0;
    }
    match kernel.forget_untranslated(&|flow: &Flow| flow.passes_by(served)) {
        Ok(forgotten) => forgotten,
        Err(error) => {
            notes.push(format!(
                "flows that began before their service may go on unbalanced: {error}"
            ));
            0
        }
    }
}
