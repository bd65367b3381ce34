//! Neighbours: whether somebody answers for the MAC address of each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nlink::blocking::Connection;
use nlink::netlink::InterfaceRef;
use nlink::netlink::MessageBuilder;
use nlink::netlink::types::neigh::{NdMsg, NdaAttr, NeighborState, ntf};
use nlink::{NeighborConfig, Route};
use rustc_hash::FxHashMap;

use super::KernelError;
use super::conntrack::failed;

/// Those of the neighbours (an interface by its number, and an address) that do not answer for their MAC address, or
/// cannot be asked for it. All are asked anew: one that is known may be gone.
///
/// One that is there answers in milliseconds; the kernel asks three times, once a second. `wait` waits before each look at
/// what came, and says whether to look.
///
/// # Errors
///
/// Those of netlink; [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`.
pub fn unresolved(
    neighbours: &BTreeSet<(u32, IpAddr)>,
    mut wait: impl FnMut() -> bool,
) -> Result<BTreeSet<(u32, IpAddr)>, KernelError> {
    let doing = "look at the neighbours";
    let connection = Connection::<Route>::new().map_err(failed(doing))?;
    let states = || -> Result<FxHashMap<(u32, IpAddr), NeighborState>, KernelError> {
        let known = connection
            .run(|c| Box::pin(async move { c.get_neighbors().await }))
            .map_err(failed(doing))?;
        let named = known.iter().filter_map(|neighbour| {
            let address = *neighbour.destination()?;
            Some(((neighbour.ifindex(), address), neighbour.state()))
        });
        Ok(named.collect())
    };
    let fixed =
        |state: &NeighborState| matches!(state, NeighborState::Noarp | NeighborState::Permanent);
    let before = states()?;
    let mut left: BTreeSet<(u32, IpAddr)> = neighbours
        .iter()
        .copied()
        .filter(|neighbour| !before.get(neighbour).is_some_and(fixed))
        .collect();
    for neighbour in &left {
        let question = Ask {
            interface: InterfaceRef::Index(neighbour.0),
            address: neighbour.1,
            has_mac: before.get(neighbour).is_some_and(|state| has_mac(*state)),
        };
        let asked = connection
            .run(move |c| Box::pin(async move { c.replace_neighbor(question).await }))
            .map_err(failed("ask for a neighbour"));
        // One that cannot be asked (no IPv6 on the interface, no room in the table) is one that does not answer.
        if let Err(KernelError::NoPrivilege) = asked {
            return Err(KernelError::NoPrivilege);
        }
    }
    while !left.is_empty() && wait() {
        let now = states()?;
        left.retain(|neighbour| now.get(neighbour) != Some(&NeighborState::Reachable));
    }
    Ok(left)
}

fn has_mac(state: NeighborState) -> bool {
    use NeighborState::{Delay, Probe, Reachable, Stale};
    matches!(state, Reachable | Stale | Delay | Probe)
}

/// Makes the kernel ask for a neighbour's MAC address: nothing but the question (ARP, NDP) is sent. One that is known is
/// verified, as by `ip neighbour change ... nud probe`, and packets go on meanwhile; else as by `ip neighbour replace ...
/// use`.
struct Ask {
    interface: InterfaceRef,
    address: IpAddr,
    has_mac: bool,
}

impl NeighborConfig for Ask {
    fn interface_ref(&self) -> &InterfaceRef {
        &self.interface
    }

    fn family(&self) -> u8 {
        const INET: u8 = 2;
        const INET6: u8 = 10;
        if self.address.is_ipv4() { INET } else { INET6 }
    }

    fn write_add(&self, builder: &mut MessageBuilder, ifindex: u32) -> nlink::Result<()> {
        let index = i32::try_from(ifindex).unwrap_or(0);
        let mut header = NdMsg::new().with_family(self.family()).with_ifindex(index);
        if self.has_mac {
            header.ndm_state = NeighborState::Probe as u16;
        } else {
            header.ndm_flags = ntf::USE;
        }
        builder.append(&header);
        match self.address {
            IpAddr::V4(address) => builder.append_attr(NdaAttr::Dst as u16, &address.octets()),
            IpAddr::V6(address) => builder.append_attr(NdaAttr::Dst as u16, &address.octets()),
        }
        Ok(())
    }

    fn write_delete(&self, builder: &mut MessageBuilder, ifindex: u32) -> nlink::Result<()> {
        self.write_add(builder, ifindex)
    }
}
