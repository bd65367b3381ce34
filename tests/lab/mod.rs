//! A laboratory of network namespaces: a client, a router, a balancer and real servers, on this machine's
//! kernel and nowhere else.
//!
//! Nothing here has a name outside the process: a namespace lives by an open file descriptor, and
//! interfaces, routes, rules and sockets live in namespaces. When the process ends, however it ends, the
//! kernel takes all of it away.

// Each of the programs that share the laboratory uses its own part of it.
#![allow(dead_code)]

pub(crate) mod client;
pub(crate) mod counter;
pub(crate) mod namespace;
pub(crate) mod packet;
pub(crate) mod real_server;
pub(crate) mod sctp;
pub(crate) mod topology;

use std::net::SocketAddr;
use std::time::Duration;

/// How long an answer that must come may take: long, for a busy machine; it costs nothing where all is
/// well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for an answer that must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// What a real server says to every client: its own name, and the address the client seems to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The real server's name.
    pub(crate) server: String,
    /// The client's address as the server saw it.
    pub(crate) client: SocketAddr,
}

impl Answer {
    /// The answer as it travels.
    pub(crate) fn line(&self) -> String {
        format!("{} {}\n", self.server, self.client)
    }

    /// The answer out of what travelled.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (server, client) = line.trim_end().split_once(' ')?;
        Some(Self {
            server: server.to_owned(),
            client: client.parse().ok()?,
        })
    }
}
