//! Which server a hashed client gets: the kernel's own arithmetic, done here.

use std::net::IpAddr;

use crate::model::HashKey;

use super::jhash::{SEED, bucket, kernel_jhash};
use super::{Block, Choice, Draw};

/// How a hash finds a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// The hash of the client's key.
    pub hash: u32,
    /// The slot, counted from the block's first.
    pub slot: u32,
    /// The slot's owner, by its place in [`Block::servers`].
    pub server: usize,
}

/// The server that a client gets from a block that hashes; `None` where a block does not.
pub fn predict(block: &Block<'_>, client: IpAddr, port: u16) -> Option<Prediction> {
    let Choice::Slots {
        draw: Draw::Hashed(key),
        owners,
    } = &block.choice
    else {
        return None;
    };
    let hash = kernel_jhash(&key_bytes(*key, client, port), SEED);
    let slot = bucket(hash, u32::try_from(owners.len()).ok()?);
    let server = *owners.get(slot as usize)? as usize;
    Some(Prediction { hash, slot, server })
}

/// The bytes that the rule hashes: fields in network order, each padded with zeros to whole registers of
/// four bytes.
pub fn key_bytes(key: HashKey, client: IpAddr, port: u16) -> Vec<u8> {
    let mut bytes = match client {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    if key == HashKey::SourcePort {
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes
}
