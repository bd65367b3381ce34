//! What stands in a random file.

use std::fmt::Write as _;

use super::draft::{Entry, MACHINES, Server, Standing};
use crate::lab::topology::BALANCER_ETH1;
use crate::random::Dice;

pub(super) fn pick<T: Copy>(all: &[T], dice: &mut Dice) -> T {
    all[dice.below(all.len() as u64) as usize]
}

pub(super) fn standing(dice: &mut Dice) -> Standing {
    let state = pick(
        &["up", "up", "up", "up", "up", "drain", "down", "backup"],
        dice,
    );
    let weight = pick(&[1, 1, 1, 2, 2, 3, 4, 7, 100, 0], dice);
    Standing { state, weight }
}

/// Servers on the machines that answer, the first of them by IPv4.
pub(super) fn servers(prefix: &str, dr: bool, dice: &mut Dice) -> Vec<Server> {
    let first = dice.below(MACHINES.into());
    let count = 1 + dice.below(6);
    (0..count)
        .map(|n| {
            let machine = 11 + (first + n) % u64::from(MACHINES);
            // The second time around by other ports or the other family.
            let six = n > 0 && dice.below(3) == 0;
            let port = if dr || dice.below(2) == 0 {
                ""
            } else {
                [":8080", ":80"][dice.below(2) as usize]
            };
            let address = match (six, port) {
                (false, port) => format!("10.20.0.{machine}{port}"),
                (true, "") => format!("2001:db8:1::{machine}"),
                (true, port) => format!("[2001:db8:1::{machine}]{port}"),
            };
            let mut options = String::new();
            if dr && dice.below(3) == 0 {
                let _ = write!(options, "mac 02:00:00:00:00:{machine} ");
            }
            if dr && dice.below(6) == 0 {
                let _ = write!(options, "via eth1 from {BALANCER_ETH1}");
            }
            let again = if dice.below(8) == 0 { "x" } else { "" };
            Server {
                name: format!("{prefix}-{n}{again}"),
                address,
                options,
                standing: standing(dice),
            }
        })
        .collect()
}

pub(super) const DEFAULTS: [&str; 6] = [
    "",
    "on-empty drop",
    "persist 90s",
    "track 3m",
    "deny from 198.18.16.0/20",
    "scheduler hash by source",
];

pub(super) fn scheduler(dr: bool, dice: &mut Dice) -> &'static str {
    if dr {
        pick(
            &[
                "",
                "scheduler hash by source",
                "scheduler hash; track 2m",
                "scheduler maglev",
                "scheduler maglev table 13",
                "scheduler mh; track 2m",
                "scheduler rr",
                "scheduler random; track 90s",
            ],
            dice,
        )
    } else {
        pick(
            &[
                "",
                "scheduler wrr",
                "scheduler random",
                "scheduler hash",
                "scheduler sh",
                "scheduler maglev",
                "scheduler maglev by source",
                "scheduler maglev table 31",
            ],
            dice,
        )
    }
}

/// A prefix around one of the first addresses that clients come from.
fn prefix(dice: &mut Dice) -> String {
    let length = 18 + dice.below(15);
    let mask = u64::from(u32::MAX << (32 - length));
    let address = (198 << 24 | 18 << 16 | dice.below(1 << 13)) & mask;
    let [a, b, c, d] = u32::try_from(address).expect("masked").to_be_bytes();
    format!("{a}.{b}.{c}.{d}/{length}")
}

pub(super) fn entry(place: usize, dice: &mut Dice) -> Entry {
    let dr = dice.below(3) == 0;
    let mode = if dr {
        pick(
            &[
                "dr on eth0 via eth1 from 02:00:00:00:01:01",
                "dr on eth0, eth2 via eth1 from 02:00:00:00:01:01",
            ],
            dice,
        )
    } else {
        pick(
            &["nat", "nat masquerade", "nat snat 10.20.0.1, 2001:db8:1::1"],
            dice,
        )
    };
    let six = dice.below(2) == 0;
    let (last, ports): (_, &[&str]) = match place {
        0 => (10, &["80"]),
        1 => (10, &["443", "1000-2000", "443, 1400-1600", "300-500"]),
        2 => (53, &["80", "80, 81"]),
        3 => (53, &["any", "1400-1600", "443"]),
        _ => (20, &["80, 443, 5000-5999", "any", "1-79, 81"]),
    };
    let protocol = match place {
        4 => pick(&["tcp", "udp", "sctp", "tcp, udp, sctp"], dice),
        _ => pick(&["tcp", "udp", "tcp, udp"], dice),
    };
    let beside = if six {
        format!(", 2001:db8::{last}")
    } else {
        String::new()
    };
    let vips = format!(
        "vip 192.0.2.{last}{beside} {protocol} {}",
        pick(ports, dice)
    );
    let mut statements = String::new();
    match dice.below(6) {
        0 => statements.push_str("persist 1m\n"),
        1 => statements.push_str("persist 30s by source/24/64\n"),
        2 => statements.push_str("persist off\n"),
        _ => {}
    }
    match dice.below(6) {
        0 => statements.push_str("deny from 198.18.0.0/22, 203.0.113.7\n"),
        1 => {
            let (one, other) = (prefix(dice), prefix(dice));
            let _ = writeln!(
                statements,
                "allow from 198.18.0.0/18, 2001:db8:c1::/64\ndeny from {one}\ndeny from {other}"
            );
        }
        2 => {
            let _ = writeln!(statements, "deny from {}, 2001:db8:c1::/121", prefix(dice));
        }
        _ => {}
    }
    // A service without a server for one of its families must say this itself.
    match dice.below(3) {
        0 => statements.push_str("on-empty drop\n"),
        1 => statements.push_str("on-empty reject\n"),
        _ if six => statements.push_str("on-empty reject\n"),
        _ => {}
    }
    let pools = match dice.below(4) {
        _ if dr => Vec::new(),
        0 => vec![dice.below(2) as usize],
        1 => vec![0, 1],
        _ => Vec::new(),
    };
    Entry {
        vips,
        dr,
        mode,
        scheduler: scheduler(dr, dice),
        statements,
        servers: servers(&format!("w{place}"), dr, dice),
        pools,
        ranged: if dice.below(6) == 0 {
            1 + dice.below(8)
        } else {
            0
        },
    }
}
