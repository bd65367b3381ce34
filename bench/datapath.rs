//! The datapath: packets and connections through one balancer, a client on one side and ten servers on the other, all
//! in namespaces of this machine. Packets are counted where the servers' interface takes them in.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::contender::{BESIDE_IPVS, CONTENDERS, Contender, How, MANY, OPTIONS};
use crate::lab::namespace::Namespace;
use crate::peers::{SERVERS, Site};
use crate::run::Workshop;
use crate::sender::{Sender, flow};
use crate::table::{self, Table};

const BALANCER_MAC: &str = "02:00:00:00:01:00";
const SERVER_MAC: &str = "02:00:00:00:00:11";

/// The port that clients ask for.
pub(crate) const PORT: u16 = 80;

/// The port that servers have where it is translated.
pub(crate) const SERVER_PORT: u16 = 8080;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    /// How long each figure is measured.
    pub(crate) time: Duration,
    /// How many new flows are sent.
    pub(crate) flows: u32,
    /// Whether absolute figures mean anything.
    pub(crate) absolute: bool,
    /// How long nothing is done before each contender's turn, so that what the kernel keeps of the one before has ended.
    pub(crate) idle: Duration,
}

/// Every contender on this kernel.
pub(crate) fn side_by_side(shop: &Workshop, extent: Extent) -> Result<(), String> {
    println!("Through one balancer, 1 service x 10 servers\n");
    compare(shop, extent, &CONTENDERS, 1)
}

/// flbc with many services.
pub(crate) fn many_services(shop: &Workshop, extent: Extent) -> Result<(), String> {
    for services in [1, 10_000] {
        println!("flbc, {services} services x 10 servers\n");
        compare(shop, extent, &MANY, services)?;
    }
    Ok(())
}

/// flbc's options, beside the same without them.
pub(crate) fn options(shop: &Workshop, extent: Extent) -> Result<(), String> {
    println!("What options cost, 1 service x 10 servers\n");
    compare(shop, extent, &OPTIONS, 1)
}

/// flbc beside IPVS, where the kernel has it.
pub(crate) fn beside_ipvs(shop: &Workshop, extent: Extent) -> Result<(), String> {
    println!("Beside IPVS, 1 service x 10 servers, as parts of plain routing\n");
    compare(shop, extent, &BESIDE_IPVS, 1)
}

/// What is measured of each contender; `None` where it does not apply.
#[derive(Default)]
struct Figures([Vec<f64>; 4]);

const FIGURES: [&str; 4] = [
    "packets/s, established UDP flows",
    "packets/s, each a new UDP flow",
    "new TCP connections/s",
    "round trips/s on a TCP connection",
];

fn compare(
    shop: &Workshop,
    extent: Extent,
    contenders: &[Contender],
    services: u32,
) -> Result<(), String> {
    let mut figures: Vec<Result<Figures, String>> =
        contenders.iter().map(|_| Ok(Figures::default())).collect();
    let mut beds = Vec::new();
    for (contender, slot) in contenders.iter().zip(&mut figures) {
        let made = Beds::new(shop, *contender, services);
        beds.push(made.map_err(|why| *slot = Err(why)).ok());
    }
    for round in 0..extent.rounds {
        for (beds, slot) in beds.iter().zip(&mut figures) {
            let (Some(beds), Ok(all)) = (beds, &mut *slot) else {
                continue;
            };
            thread::sleep(extent.idle);
            if let Err(why) = beds.measure(extent, round, all) {
                *slot = Err(why);
            }
        }
    }
    let limits = figures.first().and_then(|first| first.as_ref().ok());
    let limits: Vec<f64> = limits
        .into_iter()
        .flat_map(|first| first.0.iter().map(|all| table::median(all)))
        .collect();
    let mut head = vec!["contender".to_owned()];
    head.extend(FIGURES.iter().map(|&figure| figure.to_owned()));
    let mut rows = Table::new(head);
    let mut failures = Vec::new();
    for (contender, figures) in contenders.iter().zip(&figures) {
        let mut row = vec![contender.name.to_owned()];
        match figures {
            Err(why) => {
                failures.push(format!("{}: {why}", contender.name));
                row.extend(FIGURES.iter().map(|_| "not measured".to_owned()));
            }
            Ok(figures) => row.extend(figures.0.iter().zip(&limits).map(|(all, limit)| {
                if all.is_empty() {
                    return "-".to_owned();
                }
                let part = table::median(all) / limit * 100.0;
                if extent.absolute {
                    format!("{}, {part:.0}%", table::median_and_spread(all, 0))
                } else {
                    let parts: Vec<f64> = all.iter().map(|one| one / limit * 100.0).collect();
                    format!("{}%", table::median_and_spread(&parts, 1))
                }
            })),
        }
        rows.push(row);
    }
    println!("{rows}");
    for failure in &failures {
        println!("Not measured: {failure}\n");
    }
    // A contender that is missing is told; flbc itself has to work.
    match contenders
        .iter()
        .zip(&figures)
        .find(|(c, f)| c.is_flbc() && f.is_err())
    {
        Some((contender, Err(why))) => Err(format!("{}: {why}", contender.name)),
        _ => Ok(()),
    }
}

/// One contender's balancers: they stay for all rounds, as loading takes longer than measuring.
struct Beds {
    /// Proxies take no packets one by one.
    udp: Option<Bed>,
    tcp: Bed,
}

impl Beds {
    fn new(shop: &Workshop, contender: Contender, services: u32) -> Result<Self, String> {
        let bed = |protocol| Bed::new(shop, contender, services, protocol);
        let udp = (!contender.is_proxy()).then(|| bed("udp")).transpose()?;
        if let Some(bed) = &udp {
            bed.count_packets();
        }
        let tcp = bed("tcp")?;
        for port in [PORT, SERVER_PORT] {
            tcp.serve(port)?;
        }
        Ok(Self { udp, tcp })
    }

    fn measure(&self, extent: Extent, round: usize, all: &mut Figures) -> Result<(), String> {
        let [established, new, connections, trips] = &mut all.0;
        if let Some(bed) = &self.udp {
            established.push(bed.established(extent.time)?);
            let first = u32::try_from(round).unwrap_or(0) * extent.flows;
            new.push(bed.new_flows(first, extent.flows)?);
        }
        let (opened, asked) = self.tcp.connections(extent.time)?;
        connections.push(opened);
        trips.push(asked);
        Ok(())
    }
}

/// One balancer at work.
pub(crate) struct Bed {
    pub(crate) client: Namespace,
    pub(crate) balancer: Namespace,
    servers: Namespace,
    pub(crate) target: SocketAddr,
    daemon: Option<Child>,
    /// Whether those who answer may end.
    done: Arc<AtomicBool>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(daemon) = &mut self.daemon {
            drop(daemon.stdin.take());
            let _ = daemon.wait();
        }
    }
}

fn vip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x6440_0000 + service)
}

fn server(_: u32, server: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a14_000b + server)
}

impl Bed {
    fn new(
        shop: &Workshop,
        contender: Contender,
        services: u32,
        protocol: &'static str,
    ) -> Result<Self, String> {
        let site = Self::site(services, protocol);
        let mut bed = Self::bare(contender, &site);
        let balancer = bed.balancer.clone();
        bed.configure(shop, contender, &site, &balancer)?;
        Ok(bed)
    }

    /// The services as all contenders get them.
    pub(crate) fn site(services: u32, protocol: &'static str) -> Site {
        Site {
            services,
            protocol,
            vip,
            server,
            port: SERVER_PORT,
            heavy: None,
        }
    }

    /// The machines, before the balancer is told anything.
    pub(crate) fn bare(contender: Contender, site: &Site) -> Self {
        let [client, balancer, servers] = ["client", "balancer", "servers"].map(Namespace::new);
        let address = vip(site.services / 2);
        client.ip(&format!(
            "link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 address {BALANCER_MAC} netns {0}
            addr add 198.51.100.10/24 dev eth0\nlink set eth0 up\nroute add default via 198.51.100.1",
            balancer.path()
        ));
        let mut lines = format!(
            "link add eth1 address 02:00:00:00:02:00 type veth peer name eth0 address {SERVER_MAC} netns {}
            addr add 198.51.100.1/24 dev eth0\naddr add 10.20.0.1/24 dev eth1\nlink set eth0 up\nlink set eth1 up
            addr add {address}/32 dev eth0\n",
            servers.path()
        );
        let mut ends = "link set eth0 up\n".to_owned();
        for number in 0..SERVERS {
            let server = server(0, number);
            let _ = writeln!(ends, "addr add {server}/24 dev eth0");
            let _ = writeln!(
                lines,
                "neigh replace {server} lladdr {SERVER_MAC} dev eth1 nud permanent"
            );
        }
        let _ = writeln!(
            ends,
            "route add default via 10.20.0.1\naddr add {address}/32 dev lo"
        );
        // The way back of direct return, past the balancer.
        client.ip(&format!(
            "link add eth1 type veth peer name eth1 netns {}
            addr add 203.0.113.10/24 dev eth1\nlink set eth1 up",
            servers.path()
        ));
        ends.push_str("addr add 203.0.113.11/24 dev eth1\nlink set eth1 up\n");
        if contender.is_direct() {
            ends.push_str("route add 198.51.100.0/24 via 203.0.113.10\n");
        }
        balancer.ip(&lines);
        servers.ip(&ends);
        balancer.forward();
        for (namespace, links) in [
            (&client, "link show dev eth0"),
            (&balancer, "link show dev eth0\nlink show dev eth1"),
            (&servers, "link show dev eth0"),
        ] {
            namespace.ip(links);
        }
        let target = match contender.how {
            How::Route => SocketAddr::from((server(0, 0), SERVER_PORT)),
            _ => SocketAddr::from((address, PORT)),
        };
        Self {
            client,
            balancer,
            servers,
            target,
            daemon: None,
            done: Arc::default(),
        }
    }

    fn configure(
        &mut self,
        shop: &Workshop,
        contender: Contender,
        site: &Site,
        balancer: &Namespace,
    ) -> Result<(), String> {
        let ran = |program: &str, arguments: &[&str], input: &str| {
            let finished = balancer.command(program, arguments, input);
            let said = || format!("{program} {arguments:?}: {}", finished.stderr.trim());
            finished.success.then_some(()).ok_or_else(said)
        };
        let direct = contender.is_direct();
        match contender.how {
            How::Route => Ok(()),
            How::Flbc(statements) => {
                let mut text = site.flb(statements, !direct);
                if statements.contains(" from 02:") {
                    let mac = format!("mac {SERVER_MAC}");
                    let server = server(0, 0).to_string();
                    let network = server.trim_end_matches(char::is_numeric);
                    for number in 0..SERVERS {
                        let line = format!(" {network}{}\n", 11 + number);
                        text = text.replace(&line, &format!("{} {mac}\n", line.trim_end()));
                    }
                }
                let source = shop.source_text(&text)?;
                let rules = shop.compile(&source)?;
                ran("nft", &["-f", &rules.to_string_lossy()], "")
            }
            How::HandWritten => ran("nft", &["-f", "-"], &site.hand_written()),
            How::Nftlb(mode) => {
                let file = shop.source_text(&site.nftlb(mode, 0..site.services))?;
                ran(
                    "nftlb",
                    &["-e", "-l", "0", "-c", &file.to_string_lossy()],
                    "",
                )
            }
            How::Ipvs(scheduler, forward) => {
                let kind = if site.protocol == "udp" { "-u" } else { "-t" };
                let service = self.target.to_string();
                ran("ipvsadm", &["-A", kind, &service, "-s", scheduler], "")?;
                for number in 0..SERVERS {
                    let port = if direct { PORT } else { SERVER_PORT };
                    let server = SocketAddr::from((server(0, number), port)).to_string();
                    ran(
                        "ipvsadm",
                        &["-a", kind, &service, "-r", &server, forward, "-w", "1"],
                        "",
                    )?;
                }
                Ok(())
            }
            How::HaProxy => {
                let servers: Vec<String> = (0..SERVERS)
                    .map(|number| {
                        format!("    server r{number} {}:{SERVER_PORT}\n", server(0, number))
                    })
                    .collect();
                let text = format!(
                    "global\n    maxconn 1000\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\nlisten l\n    bind {}\n    balance roundrobin\n{}",
                    self.target,
                    servers.concat()
                );
                let file = shop.source_text(&text)?;
                self.start(
                    balancer,
                    "haproxy",
                    &["-db", "-q", "-f", &file.to_string_lossy()],
                )
            }
            How::Nginx => {
                let servers: Vec<String> = (0..SERVERS)
                    .map(|number| {
                        format!(
                            "        server {}:{SERVER_PORT} max_fails=0;\n",
                            server(0, number)
                        )
                    })
                    .collect();
                let pid = shop.source_text("")?;
                let text = format!(
                    "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nworker_processes auto;\ndaemon off;\nmaster_process on;\nuser root;\npid {};\nerror_log /dev/null;\nevents {{ worker_connections 4096; }}\nstream {{\n    upstream all {{\n{}    }}\n    server {{ listen {} reuseport; proxy_pass all; }}\n}}\n",
                    pid.display(),
                    servers.concat(),
                    self.target
                );
                let file = shop.source_text(&text)?;
                self.start(balancer, "nginx", &["-c", &file.to_string_lossy()])
            }
        }
    }

    /// Starts a proxy in the balancer's namespace, and waits until it listens.
    fn start(
        &mut self,
        balancer: &Namespace,
        program: &str,
        arguments: &[&str],
    ) -> Result<(), String> {
        // It ends with this process too, however that ends: then its standard input closes.
        let script = "\"$@\" </dev/null & cat >/dev/null; kill $!; wait";
        let child = balancer.run(|| {
            Command::new("sh")
                .args(["-c", script, "sh", program])
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        self.daemon = Some(child.map_err(|error| format!("{program}: {error}"))?);
        let target = self.target;
        for _ in 0..100 {
            if balancer
                .run(|| TcpStream::connect_timeout(&target, Duration::from_millis(100)).is_ok())
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{program} does not listen"))
    }

    /// Counts and drops UDP at the servers' interface.
    fn count_packets(&self) {
        self.servers.nft(
            "table netdev bench { counter seen { }
            chain on { type filter hook ingress device eth0 priority 0; policy accept; meta l4proto udp counter name seen drop; }
            }\n",
        );
    }

    fn seen(&self) -> Result<f64, String> {
        let listed = self
            .servers
            .nft_list(&["counter", "netdev", "bench", "seen"]);
        let mut words = listed
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words
            .nth(1)
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("no count in {listed}"))
    }

    /// Packets per second of 64 flows that are open already.
    fn established(&self, time: Duration) -> Result<f64, String> {
        let frames: Vec<Vec<u8>> = (0..64)
            .map(|number| flow(BALANCER_MAC, number, self.target))
            .collect();
        self.client.run(|| {
            let mut sender = Sender::open("eth0")?;
            sender.send_all(&frames)?;
            thread::sleep(Duration::from_millis(100));
            let before = self.seen()?;
            let start = Instant::now();
            while start.elapsed() < time {
                for _ in 0..16 {
                    sender.send_all(&frames)?;
                }
            }
            let elapsed = start.elapsed();
            thread::sleep(Duration::from_millis(50));
            let seen = self.seen()? - before;
            if seen < 64.0 {
                return Err("the servers saw no packets".to_owned());
            }
            Ok(seen / elapsed.as_secs_f64())
        })
    }

    /// New flows per second, each of one packet.
    fn new_flows(&self, first: u32, count: u32) -> Result<f64, String> {
        let frames: Vec<Vec<u8>> = (1000 + first..1000 + first + count)
            .map(|number| flow(BALANCER_MAC, number, self.target))
            .collect();
        self.client.run(|| {
            let mut sender = Sender::open("eth0")?;
            let before = self.seen()?;
            let start = Instant::now();
            for some in frames.chunks(64) {
                sender.send_all(some)?;
            }
            let elapsed = start.elapsed();
            thread::sleep(Duration::from_millis(50));
            Ok((self.seen()? - before) / elapsed.as_secs_f64())
        })
    }

    /// Connections per second, one after the other, each with a question and an answer; and questions and
    /// answers per second on one of them.
    fn connections(&self, time: Duration) -> Result<(f64, f64), String> {
        let target = self.target;
        let figures = self.client.run(|| {
            ask(&open(target)?)?;
            let count = |turn: &mut dyn FnMut() -> std::io::Result<()>| {
                let start = Instant::now();
                let mut turns = 0.0;
                while start.elapsed() < time {
                    turn()?;
                    turns += 1.0;
                }
                Ok::<f64, std::io::Error>(turns / start.elapsed().as_secs_f64())
            };
            let opened = count(&mut || ask(&open(target)?))?;
            let stream = open(target)?;
            let asked = count(&mut || ask(&stream))?;
            Ok((opened, asked))
        });
        figures.map_err(|error: std::io::Error| format!("a TCP client: {error}"))
    }

    /// Answers one connection after the other, as long as there is a bed.
    pub(crate) fn serve(&self, port: u16) -> Result<(), String> {
        let listener = self
            .servers
            .run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(|error| error.to_string())?;
        listener
            .set_nonblocking(false)
            .map_err(|error| error.to_string())?;
        let waits = Socket::from(listener);
        let _ = waits.set_read_timeout(Some(Duration::from_millis(200)));
        let listener = TcpListener::from(waits);
        let done = self.done.clone();
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    continue;
                };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let _ = stream.set_nodelay(true);
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) {
                    if stream.write_all(&byte).is_err() {
                        break;
                    }
                }
            }
        });
        Ok(())
    }
}

/// Connects; the connection ends with a reset, so that ports are free again at once.
fn open(to: SocketAddr) -> std::io::Result<TcpStream> {
    open_within(to, Duration::from_secs(2))
}

/// The same, if that and each answer take no longer.
pub(crate) fn open_within(to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect_timeout(&to.into(), patience)?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket.into())
}

pub(crate) fn ask(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"?")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)
}
