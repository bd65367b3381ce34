//! What flbc's tables do, in one typed object, and its three faces.
//!
//! ```text
//! tables ──read──▶ Status ──▶ human, json, prometheus
//!                    │
//!                    └─compare── the one before, for rates
//! ```
//!
//! Nothing here prints or waits. Each face shows the same object, so that none knows what another does not.

use std::fmt;

use serde::Serialize;

use crate::control::About;
use crate::diagnostic::Exit;
use crate::model::{Layer, ModeKind, State};

mod alive;
mod figures;
mod human;
mod json;
mod prometheus;
mod reading;

#[cfg(test)]
mod tests;

pub use figures::{Amount, Figures, Rate, Rates};
pub use human::human;
pub use json::json;
pub use prometheus::{prometheus, write_prometheus};

/// One reading.
#[derive(Debug, Serialize)]
pub struct Status {
    /// What there is to say of a trial that is open.
    pub trial: Option<String>,
    /// What the operator should know, a sentence each; first why what was applied is not in force.
    pub warnings: Vec<String>,
    /// What stands behind it.
    pub applied: AppliedState,
    /// The daemon that keeps it in force, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<About>,
    /// How many low bits of marks are left to others, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_shift: Option<u8>,
    /// Seconds since the reading before, that rates are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// What is remembered, by what remembers it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Table>,
    /// When it was read: seconds since 1970, by the machine's clock.
    #[serde(skip)]
    pub at: u64,
    /// The services, in the order of the file; those that are not in it, and all where it is not known, in the order of
    /// their names.
    pub services: Vec<Service>,
}

/// Whether the kernel has what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedState {
    /// Whether it has; `None`: it is not known what was applied, as no apply of this version of flbc left a note, or it was
    /// unloaded.
    pub in_force: Option<bool>,
    /// Why it has not, a sentence each.
    pub not_in_force: Vec<String>,
    /// Which tables there are.
    pub tables: TablesThere,
    /// When the last apply was: seconds since 1970, by the machine's clock.
    pub at: Option<u64>,
    /// The digest of what was applied, without what was set: see [`crate::model::Model::digest`].
    pub config: Option<String>,
    /// The version of flbc that looks.
    pub version: &'static str,
}

/// Which tables there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TablesThere {
    /// That of nat.
    pub inet: bool,
    /// That of direct return.
    pub netdev: bool,
}

impl Status {
    /// Adds what the daemon says that keeps these tables in force: it may know what the kernel does not show.
    pub fn attend(&mut self, daemon: Option<About>) {
        if let Some(failing) = daemon.as_ref().and_then(|daemon| daemon.failing.as_ref()) {
            self.applied.in_force = Some(false);
            self.applied.not_in_force.insert(0, failing.clone());
            self.warnings.insert(0, failing.clone());
        }
        if let Some(About {
            faulty_since: Some(_),
            configured,
            ..
        }) = &daemon
        {
            self.warnings.push(format!(
                "{configured} has faults: what is in force is what was read before; `flbc check {configured}` tells them"
            ));
        }
        self.daemon = daemon;
    }

    /// How a run ends that tells this.
    pub fn exit(&self) -> Exit {
        match self.applied.in_force {
            Some(false) => Exit::Differs,
            Some(true) | None => Exit::Fine,
        }
    }
}

/// What a map remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// Clients, by `persist`.
    Clients,
    /// Flows, by `track`.
    Flows,
}

impl Kept {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Flows => "flows",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A map of clients or flows.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Whose services it is of.
    pub mode: ModeKind,
    /// Its name in the kernel.
    pub map: String,
    /// What it remembers.
    pub of: Kept,
    /// How many there are.
    pub used: usize,
    /// How many there can be.
    pub room: u32,
}

/// A virtual service.
#[derive(Debug, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How packets reach its servers.
    pub mode: ModeKind,
    /// Whether other services use the same servers, whose figures are then those of all of them together.
    pub shared: bool,
    /// Its VIPs, in the order of the file, or of their addresses where that is not known.
    pub vips: Vec<Vip>,
    /// New connections in nat, packets in dr that `allow` and `deny` turned away; none without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turned_away: Option<u64>,
    /// How many clients are remembered (`persist`), of all servers; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<usize>,
    /// How many flows are remembered (`track`), of all servers; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<usize>,
    /// Those of all its VIPs and servers.
    #[serde(flatten)]
    pub figures: Figures,
    /// Its servers, in the order of the file where that is known.
    pub servers: Vec<Server>,
}

/// A VIP of a service.
#[derive(Debug, Serialize)]
pub struct Vip {
    /// As the file writes it.
    #[serde(rename = "vip")]
    pub words: String,
    /// Its own.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What of a server's standing the file does not say.
#[derive(Debug, Serialize)]
pub struct Beside {
    /// Its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Differs<State>>,
    /// Its weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Differs<u16>>,
}

/// Who says something else than the file.
#[derive(Debug, Serialize)]
pub struct Differs<T> {
    /// What the file says.
    pub file: T,
    /// Who says otherwise.
    pub by: Layer,
    /// Since when: seconds since 1970, by the machine's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// A real server of a service.
#[derive(Debug, Serialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its address, and its port where it has one of its own.
    pub endpoint: String,
    /// Its weight.
    pub weight: u16,
    /// Whether it takes clients.
    pub state: State,
    /// What the file says, where something else holds.
    pub file: Option<String>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
    /// Of one that is drained or down: how many connections (nat) or flows (`track`) it still has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<usize>,
    /// Of one that is drained: how many clients `persist` still sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returning: Option<usize>,
    /// Of one in nat: how many connections wait for its first answer, where there are any (TCP and SCTP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<usize>,
    /// Slots over all slots of its family, 0 to 1.
    pub share: f64,
    /// Those of all services that share it.
    #[serde(flatten)]
    pub figures: Figures,
}
