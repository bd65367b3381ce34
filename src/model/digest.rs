//! What a file says, in one short word: two balancers that are to do the same can be compared by it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{DurationWords, Model, Scheduler, Service, SourceNat, endpoint};

/// The version of what is digested, first in it: another one makes every digest another.
const VERSION: &str = "flbc config 1";

/// How many hexadecimal digits a digest has.
const DIGITS: usize = 16;

impl Model {
    /// The digest of all that decides where clients go: the first 16 hexadecimal digits of the SHA-256 of services with
    /// their VIPs, modes, schedulers, statements and servers.
    ///
    /// What belongs to one balancer is not in it: names of interfaces, MAC addresses, marks, sizes; nor is the order of
    /// anything, but that of servers which take turns.
    pub fn digest(&self) -> String {
        let mut services: Vec<String> = self.services.iter().map(|one| self.told(one)).collect();
        services.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(VERSION);
        for service in services {
            hash.update([0]);
            hash.update(service);
        }
        let mut text = String::with_capacity(DIGITS);
        for byte in hash.finalize().iter().take(DIGITS / 2) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// A service as it is digested, a line each.
    fn told(&self, service: &Service) -> String {
        let Service {
            name,
            span: _,
            vips,
            mode,
            scheduler,
            persistence,
            track,
            on_empty,
            access,
            members: _,
        } = service;
        let mut text = format!("service {name}\n");
        let mut vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
        vips.sort_unstable();
        let mut servers: Vec<String> = self
            .real_servers(service)
            .map(|server| {
                let at = endpoint(server.address, server.port);
                format!("server {} {at} {}", server.name, server.standing())
            })
            .collect();
        if *scheduler != Scheduler::RoundRobin {
            servers.sort_unstable();
        }
        let mut lines = vec![format!("mode {}", mode.kind())];
        lines.extend(mode.source_nat().map(source));
        lines.push(format!("scheduler {scheduler}"));
        lines.extend(persistence.iter().map(|one| format!("persist {one}")));
        let track = track.iter();
        lines.extend(track.map(|one| format!("track {}", DurationWords(one.timeout))));
        lines.push(format!("on-empty {on_empty}"));
        for (word, list) in [("allow", &access.allow), ("deny", &access.deny)] {
            let mut prefixes: Vec<String> = list.iter().map(|one| one.prefix.to_string()).collect();
            prefixes.sort_unstable();
            prefixes.dedup();
            lines.extend(prefixes.iter().map(|prefix| format!("{word} {prefix}")));
        }
        for line in vips.iter().chain(&lines).chain(&servers) {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

fn source(nat: &SourceNat) -> String {
    match nat {
        SourceNat::Keep => "source kept".to_owned(),
        SourceNat::Masquerade => "source masquerade".to_owned(),
        SourceNat::Fixed { ipv4, ipv6 } => {
            let ipv4 = ipv4.map(|one| one.to_string());
            let ipv6 = ipv6.map(|one| one.to_string());
            let all: Vec<String> = ipv4.into_iter().chain(ipv6).collect();
            format!("source {}", all.join(" "))
        }
    }
}
