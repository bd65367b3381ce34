//! The needs of a real server as a script for POSIX sh, with `ip` and `nft`.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Needs;
use super::back::Back;
use crate::model::Family;

/// How a script begins, which is all of one for a machine that needs nothing.
pub(super) fn beginning(needs: &Needs) -> String {
    let mut text = String::from("#!/bin/sh\n");
    for line in needs.preface() {
        let _ = writeln!(text, "# {line}");
    }
    if needs.is_nothing() {
        text.push_str("exit 0\n");
    }
    text
}

/// A script that sets the machine up, changes nothing when it runs again, and takes everything back when it is given
/// `undo`.
pub fn sh(needs: &Needs) -> String {
    let mut text = beginning(needs);
    if needs.is_nothing() {
        return text;
    }
    let _ = write!(
        text,
        "#
# Run it as root:     sh FILE
# Take it back with:  sh FILE undo
# It may run again at any time. Nothing of it outlives a reboot: run it at boot, or use `--format networkd`.
set -eu

# The addresses that were not there before, for undo.
held=/run/{label}.held

",
        label = needs.label
    );
    let hidden = needs.hidden();
    undo(needs, !hidden.is_empty(), &mut text);
    own_addresses(needs, &mut text);
    if !hidden.is_empty() {
        text.push_str(&arp(&hidden, &needs.label));
        text.push_str(HOLD);
        for (vip, _) in &hidden {
            let _ = writeln!(text, "hold {}", host_route(*vip));
        }
        for own in ipv4_owners(&hidden) {
            let _ = write!(text, "{}", path_check(own));
        }
    }
    let back = Back::of(needs);
    if !back.is_empty() {
        text.push_str("\n# Answers go back through the balancer.\n");
    }
    if back.iter().any(|back| !back.not_from.is_empty()) {
        text.push_str(RULE);
    }
    for back in &back {
        let ip = back.ip();
        if back.not_from.is_empty() {
            text.push_str(
                "# Two halves of all addresses win against any default route, which stays.\n",
            );
        } else {
            text.push_str(
                "# Those of direct return do not, nor does what stays on the machine's own networks.\n",
            );
        }
        for route in back.routes() {
            let _ = writeln!(text, "{ip} route replace {route}");
        }
        for rule in back.rules() {
            let _ = writeln!(text, "rule '{ip}' {rule}");
        }
    }
    text
}

const HOLD: &str = "
# Holds an address on the loopback interface, where Linux takes packets for it from any interface. It does not answer
# NDP for an address there, so an IPv6 VIP is hidden by this alone.
hold() {
    if [ -z \"$(ip -o address show dev lo to \"$1\")\" ]; then
        ip address add \"$1\" dev lo
        echo \"$1\" >>\"$held\"
    fi
}
";

const RULE: &str = "rule() {
    family=$1 && shift
    if ! $family rule add \"$@\" 2>/dev/null; then
        # It is there already, or it cannot be: then say why.
        $family rule delete \"$@\" 2>/dev/null || :
        $family rule add \"$@\"
    fi
}
";

fn undo(needs: &Needs, hides: bool, text: &mut String) {
    text.push_str("if [ \"${1-}\" = undo ]; then\n");
    take_back(needs, text);
    if hides {
        let _ = write!(
            text,
            "    if [ -e \"$held\" ]; then
        while read -r address; do
            ip address delete \"$address\" dev lo 2>/dev/null || :
        done <\"$held\"
        rm -f \"$held\"
    fi
    # Only now: an address must not be there without what hides it.
    nft delete table arp {table} 2>/dev/null || :
",
            table = needs.label
        );
    }
    text.push_str("    exit 0\nfi\n\n");
}

/// Undoes the way back through the balancer.
pub(super) fn take_back(needs: &Needs, text: &mut String) {
    for back in Back::of(needs) {
        let ip = back.ip();
        for rule in back.rules() {
            let _ = writeln!(text, "    {ip} rule delete {rule} 2>/dev/null || :");
        }
        for route in back.routes() {
            let _ = writeln!(text, "    {ip} route delete {route} 2>/dev/null || :");
        }
    }
}

/// A script that runs on the wrong machine would take the VIP's packets there.
pub(super) fn own_addresses(needs: &Needs, text: &mut String) {
    for own in &needs.addresses {
        let _ = write!(
            text,
            "if [ -z \"$(ip -o address show to {})\" ]; then
    echo 'this machine does not have the address {own}: it is not {}' >&2
    exit 1
fi
",
            host_route(*own),
            needs.names.join(", ")
        );
    }
}

/// The rules that hide IPv4 addresses from ARP, loaded with nft; nothing without any.
fn arp(hidden: &[(IpAddr, IpAddr)], table: &str) -> String {
    let rules = arp_rules(hidden, table);
    if rules.is_empty() {
        return rules;
    }
    format!(
        "\n# First what hides the address, then the address.\nnft -f - <<'RULES'\n{rules}RULES\n"
    )
}

/// The same rules by themselves.
pub(super) fn arp_rules(hidden: &[(IpAddr, IpAddr)], table: &str) -> String {
    if ipv4_owners(hidden).is_empty() {
        return String::new();
    }
    let vips_of = |own: Option<IpAddr>| {
        let vips = hidden
            .iter()
            .filter(|(vip, by)| vip.is_ipv4() && own.is_none_or(|own| own == *by))
            .map(|(vip, _)| vip.to_string());
        vips.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "add table arp {table}
delete table arp {table}
table arp {table} {{
    # Nobody who asks for the VIP is answered.
    chain input {{
        type filter hook input priority filter; policy accept;
        arp operation request arp daddr ip {{ {} }} drop
    }}
    # Who is asked for a neighbour's address is told the machine's own, not the VIP.
    chain output {{
        type filter hook output priority filter; policy accept;
",
        vips_of(None)
    );
    for own in ipv4_owners(hidden) {
        let _ = writeln!(
            text,
            "        arp operation request arp saddr ip {{ {} }} arp saddr ip set {own}",
            vips_of(Some(own))
        );
    }
    text.push_str("    }\n}\n");
    text
}

/// Packets of clients come from the balancer, and the answers may leave by another interface: a strict reverse path
/// filter drops them, without a word.
fn path_check(own: IpAddr) -> String {
    format!(
        "
interface=$(ip -4 -o address show to {}) && interface=${{interface#*: }} && interface=${{interface%% *}}
for place in all \"$interface\"; do
    filter=/proc/sys/net/ipv4/conf/$place/rp_filter
    if [ -e \"$filter\" ] && [ \"$(cat \"$filter\")\" = 1 ]; then
        echo \"note: rp_filter of $place is strict: packets of clients whose answers leave by another interface than $interface are dropped. If there are such: sysctl -w net.ipv4.conf.$interface.rp_filter=2\" >&2
        break
    fi
done
",
        host_route(own)
    )
}

/// The machine's own IPv4 addresses that stand in for a VIP, each once.
fn ipv4_owners(hidden: &[(IpAddr, IpAddr)]) -> Vec<IpAddr> {
    let mut owners: Vec<IpAddr> = Vec::new();
    for (_, own) in hidden {
        if own.is_ipv4() && !owners.contains(own) {
            owners.push(*own);
        }
    }
    owners
}

pub(super) fn host_route(address: IpAddr) -> String {
    format!("{address}/{}", Family::of(address).bits())
}
