//! Who is measured on the datapath, beside whom.

/// How a contender is told what to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Packets are addressed to a server and only routed.
    Route,
    /// flbc, with these statements.
    Flbc(&'static str),
    HandWritten,
    /// nftlb, in this mode.
    Nftlb(&'static str),
    /// IPVS: the scheduler, and how it forwards.
    Ipvs(&'static str, &'static str),
    HaProxy,
    Nginx,
}

/// Who is measured.
#[derive(Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) how: How,
}

const DR: &str = "mode dr on eth0 via eth1";

impl Contender {
    pub(crate) const fn new(name: &'static str, how: How) -> Self {
        Self { name, how }
    }

    /// Whether servers see the client's own destination.
    pub(crate) fn is_direct(self) -> bool {
        match self.how {
            How::Flbc(statements) => statements.starts_with(DR),
            How::Nftlb(mode) => mode == "dsr",
            How::Ipvs(_, forward) => forward == "-g",
            How::Route | How::HandWritten | How::HaProxy | How::Nginx => false,
        }
    }

    pub(crate) const fn is_proxy(self) -> bool {
        matches!(self.how, How::HaProxy | How::Nginx)
    }

    pub(crate) const fn is_flbc(self) -> bool {
        matches!(self.how, How::Flbc(_) | How::Route)
    }
}

const ROUTE: Contender = Contender::new("plain routing, no balancer", How::Route);

/// On this machine's kernel.
pub(crate) const CONTENDERS: [Contender; 16] = [
    ROUTE,
    Contender::new("flbc nat, round-robin", How::Flbc("scheduler round-robin")),
    Contender::new("flbc nat, random", How::Flbc("scheduler random")),
    Contender::new("flbc nat, hash", How::Flbc("scheduler hash")),
    Contender::new("flbc nat, maglev", How::Flbc("scheduler maglev")),
    Contender::new("hand-written nat, round-robin", How::HandWritten),
    Contender::new("nftlb dnat, round-robin", How::Nftlb("dnat")),
    Contender::new("HAProxy, TCP", How::HaProxy),
    Contender::new("nginx, stream", How::Nginx),
    Contender::new(
        "flbc dr, hash",
        How::Flbc("mode dr on eth0 via eth1; scheduler hash"),
    ),
    Contender::new(
        "flbc dr, maglev",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev"),
    ),
    Contender::new(
        "flbc dr, maglev, MAC given",
        How::Flbc("mode dr on eth0 via eth1 from 02:00:00:00:02:00; scheduler maglev"),
    ),
    Contender::new(
        "flbc dr, round-robin",
        How::Flbc("mode dr on eth0 via eth1; scheduler round-robin"),
    ),
    Contender::new(
        "flbc dr, random",
        How::Flbc("mode dr on eth0 via eth1; scheduler random"),
    ),
    Contender::new("nftlb dsr, hash", How::Nftlb("dsr")),
    Contender::new("plain routing again", How::Route),
];

/// With one service and with thousands: tables of a size that ten servers need, since each service has its own.
pub(crate) const MANY: [Contender; 7] = [
    ROUTE,
    Contender::new("nat, round-robin", How::Flbc("scheduler round-robin")),
    Contender::new("nat, hash", How::Flbc("scheduler hash")),
    Contender::new(
        "nat, maglev table 101",
        How::Flbc("scheduler maglev table 101"),
    ),
    Contender::new(
        "dr, hash",
        How::Flbc("mode dr on eth0 via eth1; scheduler hash"),
    ),
    Contender::new(
        "dr, maglev table 101",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev table 101"),
    ),
    Contender::new(
        "dr, round-robin",
        How::Flbc("mode dr on eth0 via eth1; scheduler round-robin"),
    ),
];

/// What an option costs, beside the same service without it.
pub(crate) const OPTIONS: [Contender; 9] = [
    ROUTE,
    Contender::new("nat", How::Flbc("scheduler maglev")),
    Contender::new("nat, persist 5m", How::Flbc("scheduler maglev; persist 5m")),
    Contender::new(
        "nat, allow from",
        How::Flbc("scheduler maglev; allow from 198.18.0.0/15, 203.0.113.0/24, 198.51.100.0/24"),
    ),
    Contender::new(
        "dr",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev"),
    ),
    Contender::new(
        "dr, persist 5m",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev; persist 5m"),
    ),
    Contender::new(
        "dr, track 5m",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev; track 5m"),
    ),
    Contender::new(
        "dr, allow from",
        How::Flbc(
            "mode dr on eth0 via eth1; scheduler maglev; allow from 198.18.0.0/15, 203.0.113.0/24, 198.51.100.0/24",
        ),
    ),
    Contender::new(
        "dr, deny from",
        How::Flbc(
            "mode dr on eth0 via eth1; scheduler maglev; deny from 192.168.0.0/16, 203.0.113.0/24",
        ),
    ),
];

/// In the guest. `sh` and `mh` of IPVS hash the client's address; flbc hashes its port too.
pub(crate) const BESIDE_IPVS: [Contender; 13] = [
    ROUTE,
    Contender::new("IPVS nat, wrr", How::Ipvs("wrr", "-m")),
    Contender::new("flbc nat, round-robin", How::Flbc("scheduler round-robin")),
    Contender::new("IPVS nat, sh", How::Ipvs("sh", "-m")),
    Contender::new("flbc nat, hash", How::Flbc("scheduler hash")),
    Contender::new("IPVS nat, mh", How::Ipvs("mh", "-m")),
    Contender::new("flbc nat, maglev", How::Flbc("scheduler maglev")),
    Contender::new("IPVS dr, wrr", How::Ipvs("wrr", "-g")),
    Contender::new(
        "flbc dr, round-robin",
        How::Flbc("mode dr on eth0 via eth1; scheduler round-robin"),
    ),
    Contender::new("IPVS dr, sh", How::Ipvs("sh", "-g")),
    Contender::new(
        "flbc dr, hash",
        How::Flbc("mode dr on eth0 via eth1; scheduler hash"),
    ),
    Contender::new("IPVS dr, mh", How::Ipvs("mh", "-g")),
    Contender::new(
        "flbc dr, maglev",
        How::Flbc("mode dr on eth0 via eth1; scheduler maglev"),
    ),
];
