//! The stage: a client behind a router, a balancer, and real servers on one LAN.
//!
//! ```text
//!  client --- router --- balancer           Nat: the servers' gateway is the balancer
//!                            |
//!                       LAN ---- a, b, c
//!
//!  client --- router --- balancer           DrTwoInterfaces: in by eth0, out by eth1,
//!                |           |              replies by the router
//!               LAN ------------ a, b, c
//!
//!  client --- router                        DrOneInterface: the balancer has the LAN only
//!                |
//!               LAN --- balancer, a, b, c
//! ```
//!
//! IPv4 and IPv6 everywhere. The router sends every VIP to the balancer. Every IPv6 address has `nodad`:
//! it is usable at once, where others are tentative for a moment, and a socket would take a link-local
//! address for its source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use super::client;
use super::namespace::Namespace;
use super::real_server::RealServer;

/// The virtual addresses that the router sends to the balancer, and that `dr` servers hold.
pub(crate) const VIPS: [&str; 4] = ["192.0.2.10", "192.0.2.53", "2001:db8::10", "2001:db8::53"];

/// The MAC address of the balancer's `eth0`.
pub(crate) const BALANCER_ETH0: &str = "02:00:00:00:01:00";

/// The MAC address of the balancer's `eth1`.
pub(crate) const BALANCER_ETH1: &str = "02:00:00:00:01:01";

/// The MAC address of the router's interface on the LAN.
pub(crate) const ROUTER_LAN: &str = "02:00:00:00:02:02";

/// Who stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The servers answer through the balancer.
    Nat,
    /// The balancer has one interface, on the servers' LAN; they answer through the router.
    DrOneInterface,
    /// VIP traffic comes in by `eth0` and leaves by `eth1`; the servers answer through the router.
    DrTwoInterfaces,
}

/// One real server's machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `a`, `b`, `c`, ...
    pub(crate) name: String,
    /// Its namespace, with one interface, `eth0`.
    pub(crate) namespace: Namespace,
    /// 10.20.0.11, 10.20.0.12, ...
    pub(crate) v4: Ipv4Addr,
    /// `2001:db8:1::11`, `2001:db8:1::12`, ...
    pub(crate) v6: Ipv6Addr,
    /// 02:00:00:00:00:11, 02:00:00:00:00:12, ...
    pub(crate) mac: String,
}

/// All machines.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) layout: Layout,
    pub(crate) client: Namespace,
    pub(crate) router: Namespace,
    pub(crate) balancer: Namespace,
    /// The switch of the servers' LAN.
    pub(crate) lan: Namespace,
    pub(crate) servers: Vec<Machine>,
    /// How many client addresses have been given out.
    given: AtomicU32,
}

impl Topology {
    /// Builds the stage with that many servers (at most 26), and nothing that answers yet.
    pub(crate) fn new(layout: Layout, servers: u8) -> Self {
        let topology = Self {
            layout,
            client: Namespace::new("client"),
            router: Namespace::new("router"),
            balancer: Namespace::new("balancer"),
            lan: Namespace::new("lan"),
            servers: (0..servers).map(machine).collect(),
            given: AtomicU32::new(0),
        };
        topology.wire();
        topology.address_client_and_router();
        topology.address_balancer();
        for server in &topology.servers {
            topology.address_server(server);
        }
        topology.settle();
        topology
    }

    /// The interface of the balancer by which the servers are reached.
    pub(crate) fn lan_interface(&self) -> &'static str {
        if self.layout == Layout::DrOneInterface {
            "eth0"
        } else {
            "eth1"
        }
    }

    /// Starts every server on these TCP and UDP ports: in `nat` on its own addresses, in `dr` on every VIP.
    pub(crate) fn serve(&self, ports: &[u16]) -> Vec<RealServer> {
        self.servers
            .iter()
            .map(|server| {
                RealServer::start(
                    &server.namespace,
                    &server.name,
                    &self.listens(server, ports),
                )
            })
            .collect()
    }

    /// Client addresses and ports of the family of `to` that nobody has used here before (what was used
    /// may be known to the balancer's connection tracking). The same at every run.
    pub(crate) fn sources(&self, to: SocketAddr, count: u32) -> Vec<SocketAddr> {
        let first = self.given.fetch_add(count, Ordering::Relaxed);
        (first..first + count)
            .map(|number| client::source(to, number))
            .collect()
    }

    /// One such address and port.
    pub(crate) fn source(&self, to: SocketAddr) -> SocketAddr {
        client::source(to, self.given.fetch_add(1, Ordering::Relaxed))
    }

    /// Where a server listens.
    pub(crate) fn listens(&self, server: &Machine, ports: &[u16]) -> Vec<SocketAddr> {
        let addresses: Vec<IpAddr> = match self.layout {
            Layout::Nat => vec![server.v4.into(), server.v6.into()],
            Layout::DrOneInterface | Layout::DrTwoInterfaces => VIPS
                .iter()
                .map(|vip| vip.parse().expect("a VIP is an address"))
                .collect(),
        };
        addresses
            .iter()
            .flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)))
            .collect()
    }

    fn wire(&self) {
        let router = self.router.path();
        let balancer = self.balancer.path();
        self.client.ip(&format!(
            "link add eth0 type veth peer name wan netns {router}"
        ));
        let mut lan = vec![
            "link add br0 type bridge mcast_snooping 0".to_owned(),
            "link set br0 up".to_owned(),
        ];
        let mut ports = vec!["p-balancer".to_owned()];
        if self.layout == Layout::DrOneInterface {
            lan.push(format!("link add p-balancer type veth peer name eth0 address {BALANCER_ETH0} netns {balancer}"
            ));
        } else {
            self.router.ip(&format!(
                "link add transit type veth peer name eth0 address {BALANCER_ETH0} netns {balancer}"
            ));
            lan.push(format!("link add p-balancer type veth peer name eth1 address {BALANCER_ETH1} netns {balancer}"
            ));
        }
        if self.layout != Layout::Nat {
            lan.push(format!(
                "link add p-router type veth peer name lan address {ROUTER_LAN} netns {router}"
            ));
            ports.push("p-router".to_owned());
        }
        for server in &self.servers {
            let port = format!("p-{}", server.name);
            lan.push(format!(
                "link add {port} type veth peer name eth0 address {} netns {}",
                server.mac,
                server.namespace.path()
            ));
            ports.push(port);
        }
        for port in ports {
            lan.push(format!("link set {port} master br0 up"));
        }
        self.lan.ip(&lan.join("\n"));
    }

    /// Asks for every interface once: the kernel notices a new carrier up to a second late, but at once
    /// when asked.
    fn settle(&self) {
        let mut switch = vec![
            "link show dev br0".to_owned(),
            "link show dev p-balancer".to_owned(),
        ];
        for server in &self.servers {
            switch.push(format!("link show dev p-{}", server.name));
            server.namespace.ip("link show dev eth0");
        }
        let (router, balancer) = match self.layout {
            Layout::Nat => (
                "link show dev transit",
                "link show dev eth0\nlink show dev eth1",
            ),
            Layout::DrOneInterface => ("link show dev lan", "link show dev eth0"),
            Layout::DrTwoInterfaces => (
                "link show dev transit\nlink show dev lan",
                "link show dev eth0\nlink show dev eth1",
            ),
        };
        if self.layout != Layout::Nat {
            switch.push("link show dev p-router".to_owned());
        }
        self.lan.ip(&switch.join(
            "
",
        ));
        self.router.ip(&format!("link show dev wan\n{router}"));
        self.balancer.ip(balancer);
        self.client.ip("link show dev eth0");
    }

    fn address_client_and_router(&self) {
        // The client answers for whole networks, so that a test can send from thousands of addresses.
        self.client.ip("addr add 198.51.100.10/24 dev eth0
            addr add 2001:db8:c::10/64 dev eth0 nodad
            link set eth0 up
            route add default via 198.51.100.1
            route add default via 2001:db8:c::1
            route add local 198.18.0.0/15 dev lo
            route add local 2001:db8:c1::/48 dev lo");
        self.client.sysctl("net/ipv6/ip_nonlocal_bind", "1");
        self.router.forward();
        self.router.ip("addr add 198.51.100.1/24 dev wan
            addr add 2001:db8:c::1/64 dev wan nodad
            link set wan up
            route add 198.18.0.0/15 via 198.51.100.10
            route add 2001:db8:c1::/48 via 2001:db8:c::10");
        let transit = "addr add 203.0.113.1/24 dev transit
            addr add 2001:db8:f::1/64 dev transit nodad
            link set transit up
            route add 192.0.2.0/24 via 203.0.113.2
            route add 2001:db8::/64 via 2001:db8:f::2";
        let lan = "addr add 10.20.0.254/24 dev lan
            addr add 2001:db8:1::fe/64 dev lan nodad
            link set lan up";
        match self.layout {
            Layout::Nat => {
                self.router.ip(transit);
                self.router.ip("route add 10.20.0.0/24 via 203.0.113.2
                    route add 2001:db8:1::/64 via 2001:db8:f::2");
            }
            Layout::DrTwoInterfaces => {
                self.router.ip(transit);
                self.router.ip(lan);
            }
            Layout::DrOneInterface => {
                self.router.ip(lan);
                self.router.ip("route add 192.0.2.0/24 via 10.20.0.1
                    route add 2001:db8::/64 via 2001:db8:1::1");
            }
        }
    }

    fn address_balancer(&self) {
        let lan = self.lan_interface();
        self.balancer.ip(&format!(
            "addr add 10.20.0.1/24 dev {lan}
            addr add 2001:db8:1::1/64 dev {lan} nodad
            link set {lan} up"
        ));
        if self.layout == Layout::DrOneInterface {
            self.balancer.ip("route add default via 10.20.0.254
                route add default via 2001:db8:1::fe");
        } else {
            self.balancer.ip("addr add 203.0.113.2/24 dev eth0
                addr add 2001:db8:f::2/64 dev eth0 nodad
                link set eth0 up
                route add default via 203.0.113.1
                route add default via 2001:db8:f::1");
        }
        // In `dr` the balancer is no router: what it does not balance must not go on by accident.
        if self.layout == Layout::Nat {
            self.balancer.forward();
        }
    }

    fn address_server(&self, server: &Machine) {
        let (gateway4, gateway6) = if self.layout == Layout::Nat {
            ("10.20.0.1", "2001:db8:1::1")
        } else {
            ("10.20.0.254", "2001:db8:1::fe")
        };
        server.namespace.ip(&format!(
            "addr add {}/24 dev eth0
            addr add {}/64 dev eth0 nodad
            link set eth0 up
            route add default via {gateway4}
            route add default via {gateway6}",
            server.v4, server.v6
        ));
        if self.layout != Layout::Nat {
            // The VIPs are held, but hidden: no ARP answer for them, and no ARP question that gives them
            // as the asker.
            server.namespace.sysctl("net/ipv4/conf/all/arp_ignore", "1");
            server
                .namespace
                .sysctl("net/ipv4/conf/all/arp_announce", "2");
            for vip in VIPS {
                hold(&server.namespace, vip);
            }
        }
    }
}

/// Gives a machine an address on its loopback interface.
pub(crate) fn hold(namespace: &Namespace, address: &str) {
    if address.contains(':') {
        namespace.ip(&format!("addr add {address}/128 dev lo nodad"));
    } else {
        namespace.ip(&format!("addr add {address}/32 dev lo"));
    }
}

fn machine(index: u8) -> Machine {
    let name = char::from(b'a' + index).to_string();
    let number = 11 + index;
    Machine {
        namespace: Namespace::new(&name),
        name,
        v4: Ipv4Addr::new(10, 20, 0, number),
        v6: format!("2001:db8:1::{number}")
            .parse()
            .expect("two decimal digits are hexadecimal too"),
        mac: format!("02:00:00:00:00:{number}"),
    }
}
