//! Whether packets go where `flbc explain` says.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::draft::{Draft, MACHINES, Target};
use crate::apply_host::Host;
use crate::lab::client::{self, Protocol};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology, VIPS, hold};
use crate::lab::{Answer, PATIENCE, SILENCE};
use crate::operator::at;

/// Ports that the machines listen on, at their own addresses and at those VIPs that they hold.
const PORTS: [u16; 3] = [80, 443, 1500];

/// A network in which the balancer serves by nat and by direct return: what a machine sends from its own addresses goes by
/// the balancer, and from VIPs by the router.
pub(super) fn network() -> (Topology, Vec<RealServer>) {
    let topology = Topology::new(Layout::DrTwoInterfaces, MACHINES);
    topology.balancer.forward();
    topology
        .balancer
        .ip("link add eth2 type veth peer name eth2p
        link set eth2 up");
    let mut serving = Vec::new();
    for server in &topology.servers {
        server.namespace.ip("rule add from 10.20.0.0/24 lookup 100
            route add 10.20.0.0/24 dev eth0 table 100
            route add default via 10.20.0.1 table 100
            route add 2001:db8:1::/64 dev eth0 table 100
            route add default via 2001:db8:1::1 table 100");
        let six = [
            "-6",
            "rule",
            "add",
            "from",
            "2001:db8:1::/64",
            "lookup",
            "100",
        ];
        let ruled = server.namespace.command("ip", &six, "");
        assert!(ruled.success, "{}", ruled.stderr);
        let mut listens = topology.listens(server, &PORTS);
        for address in [server.v4.into(), server.v6.into()] {
            let ports = PORTS.iter().chain(&[8080]);
            listens.extend(ports.map(|port| SocketAddr::new(address, *port)));
        }
        serving.push(RealServer::start(&server.namespace, &server.name, &listens));
    }
    // What no service takes must not go back to the router, and in circles.
    for vip in VIPS {
        hold(&topology.balancer, vip);
    }
    (topology, serving)
}

/// What was said of one flow, and whether it could be seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Answered,
    TurnedAway,
    Nothing,
}

/// Sends one new flow to a VIP, and compares who answers with what is said before.
pub(super) fn flow(topology: &Topology, host: &Host, draft: &Draft, target: &Target) -> Seen {
    let (vip, word, port) = target;
    let protocol = if *word == "udp" {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let to = if vip.contains(':') {
        format!("[{vip}]:{port}")
    } else {
        format!("{vip}:{port}")
    };
    let from = topology.source(at(&to));
    let client = from.to_string();
    let arguments = [
        "explain",
        "--live",
        "--format",
        "json",
        "--protocol",
        word,
        "--from",
        &client,
        "--to",
        &to,
        "/run/lb.flb",
    ];
    let said = host.flbc(&arguments, "");
    let what = format!("{word} from {from} to {to}: {said:?}");
    assert!(matches!(said.code, Some(0 | 1)), "{what}");
    let said: Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(said["service"].is_string(), "{what}");
    // A port that an earlier flow had.
    if said["now"]["untranslated"] == true || !said["now"]["connection"].is_null() {
        return Seen::Nothing;
    }
    let takes = takers(&said, draft);
    if takes.is_empty() {
        let dropped = said["steps"].to_string().contains("gets no answer");
        let patience = if dropped { SILENCE } else { PATIENCE };
        let error = client::ask(&topology.client, protocol, Some(from), at(&to), patience)
            .expect_err(&what);
        let kind = error.kind();
        let refused = kind == std::io::ErrorKind::ConnectionRefused;
        assert_eq!(refused, !dropped, "{kind:?}: {what}");
        return Seen::TurnedAway;
    }
    let machines = takes.iter().map(|address| {
        let mut machines = topology.servers.iter();
        machines.find(|m| *address == m.v4.to_string() || *address == m.v6.to_string())
    });
    let Some(machines) = machines.collect::<Option<Vec<_>>>() else {
        return Seen::Nothing;
    };
    let answer = asked(topology, protocol, from, at(&to));
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {what}"));
    assert!(
        machines.iter().any(|machine| machine.name == answer.server),
        "{answer:?}: {what}"
    );
    Seen::Answered
}

/// A datagram may be lost on a busy machine, and is sent again, as by clients everywhere. In so long a walk more are lost than
/// all other tests may lose, so that these are not counted.
fn asked(
    topology: &Topology,
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
) -> std::io::Result<Answer> {
    let ask = |patience| client::ask(&topology.client, protocol, Some(from), to, patience);
    if protocol == Protocol::Tcp {
        return ask(PATIENCE);
    }
    let second = Duration::from_secs(1);
    let mut answers = (0..PATIENCE.as_secs()).map(|_| ask(second));
    let first = answers.find(Result::is_ok);
    first.unwrap_or_else(|| ask(second))
}

/// The addresses of the servers of which one takes the flow.
fn takers(said: &Value, draft: &Draft) -> Vec<String> {
    let address = |server: &Value| server["address"].as_str().map(str::to_owned);
    let now = ["track", "persist"].map(|by| &said["now"][by]);
    // A backup is remembered as long as it stood in, and takes nobody once another server is up.
    let known = now.into_iter().find(|known| known["returns"] == true);
    if let Some(known) = known.filter(|_| said["admitted"] == true) {
        let name = known["server"].as_str();
        let name = name.unwrap_or_else(|| panic!("remembered for nobody: {said}"));
        return vec![draft.address_of(name)];
    }
    if !said["server"].is_null() {
        return address(&said["server"]).into_iter().collect();
    }
    let shares = said["shares"]["servers"].as_array().into_iter().flatten();
    shares
        .filter_map(|share| address(&share["server"]))
        .collect()
}
