//! The commands' logic on the kernel in memory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::refused::Refused;
use super::set::{Demand, Set, set as set_server};
use super::turn::take;
use super::{Earlier, Job};
use crate::apply::{Applied, Failure, Tables};
use crate::diagnostic::Diagnostics;
use crate::diff::{Observed, diff, drift};
use crate::emit::netlink::{Bytes, TableFamily, desired};
use crate::kernel::fake::Fake;
use crate::kernel::{Connection, Entry, Flow, Kernel, Recollection};
use crate::lower::layout::Layout;
use crate::model::{Model, Protocol};
use crate::notes::Notes;
use crate::notes::wishes::Wishes;
use crate::source::Sources;
use crate::syntax::Input;
use crate::view::{KnownServer, View, numbers};

mod apply;
mod connections;
mod counters;
mod digest;
mod drift;
mod edits;
mod engine;
mod left_out;
mod loaded;
mod memories;
mod notes;
mod older;
mod refused;
mod set;
mod shift;
mod strange;
mod trial;
mod turn;
mod wishes;
mod words;

/// A machine with a kernel in memory, and a folder for notes. Each command opens the tables anew.
struct Host {
    kernel: Fake,
    folder: TempDir,
}

/// What a text says; it must be without a fault.
#[track_caller]
fn model(text: &str) -> Model {
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(text.as_bytes().to_vec());
    let model = crate::read(input, &mut Sources::new(), &mut sink);
    model.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()))
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// So many services in nat that have nothing to do with others.
fn services(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(
            text,
            "service s{n} {{ vip 203.0.113.{n} tcp 80; server 10.20.0.11 }}"
        );
        text
    })
}

impl Host {
    /// With the interfaces `eth0` and `eth1`.
    fn new() -> Self {
        Self {
            kernel: Fake {
                interfaces: [("eth0".into(), 2), ("eth1".into(), 3)].into(),
                // As it is after a while.
                now: Duration::from_secs(1000),
                ..Fake::default()
            },
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn cache(&self) -> Notes {
        Notes::new(self.folder.path().join("run"))
    }

    fn tables(&mut self) -> Tables<&mut Fake> {
        let cache = self.cache();
        Tables::new(&mut self.kernel, cache, "flbc")
    }

    /// `flbc apply` with options, and what it reports.
    fn run(
        &mut self,
        text: &str,
        (commit, keep, shift): (bool, bool, Option<u8>),
    ) -> (Result<Applied, Refused>, Diagnostics) {
        let mut sink = Diagnostics::new();
        let layout = shift.map(|shift| Layout::new(shift).unwrap());
        let outcome = self.in_turn(commit, |tables| {
            let earlier = if keep {
                Earlier::Kept
            } else {
                Earlier::Dropped
            };
            let job = Job::new(tables, model(text), earlier, layout, &mut sink)?;
            if commit {
                job.commit(tables, &mut sink)
            } else {
                job.check(tables, &mut sink)
            }
        });
        (outcome, sink)
    }

    fn in_turn<T>(
        &mut self,
        wanted: bool,
        act: impl FnOnce(&mut Tables<&mut Fake>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut tables = self.tables();
        let turn = wanted.then(|| take(&mut tables)).transpose()?;
        let outcome = act(&mut tables);
        drop(turn);
        outcome
    }

    fn try_apply(&mut self, text: &str) -> Result<Applied, Refused> {
        self.run(text, (true, false, None)).0
    }

    /// Applies a text, which must succeed without a word of warning.
    #[track_caller]
    fn apply(&mut self, text: &str) -> Applied {
        quiet(self.try_apply(text))
    }

    /// The same, and what `flbc set` changed stays.
    #[track_caller]
    fn keep(&mut self, text: &str) -> Applied {
        quiet(self.run(text, (true, true, None)).0)
    }

    /// The same with these low bits of marks left to others.
    #[track_caller]
    fn shift(&mut self, text: &str, shift: u8) -> Applied {
        quiet(self.run(text, (true, true, Some(shift))).0)
    }

    /// What would be done.
    #[track_caller]
    fn dry(&mut self, text: &str) -> Applied {
        quiet(self.run(text, (false, false, None)).0)
    }

    /// What is known to be set.
    fn wishes(&mut self) -> Wishes {
        self.tables().layers().unwrap().0.operator
    }

    /// `flbc set`
    fn try_set(&mut self, file: Option<&str>, server: &str, wish: Demand) -> Result<Set, Refused> {
        let server = server.split_once(' ').unwrap();
        let file = file.map(model);
        self.in_turn(true, |tables| {
            set_server(tables, file, server, wish, &mut Diagnostics::new())
        })
    }

    /// Sets a server, which must succeed without a word of warning.
    #[track_caller]
    fn set(&mut self, server: &str, wish: Demand) -> Set {
        let set = self.try_set(None, server, wish);
        let set = set.unwrap_or_else(|refused| panic!("{refused}"));
        assert!(set.applied.warnings().is_empty(), "{:?}", set.applied);
        set
    }

    #[track_caller]
    fn unload(&mut self) -> Option<Applied> {
        self.in_turn(true, |tables| Ok(tables.unload()?)).unwrap()
    }

    /// Loads what `flbc compile` wrote for a text, as nft does: nothing is remembered of it.
    fn load(&mut self, text: &str) {
        let model = model(text);
        let target = ("flbc", Layout::default());
        let rules = crate::rules(&model, target, &mut Diagnostics::new()).unwrap();
        let wanted = desired(rules, &self.kernel.interfaces).unwrap();
        let generation = self.kernel.observed.generation;
        // Another table each time.
        let id = format!("loaded {generation}").into();
        let changes = diff(&Observed::default(), wanted, &id);
        self.kernel.observed = Observed {
            generation,
            ..Observed::default()
        };
        self.kernel.commit("flbc", &changes, generation).unwrap();
    }

    /// Another machine like this one.
    fn twin(&self) -> Self {
        let twin = Self {
            kernel: self.kernel.clone(),
            folder: tempfile::tempdir().unwrap(),
        };
        twin.cache().lock("flbc").unwrap();
        for note in self.notes(".state") {
            let name = note.file_name().unwrap();
            std::fs::copy(&note, twin.folder.path().join("run").join(name)).unwrap();
        }
        twin
    }

    /// Somebody changes the tables by hand.
    fn by_hand(&mut self, other: impl FnOnce(&mut Observed)) {
        other(&mut self.kernel.observed);
        self.kernel.observed.generation += 1;
    }

    /// The files of notes that end so.
    fn notes(&self, ending: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("run"));
        let paths = files.into_iter().flatten().map(|file| file.unwrap().path());
        paths
            .filter(|path| path.to_str().unwrap().ends_with(ending))
            .collect()
    }

    fn remembers(&self) -> bool {
        !self.notes(".state").is_empty()
    }

    /// As after a reboot with the same rules.
    fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("run")).unwrap();
    }

    /// Leaves what a run leaves that is killed right after its transaction.
    fn kill_after_transaction(&self) {
        for state in self.notes(".state") {
            std::fs::rename(&state, state.with_extension("state.aside")).unwrap();
        }
    }

    /// What the kernel has.
    fn has(&self) -> Observed {
        self.kernel.clone().observe("flbc").unwrap()
    }

    fn has_tables(&self) -> bool {
        self.kernel.observed.has_tables()
    }

    fn servers(&self) -> Vec<KnownServer> {
        let mut servers = numbers(&self.kernel.observed).servers;
        servers.sort_by(|a, b| a.identity.cmp(&b.identity));
        servers
    }

    /// The number of a server, by what it is known by: `a of www`.
    #[track_caller]
    fn number_of(&self, server: &str) -> u32 {
        let servers = self.servers();
        let found = servers.iter().find(|one| *one.identity == *server);
        found.unwrap_or_else(|| panic!("{servers:?}")).number
    }

    /// How each server of a service stands, and which part of its slots it has, by their names: `a up 2/3`.
    fn stand(&self, service: &str) -> Vec<String> {
        let view = View::of(&self.kernel.observed);
        let servers = view.services[service].servers.iter();
        let mut stand: Vec<String> = servers
            .map(|one| format!("{} {} {}/{}", one.name, one.state, one.slots, one.of_slots))
            .collect();
        stand.sort();
        stand
    }

    /// How all services and servers stand, whatever slots they have.
    fn stands(&self) -> Vec<String> {
        let view = View::of(&self.kernel.observed);
        let services = view.services.iter();
        services
            .map(|(name, one)| {
                let mut vips: Vec<&str> = one.vips.iter().map(|(vip, _)| &**vip).collect();
                vips.sort_unstable();
                format!("{name} {} {vips:?} {:?}", one.mode, self.stand(name))
            })
            .collect()
    }

    /// A client connects by a VIP to a server of nat, which is known by `a of www`.
    #[track_caller]
    fn connect(&mut self, protocol: Protocol, vip: &str, server: &str) {
        let servers = self.servers();
        let mut named = servers.iter().filter(|one| *one.identity == *server);
        let KnownServer {
            number,
            address,
            port,
            ..
        } = named.next().unwrap();
        let vip = at(vip);
        let connection = Connection {
            protocol: protocol.number(),
            client: client(self.kernel.connections.len()),
            client_port: Some(1234),
            vip: vip.ip(),
            vip_port: Some(vip.port()),
            server: address.unwrap(),
            server_port: port.or(Some(vip.port())),
            mark: *number,
        };
        self.kernel.connections.push(connection);
    }

    /// Who has the connections: the servers by what their marks name.
    #[track_caller]
    fn connected(&self) -> Vec<String> {
        let servers = self.servers();
        let name = |one: &Connection| {
            let mut named = servers.iter().filter(|server| server.number == one.mark);
            let named = named.next().unwrap_or_else(|| panic!("{one:?}"));
            assert_eq!(named.address, Some(one.server), "{one:?}");
            named.identity.to_string()
        };
        self.kernel.connections.iter().map(name).collect()
    }

    /// A client of IPv4 is remembered for a server of a service that persists, and of which this is the chain.
    #[track_caller]
    fn remember(&mut self, chain: &str, server: &str, left: u64) {
        let server = self.number_of(server);
        let known = numbers(&self.kernel.observed);
        let service = known.blocks[chain].region.unwrap().service();
        let IpAddr::V4(client) = client(self.remembered().len()) else {
            panic!("an address of IPv4")
        };
        let key = [client.octets(), service.to_ne_bytes()].concat();
        let entry = Entry {
            key: Bytes::new(&key).unwrap(),
            server,
            timeout: 600_000,
            left,
        };
        let of_family = |family| {
            let table = self.kernel.observed.table(family)?;
            let map = table
                .sets
                .iter()
                .find(|set| set.name.starts_with("persist4"))?;
            Some((family, map.name.clone()))
        };
        let mut maps = TableFamily::BOTH.into_iter().filter_map(of_family);
        let (family, map): (TableFamily, Arc<str>) = maps.next().unwrap();
        let all = &mut self.kernel.recollections;
        match all
            .iter_mut()
            .find(|one| (one.family, &one.map) == (family, &map))
        {
            Some(one) => one.entries.push(entry),
            None => all.push(Recollection {
                family,
                map,
                entries: vec![entry],
            }),
        }
    }

    /// The servers that clients are remembered for, and for how long.
    fn remembered(&self) -> Vec<(String, u64)> {
        let servers = self.servers();
        let name = |number| {
            let named = servers.iter().find(|server| server.number == number);
            named.map_or_else(|| format!("{number:x}"), |one| one.identity.to_string())
        };
        let all = self.kernel.recollections.iter();
        all.flat_map(|one| &one.entries)
            .map(|entry| (name(entry.server), entry.left))
            .collect()
    }

    /// A client of a VIP whose packets the kernel follows and does not translate.
    fn follow(&mut self, protocol: Protocol, vip: &str, answered: bool) {
        let vip = at(vip);
        self.kernel.flows.push(Flow {
            protocol: protocol.number(),
            source: client(self.kernel.flows.len()),
            source_port: 1234,
            destination: vip.ip(),
            destination_port: vip.port(),
            answered,
        });
    }
}

fn client(number: usize) -> IpAddr {
    IpAddr::from([198, 51, 100, u8::try_from(number).unwrap()])
}

/// An apply that succeeded without a word of warning.
#[track_caller]
fn quiet(outcome: Result<Applied, Refused>) -> Applied {
    let applied = outcome.unwrap_or_else(|refused| panic!("{refused}"));
    assert!(applied.warnings().is_empty(), "{:?}", applied.warnings());
    applied
}

/// What became of a failure that the kernel or the tables caused.
#[track_caller]
fn failure(outcome: Result<Applied, Refused>) -> Failure {
    match outcome {
        Err(Refused::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// What is reported, in the words of the file's faults.
fn told(refused: &Refused) -> Vec<String> {
    let mut sink = Diagnostics::new();
    let sentence = refused.report(&mut sink);
    let faults = sink.sorted();
    let faults = faults.iter().map(|fault| fault.message.clone());
    faults.chain(sentence).collect()
}

/// Whether the tables are the same but for the numbers of rules.
#[track_caller]
fn same(one: &Observed, other: &Observed) {
    assert_eq!(drift(one, other), []);
    assert_eq!(drift(other, one), []);
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
