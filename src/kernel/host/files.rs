//! Settings, out of `/proc`, and programs.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Nft, Settings};

/// Whether the shell of root finds a program.
pub(super) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = env::split_paths(&path).chain(usual);
    folders.any(|folder| folder.join(program).is_file())
}

/// The tables of `iptables-legacy` and `ip6tables-legacy`.
pub(super) fn legacy_tables() -> Vec<String> {
    let files = [
        ("iptables", "ip_tables_names"),
        ("ip6tables", "ip6_tables_names"),
    ];
    let named = files.map(|(program, file)| {
        let names = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        let names: Vec<String> = names
            .lines()
            .map(|name| format!("{program} {name}"))
            .collect();
        names
    });
    named.concat()
}

pub(super) fn settings() -> Settings {
    let statistics = fs::read_to_string("/proc/net/stat/nf_conntrack").unwrap_or_default();
    Settings {
        ipv4_forward: setting("ipv4/ip_forward"),
        ipv6_forward: setting("ipv6/conf/all/forwarding"),
        rp_filter: setting("ipv4/conf/all/rp_filter"),
        arp_ignore: setting("ipv4/conf/all/arp_ignore"),
        connections_at_most: setting("netfilter/nf_conntrack_max"),
        connections: setting("netfilter/nf_conntrack_count"),
        connections_dropped: summed(&statistics, &["drop", "early_drop"]),
        invalid: summed(&statistics, &["invalid"]),
        tcp_be_liberal: setting("netfilter/nf_conntrack_tcp_be_liberal"),
        bridges_call_ipv4: setting("bridge/bridge-nf-call-iptables"),
        bridges_call_ipv6: setting("bridge/bridge-nf-call-ip6tables"),
        ipv4_neighbours_at_most: setting("ipv4/neigh/default/gc_thresh3"),
        ipv6_neighbours_at_most: setting("ipv6/neigh/default/gc_thresh3"),
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
    text.trim().parse().ok()
}

/// The sum of these columns, which are hexadecimal, over all processors.
fn summed(table: &str, columns: &[&str]) -> u64 {
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .map_or_else(Vec::new, |line| line.split_whitespace().collect());
    let mut sum: u64 = 0;
    for line in lines {
        for (name, number) in names.iter().zip(line.split_whitespace()) {
            if columns.contains(name) {
                sum = sum.saturating_add(u64::from_str_radix(number, 16).unwrap_or(0));
            }
        }
    }
    sum
}

/// Asks `nft` for its version.
pub(super) fn nft() -> Nft {
    let Ok(output) = Command::new("nft").arg("--version").output() else {
        return Nft::Missing;
    };
    version(&String::from_utf8_lossy(&output.stdout)).map_or(Nft::Unknown, Nft::Version)
}

/// The version in `nftables v1.0.6 (Lester Gooch #5)`.
fn version(said: &str) -> Option<[u32; 3]> {
    let word = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0)).ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("nftables v1.0.6 (Lester Gooch #5)\n", Some([1, 0, 6])),
            ("nftables v1.1 (Name)\n", Some([1, 1, 0])),
            ("nftables v0.9.8 (E.D.S.)", Some([0, 9, 8])),
            ("nft: bad", None),
            ("", None),
        ];
        for (said, numbers) in cases {
            assert_eq!(version(said), numbers, "{said}");
        }
    }

    #[test]
    fn columns_are_summed_over_processors() {
        let table = "entries  found drop early_drop icmp_error\n\
                     00000000  00000001 0000000a 00000002 00000009\n\
                     00000000  00000001 00000010 00000000 00000009\n";
        assert_eq!(summed(table, &["drop", "early_drop"]), 0x1c);
        assert_eq!(summed(table, &["icmp_error"]), 0x12);
        assert_eq!(summed(table, &["invalid"]), 0);
        assert_eq!(summed("", &["drop"]), 0);
    }
}
