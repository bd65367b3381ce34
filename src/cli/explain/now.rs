//! What the kernel remembers for a client now.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::tables;
use crate::apply::{Gap, drifted};
use crate::doctor;
use crate::emit::netlink::TableFamily;
use crate::explain::{Explanation, Question};
use crate::kernel::{Balanced, Flow, Kernel, KernelError, Linux};
use crate::lower::remembered::{self, Packet, Remembered};
use crate::model::{HookedIn, Service, endpoint};
use crate::ruleset::name;
use crate::view::{ServerView, View};

/// What remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// In nat, the kernel's own following of connections.
    Connection,
    /// `persist`
    Client,
    /// `track`
    Flow,
}

impl By {
    /// Its name in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Client => "persist",
            Self::Flow => "track",
        }
    }
}

/// What the kernel remembers for a client now.
#[derive(Debug, Default)]
pub(super) struct Now {
    /// By all that its service could remember by.
    known: Vec<(By, Option<Known>)>,
    /// In nat, this very flow, where the kernel follows it and does not translate it.
    untranslated: Option<Flow>,
    /// Why the kernel does something else, a sentence each.
    amiss: Vec<String>,
}

/// A server that the kernel remembers.
#[derive(Debug)]
struct Known {
    /// Its name, where flbc's tables tell it.
    name: Option<String>,
    /// Where the connection goes.
    endpoint: Option<String>,
    /// The mark that stands for it.
    mark: u32,
    /// For how long, if nothing comes from the client.
    left: Option<Duration>,
    /// Whether it is gone back to: a server that takes none of those it had is remembered until the next packet comes.
    returns: bool,
}

impl Now {
    /// Asks the kernel.
    pub(super) fn of(
        explanation: &Explanation<'_>,
        question: Question,
        table: &str,
    ) -> Result<Self, KernelError> {
        let Explanation::Found(found) = explanation else {
            return Ok(Self::default());
        };
        let service: &Service = found.service;
        let mut kernel = Linux::open()?;
        let observed = kernel.observe(table)?;
        let view = View::of(&observed);
        let servers = view
            .services
            .get(&*service.name)
            .map_or(&[][..], |service| &service.servers);
        let packet = Packet {
            from: question.from,
            to: question.to,
            protocol: question.protocol,
        };
        let mut now = Vec::new();
        let mut plain = None;
        if service.mode.kernel_tracks() {
            now.push((By::Connection, connection(&mut kernel, question, servers)?));
            plain = untranslated(&mut kernel, question)?;
        }
        let family = match service.mode.hooked_in() {
            HookedIn::Inet => TableFamily::Inet,
            HookedIn::Netdev => TableFamily::Netdev,
        };
        let has = |map: &str, mark: u32| {
            let set = observed.table(family).and_then(|table| table.set(map));
            let mut elements = set.into_iter().flat_map(|set| &set.elements);
            elements.any(|element| element.key.as_slice() == mark.to_ne_bytes())
        };
        let mut ask = |place: &Remembered, by: By| {
            let found = kernel.remembered(family, table, &place.map, &place.key)?;
            Ok::<_, KernelError>(found.map(|(mark, left)| Known {
                name: name_of(servers, mark),
                endpoint: None,
                mark,
                left: Some(left),
                // meta mark vmap @keeper; a flow also: meta mark vmap @tracker
                returns: has(name::KEEPERS, mark) || (by == By::Flow && has(name::TRACKERS, mark)),
            }))
        };
        if let Some(persistence) = service.persistence {
            let places = servers.iter().filter_map(|server| {
                remembered::client(&packet, &persistence, (server.number, view.layout))
            });
            // Servers of a family have one place. The map of the other family cannot hold this client.
            let mut places: Vec<_> = places.collect();
            places.dedup();
            let mut client = None;
            for place in &places {
                client = client.or(ask(place, By::Client)?);
            }
            now.push((By::Client, client));
        }
        if service.track.is_some() {
            let flow = remembered::flow(&packet).map(|place| ask(&place, By::Flow));
            now.push((By::Flow, flow.transpose()?.flatten()));
        }
        Ok(Self {
            known: now,
            untranslated: plain,
            amiss: amiss(table)?,
        })
    }

    /// Whether a server is remembered, and gone back to.
    pub(super) fn knows(&self) -> bool {
        let mut known = self.known.iter().filter_map(|(_, known)| known.as_ref());
        known.any(|known| known.returns)
    }

    /// Whether the kernel has not what was applied, so that it may do something else.
    pub(super) fn is_amiss(&self) -> bool {
        !self.amiss.is_empty()
    }

    /// Whether the flow reaches no server, whatever the rules say.
    pub(super) fn passes_by(&self) -> bool {
        self.untranslated.is_some()
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.remembered();
        lines.extend(
            self.amiss
                .iter()
                .map(|why| format!("the kernel may do something else: {why}")),
        );
        lines
    }

    fn remembered(&self) -> Vec<String> {
        if self.known.is_empty() {
            return vec!["the kernel remembers nothing of this service's clients".to_owned()];
        }
        if let Some(flow) = &self.untranslated {
            return vec![
                "this flow is older than its service: the kernel follows it untranslated, and it reaches no server before that is forgotten"
                    .to_owned(),
                format!("run {}", doctor::forgetting(flow)),
            ];
        }
        let line = |(by, known): &(By, Option<Known>)| match (by, known) {
            (By::Connection, Some(known)) => {
                format!(
                    "{}: this connection exists (ct mark {:#010x})",
                    known.who(),
                    known.mark
                )
            }
            (By::Connection, None) => "no such connection exists".to_owned(),
            (By::Client, Some(known)) => {
                format!(
                    "{}: persist remembers the client{}",
                    known.who(),
                    known.still()
                )
            }
            (By::Client, None) => "persist does not remember the client".to_owned(),
            (By::Flow, Some(known)) => {
                format!("{}: track remembers the flow{}", known.who(), known.still())
            }
            (By::Flow, None) => "track does not remember the flow".to_owned(),
        };
        self.known.iter().map(line).collect()
    }

    /// For programs: what the service does not remember by is not there; what is not remembered is null.
    pub(super) fn json(&self) -> serde_json::Value {
        let parts = self.known.iter().map(|(by, known)| {
            let known = known.as_ref().map(|known| {
                serde_json::json!({
                    "server": known.name,
                    "endpoint": known.endpoint,
                    "mark": known.mark,
                    "seconds": known.left.map(|left| left.as_secs()),
                    "returns": known.returns,
                })
            });
            (by.name().to_owned(), serde_json::json!(known))
        });
        let mut object: serde_json::Map<String, serde_json::Value> = parts.collect();
        if object.contains_key(By::Connection.name()) {
            object.insert("untranslated".to_owned(), self.passes_by().into());
        }
        object.insert("not_in_force".to_owned(), self.amiss.clone().into());
        serde_json::Value::Object(object)
    }
}

impl Known {
    /// The server.
    fn who(&self) -> String {
        let name = self.name.as_deref();
        let name = name.unwrap_or("a server that flbc's tables do not have");
        match &self.endpoint {
            Some(endpoint) => format!("{name} {endpoint}"),
            None => name.to_owned(),
        }
    }

    /// For how long.
    fn still(&self) -> String {
        match self.left {
            None => String::new(),
            Some(_) if !self.returns => {
                "; but it takes none of those that it had, so that another is drawn".to_owned()
            }
            Some(left) => format!(" ({} s more if it is silent)", left.as_secs()),
        }
    }
}

/// Why the kernel has not what was applied; or that nothing is there.
fn amiss(table: &str) -> Result<Vec<String>, KernelError> {
    let look = tables::open(table)?.look()?;
    if look.tables == [false, false] && look.gaps.is_empty() {
        return Ok(vec!["nothing is applied here".to_owned()]);
    }
    let decisive = look.gaps.iter().filter(|gap| match gap {
        Gap::Gone | Gap::Others | Gap::Dormant(_) | Gap::Stranger(_) | Gap::Missing { .. } => true,
        Gap::Unknown | Gap::Killed | Gap::Wished(_) | Gap::LeftOut { .. } => false,
    });
    let mut reasons: Vec<String> = decisive.map(ToString::to_string).collect();
    reasons.extend(drifted(&look.drift, ""));
    Ok(reasons)
}

fn name_of(servers: &[ServerView], mark: u32) -> Option<String> {
    let server = servers.iter().find(|server| server.number == mark)?;
    Some(server.name.clone())
}

/// This very flow, where the kernel does not translate it.
fn untranslated(kernel: &mut Linux, question: Question) -> Result<Option<Flow>, KernelError> {
    let [client, vip] = [question.from, question.to];
    let mut flows = kernel.untranslated(Some(vip.ip()))?.into_iter();
    Ok(flows.find(|flow| {
        let ends = [
            SocketAddr::new(flow.source, flow.source_port),
            SocketAddr::new(flow.destination, flow.destination_port),
        ];
        flow.protocol == question.protocol.number()
            && (ends == [client, vip] || ends == [vip, client])
    }))
}

/// The connection of this very flow, if there is one.
fn connection(
    kernel: &mut Linux,
    question: Question,
    servers: &[ServerView],
) -> Result<Option<Known>, KernelError> {
    let wanted = Balanced {
        mark: None,
        vip: Some(question.to.ip()),
    };
    let mut all = kernel.connections(&wanted)?.into_iter();
    let found = all.find(|connection| {
        connection.protocol == question.protocol.number()
            && connection.client == question.from.ip()
            && connection.client_port == Some(question.from.port())
            && connection.vip_port == Some(question.to.port())
    });
    Ok(found.map(|connection| Known {
        name: name_of(servers, connection.mark),
        endpoint: Some(endpoint(connection.server, connection.server_port)),
        mark: connection.mark,
        left: None,
        returns: true,
    }))
}
