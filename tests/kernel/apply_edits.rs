//! Any sequence of edits leaves what applying the last file to an empty kernel leaves, up to numbers.

use std::fmt::Write;

use crate::apply_host::{Host, unnumbered};
use crate::operator::{compile, sampled};
use crate::random::{Dice, assert_all_is_said};

/// A configuration that can be edited, as text.
#[derive(Clone, Default)]
struct Draft {
    pools: [Vec<String>; 2],
    services: [Option<Entry>; 5],
}

#[derive(Clone)]
struct Entry {
    head: String,
    pool: Option<usize>,
    servers: Vec<String>,
}

impl Draft {
    fn edit(&mut self, dice: &mut Dice) {
        let place = dice.below(5) as usize;
        match dice.below(6) {
            0 => self.services[place] = None,
            1 | 2 => {
                let entry = entry(place, dice);
                self.services[place] = Some(entry);
            }
            3 => {
                let pool = dice.below(2) as usize;
                self.pools[pool] = servers(10 + pool, false, dice);
            }
            _ => {
                if let Some(entry) = &mut self.services[place]
                    && !entry.servers.is_empty()
                {
                    let dr = entry.head.contains("mode dr");
                    let server = dice.below(entry.servers.len() as u64) as usize;
                    let again = servers(place, dr, dice);
                    if let Some(new) = again.get(server) {
                        entry.servers[server].clone_from(new);
                    }
                }
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (number, servers) in self.pools.iter().enumerate() {
            let _ = writeln!(text, "pool p{number} {{\n{}\n}}", servers.join("\n"));
        }
        // A service that holds on to both pools and both interfaces, so that no file is at fault.
        text.push_str("service base { vip 192.0.2.99 tcp 1; on-empty drop; pool p0; pool p1 }\n");
        for entry in self.services.iter().flatten() {
            let pool = entry
                .pool
                .map_or(String::new(), |pool| format!("pool p{pool}"));
            let _ = writeln!(
                text,
                "{}\n{pool}\n{}\n}}",
                entry.head,
                entry.servers.join("\n")
            );
        }
        text
    }
}

fn servers(net: usize, dr: bool, dice: &mut Dice) -> Vec<String> {
    (0..=dice.below(4))
        .map(|host| {
            let port = if dr || dice.below(2) == 0 {
                ""
            } else {
                ":8080"
            };
            let state = ["", "", "", "", "", "drain", "down", "backup"][dice.below(8) as usize];
            let weight = 1 + dice.below(4);
            let mac = if dr && dice.below(2) == 0 {
                format!("mac 02:00:00:00:00:0{host}")
            } else {
                String::new()
            };
            format!(
                "server s{net}-{host} 10.20.{net}.{}{port} weight {weight} {state} {mac}",
                host + 1
            )
        })
        .collect()
}

fn entry(place: usize, dice: &mut Dice) -> Entry {
    let dr = dice.below(3) == 0;
    let mode = if dr {
        [
            "mode dr on eth0 via eth1 from 02:00:00:00:01:01",
            "mode dr on eth0, eth1 via eth1 from 02:00:00:00:01:01",
        ][dice.below(2) as usize]
    } else {
        ["", "mode nat masquerade", "mode nat snat 10.0.0.9"][dice.below(3) as usize]
    };
    let scheduler = if dr {
        [
            "hash by source",
            "maglev table 13",
            "maglev table 13; track 2m",
            "rr",
            "random; track 90s",
        ][dice.below(5) as usize]
    } else {
        ["rr", "random", "hash", "maglev table 13"][dice.below(4) as usize]
    };
    let ports = ["80", "80, 443", "1000-2000", "any"][dice.below(4) as usize];
    let vip = format!("192.0.2.{place}");
    // Lists that services share, and lists of their own.
    let access = match dice.below(5) {
        0 => "deny from 198.51.100.0/24, 203.0.113.7".to_owned(),
        1 => "allow from 198.51.100.0/25, 198.51.100.128/25\ndeny from 198.51.100.9".to_owned(),
        2 => format!("allow from 10.{place}.0.0/{}", 12 + dice.below(20)),
        _ => String::new(),
    };
    let persist = [
        "",
        "",
        "persist 30s;",
        "persist 1m;",
        "persist 1m by source/24;",
    ][dice.below(5) as usize];
    Entry {
        head: format!(
            "service w{place} {{ vip {vip} udp {ports}; {mode}; scheduler {scheduler}; {persist} {access}\non-empty {}",
            ["drop", "reject"][dice.below(2) as usize]
        ),
        pool: (!dr && dice.below(2) == 0).then(|| dice.below(2) as usize),
        servers: servers(place, dr, dice),
    }
}

#[test]
fn a_sequence_of_edits_ends_where_the_last_file_alone_does() {
    let mut compared = 0;
    for seed in 0..u64::from(sampled(3, 300)) {
        let mut dice = Dice::new(seed);
        let mut draft = Draft::default();
        for pool in 0..2 {
            draft.pools[pool] = servers(10 + pool, false, &mut dice);
        }
        let host = Host::alone();
        for step in 0..10 {
            for _ in 0..=dice.below(3) {
                draft.edit(&mut dice);
            }
            let file = draft.text();
            let ran = host.flbc(&["apply", "-"], &file);
            assert_eq!(
                ran.code,
                Some(0),
                "seed {seed} step {step}: {ran:?}\n{file}"
            );
            let fresh = Host::alone();
            fresh.namespace.nft(&compile(&file));
            let (has, wanted) = (host.unnumbered(), fresh.unnumbered());
            let differs: Vec<&String> = has.symmetric_difference(&wanted).collect();
            assert!(
                differs.is_empty(),
                "seed {seed} step {step}: {differs:#?}\n{}\n{file}",
                ran.out
            );
            compared += 1;
        }
        let again = host.flbc(&["apply", "-"], &draft.text());
        assert_eq!(
            (again.code, again.out.as_str()),
            (Some(0), "no difference\n")
        );
    }
    assert!(compared >= 30);
}

#[test]
fn files_that_are_edited_say_all_that_a_service_can_say() {
    let texts = (0..40).map(|seed| {
        let mut dice = Dice::new(seed);
        let mut draft = Draft::default();
        (0..20).for_each(|_| draft.edit(&mut dice));
        draft.text()
    });
    assert_all_is_said(texts);
}

#[test]
fn what_differs_in_more_than_slots_is_told_apart() {
    let listed = |file: &str| {
        let host = Host::alone();
        host.namespace.nft(&compile(file));
        host.list()
    };
    let file =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 weight 2; server b 10.20.0.12 }";
    let before = listed(file);
    let moved = before
        .replace("0x0010000", "0x0010010")
        .replace("offset 1048576", "offset 1048832");
    assert_ne!(before, moved);
    assert_eq!(unnumbered(&before), unnumbered(&moved));
    for other in ["weight 3", "drain", ""] {
        let other = listed(&file.replace("weight 2", other));
        assert_ne!(unnumbered(&before), unnumbered(&other));
    }
}
