//! Other tables of flbc's on the same host: what one of them has is nobody else's.

use crate::kernel::Kernel;
use crate::model::{Ports, Vip};
use crate::ruleset::name;

use super::{Failure, Request};
use crate::view::services::vip;

/// A VIP that another table of flbc's has too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The VIP of the file.
    pub vip: Vip,
    /// That of the other table, in the words of a file.
    pub by: String,
    /// The other table.
    pub table: String,
}

/// Sees to it that no packet is for two tables. The first to get it would have it, whichever that is, and the connection
/// marks of one mean nothing to the other.
pub(super) fn keep_apart(
    kernel: &mut impl Kernel,
    own_table: &str,
    request: &Request<'_>,
) -> Result<(), Failure> {
    let mut claimed = Vec::new();
    for (table, sibling) in kernel.siblings(own_table, name::LOCAL)? {
        let theirs: Vec<Vip> = sibling
            .iter()
            .flat_map(|set| set.elements.iter().filter_map(|one| vip(&set.name, one)))
            .collect();
        if theirs.is_empty() {
            continue;
        }
        for service in &request.model().services {
            for own in &service.vips {
                if let Some(other) = theirs.iter().find(|other| meet(own, other)) {
                    claimed.push(Claimed {
                        vip: *own,
                        by: other.to_string(),
                        table: table.clone(),
                    });
                }
            }
        }
    }
    if claimed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Claimed(claimed))
    }
}

/// Whether a packet can be for both.
fn meet(one: &Vip, other: &Vip) -> bool {
    let range = |ports| match ports {
        Ports::One(port) => (port, port),
        Ports::Range(first, last) => (first, last),
        Ports::Any => (0, u16::MAX),
    };
    let ((a, b), (c, d)) = (range(one.ports), range(other.ports));
    (one.address, one.protocol) == (other.address, other.protocol) && a <= d && c <= b
}
