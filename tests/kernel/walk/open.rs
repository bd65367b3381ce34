//! Connections that live through the walk: by nat each stays with its server for as long as the server is there.

use std::net::SocketAddr;

use super::draft::{Draft, Overrides, Target};
use crate::lab::PATIENCE;
use crate::lab::client::Connection;
use crate::lab::topology::Topology;
use crate::operator::at;

/// So many are open at once.
const MOST: usize = 4;

/// What must stay as it is for a connection to live: the VIPs of its service, and all servers at the address of its own.
type Ground = (usize, String, Vec<String>);

/// An open connection.
pub(super) struct Open {
    connection: Connection,
    from: SocketAddr,
    to: SocketAddr,
    ground: Ground,
}

/// All that are open.
#[derive(Default)]
pub(super) struct OpenOnes(Vec<Open>);

impl OpenOnes {
    /// Whether there is room for another one.
    pub(super) fn are_few(&self) -> bool {
        self.0.len() < MOST
    }

    /// Opens another one, if that service lets anybody in.
    pub(super) fn add(
        &mut self,
        topology: &Topology,
        (draft, set): (&Draft, &Overrides),
        target: &Target,
    ) {
        let (vip, protocol, port) = target;
        if *protocol != "tcp" {
            return;
        }
        let to = at(&if vip.contains(':') {
            format!("[{vip}]:{port}")
        } else {
            format!("{vip}:{port}")
        });
        let from = topology.source(to);
        let opened = Connection::open(&topology.client, Some(from), to, PATIENCE / 10);
        let Ok(mut connection) = opened else { return };
        connection.set_patience(PATIENCE).expect("a socket");
        let mut machines = topology.servers.iter();
        let machine = machines.find(|one| one.name == connection.answer.server);
        let machine = machine.expect("a machine answers");
        let address = if to.is_ipv4() {
            machine.v4.to_string()
        } else {
            machine.v6.to_string()
        };
        if let Some(ground) = draft.ground(set, target, &address) {
            self.0.push(Open {
                connection,
                from,
                to,
                ground,
            });
        }
    }

    /// Lets go of those that may break with this file.
    pub(super) fn judge(&mut self, draft: &Draft, set: &Overrides) {
        self.0.retain(|open| draft.still_has(set, &open.ground));
    }

    /// Asks again on all; returns how many there are.
    pub(super) fn ask(&mut self) -> u32 {
        for open in &mut self.0 {
            let first = open.connection.answer.server.clone();
            let answer = open.connection.again();
            let answer = answer.unwrap_or_else(|error| {
                panic!(
                    "{error}: the connection from {} to {} with {first}",
                    open.from, open.to
                )
            });
            assert_eq!(answer.server, first, "{} to {}", open.from, open.to);
        }
        self.0.len() as u32
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
