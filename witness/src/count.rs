//! How many rules a chain has, whether rustables can read them or not: the kernel's answers are counted, not read.

use std::error::Error;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustables::query::get_list_of_objects;
use rustables::{Chain, Rule, sys};

/// Where a message has its length, its type, and, behind its header, the family.
const HEADER: usize = 16;

/// How many rules the kernel has in a chain of the table of this family.
pub(crate) fn rules_in(family: u8, chain: &Chain) -> Result<usize, Box<dyn Error>> {
    let kind = u16::try_from(sys::NFT_MSG_GETRULE)?;
    let mut question = get_list_of_objects(kind, 0, Some(&Rule::new(chain)?))?;
    // rustables asks for any family; then only the first table of a name answers.
    *question
        .get_mut(HEADER)
        .ok_or("a question without a family")? = family;
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question, 0)?;
    let rule = u16::try_from(sys::NFNL_SUBSYS_NFTABLES << 8 | sys::NFT_MSG_NEWRULE)?;
    let mut rules = 0;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = &answer[..];
        while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
            let [a, b, c, d, low, high, ..] = *header;
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d]))?;
            match u16::from_ne_bytes([low, high]) {
                kind if kind == rule => rules += 1,
                kind if u32::from(kind) == sys::NLMSG_DONE => return Ok(rules),
                kind => return Err(format!("a message of the type {kind}").into()),
            }
            rest = rest
                .get(length.max(HEADER).next_multiple_of(4)..)
                .unwrap_or_default();
        }
    }
}
