//! The same services in the words of flbc's contenders.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// Services with ten servers each, as every contender gets them.
#[derive(Clone)]
pub(crate) struct Site {
    /// How many services.
    pub(crate) services: u32,
    /// TCP, or UDP.
    pub(crate) protocol: &'static str,
    /// The virtual address of a service.
    pub(crate) vip: fn(u32) -> Ipv4Addr,
    /// The address of one of its ten servers.
    pub(crate) server: fn(u32, u32) -> Ipv4Addr,
    /// The port of the servers; services listen on 80.
    pub(crate) port: u16,
    /// A service one of whose servers weighs 2, where the others weigh 1.
    pub(crate) heavy: Option<u32>,
}

/// How many servers a service has.
pub(crate) const SERVERS: u32 = 10;

impl Site {
    fn weight(&self, service: u32, server: u32) -> u32 {
        if self.heavy == Some(service) && server == 0 {
            2
        } else {
            1
        }
    }

    /// For flbc; `statements` stand in every service, and servers have a port if `ports` says so.
    pub(crate) fn flb(&self, statements: &str, ports: bool) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            let vip = (self.vip)(service);
            let _ = writeln!(
                text,
                "service s{service} {{\n    vip {vip} {} 80\n    {statements}",
                self.protocol
            );
            for server in 0..SERVERS {
                let address = (self.server)(service, server);
                let port = if ports {
                    format!(":{}", self.port)
                } else {
                    String::new()
                };
                let weight = match self.weight(service, server) {
                    1 => String::new(),
                    more => format!(" weight {more}"),
                };
                let _ = writeln!(text, "    server r{server} {address}{port}{weight}");
            }
            text.push_str("}\n");
        }
        text
    }

    /// The obvious rules: a chain for each service, with a map in its rule.
    pub(crate) fn hand_written(&self) -> String {
        let mut text = "add table ip hand\ndelete table ip hand\ntable ip hand {\n".to_owned();
        let mut elements = String::new();
        for service in 0..self.services {
            let slots: Vec<u32> = (0..SERVERS)
                .flat_map(|server| {
                    let weight = self.weight(service, server);
                    std::iter::repeat_n(server, usize::try_from(weight).unwrap_or(1))
                })
                .collect();
            let map: Vec<String> = slots
                .iter()
                .enumerate()
                .map(|(slot, server)| format!("{slot} : {}", (self.server)(service, *server)))
                .collect();
            let _ = writeln!(
                text,
                "chain s{service} {{ meta l4proto {} dnat to numgen inc mod {} map {{ {} }} : {} ; }}",
                self.protocol,
                map.len(),
                map.join(", "),
                self.port
            );
            let _ = write!(elements, "{} : goto s{service}, ", (self.vip)(service));
        }
        let _ = writeln!(
            text,
            "map services {{ type ipv4_addr : verdict; elements = {{ {elements} }}; }}
             chain prerouting {{ type nat hook prerouting priority dstnat; {} dport 80 ip daddr vmap @services; }}\n}}",
            self.protocol
        );
        text
    }

    /// For nftlb, in one of its modes; `services` alone, where it is only told what changed.
    pub(crate) fn nftlb(&self, mode: &str, services: impl Iterator<Item = u32>) -> String {
        let farm = |service: u32| {
            let backends: Vec<String> = (0..SERVERS)
                .map(|server| {
                    let port = if mode == "dsr" {
                        String::new()
                    } else {
                        format!(r#""port":"{}","#, self.port)
                    };
                    format!(
                        r#"{{"name":"r{server}","ip-addr":"{}",{port}"weight":"{}","priority":"1","state":"up"}}"#,
                        (self.server)(service, server),
                        self.weight(service, server)
                    )
                })
                .collect();
            // Round-robin breaks its direct return: there only hashing works.
            let scheduler = if mode == "dsr" {
                r#""scheduler":"hash","sched-param":"srcip srcport""#
            } else {
                r#""scheduler":"rr""#
            };
            format!(
                r#"{{"name":"s{service}","family":"ipv4","virtual-addr":"{}","virtual-ports":"80","mode":"{mode}","protocol":"{}",{scheduler},"state":"up","backends":[{}]}}"#,
                (self.vip)(service),
                self.protocol,
                backends.join(",")
            )
        };
        let farms: Vec<String> = services.map(farm).collect();
        format!(r#"{{"farms":[{}]}}"#, farms.join(","))
    }
}
