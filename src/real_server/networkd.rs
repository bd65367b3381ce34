//! The needs of a real server as files of systemd: what outlives a reboot.

use std::fmt::Write as _;

use super::Needs;
use super::back::Back;
use super::sh::{arp_rules, beginning, host_route, own_addresses, take_back};

/// A script that writes the files, makes systemd read them, and takes everything back when it is given `undo`.
pub fn networkd(needs: &Needs) -> String {
    let mut text = beginning(needs);
    if needs.is_nothing() {
        return text;
    }
    let label = &needs.label;
    let hidden = needs.hidden();
    let rules = arp_rules(&hidden, label);
    let _ = write!(
        text,
        "#
# For a machine whose network systemd-networkd configures. Run it as root:  sh FILE
# Take it back with:  sh FILE undo
# It may run again at any time.
set -eu

network=/etc/systemd/network
rules=/etc/{label}.nft
unit=/etc/systemd/system/{label}.service

"
    );
    undo(needs, !rules.is_empty(), !hidden.is_empty(), &mut text);
    own_addresses(needs, &mut text);
    if !rules.is_empty() {
        let _ = write!(
            text,
            "# What hides the VIP is there before any address is.
cat >\"$rules\" <<'RULES'
{rules}RULES
cat >\"$unit\" <<'UNIT'
[Unit]
Description=Hides the virtual addresses of this real server
DefaultDependencies=no
After=local-fs.target nftables.service
Before=network-pre.target systemd-networkd.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/{label}.nft
ExecReload=/usr/sbin/nft -f /etc/{label}.nft
ExecStop=/usr/sbin/nft delete table arp {label}

[Install]
WantedBy=sysinit.target
UNIT
systemctl daemon-reload
systemctl enable --quiet {label}.service
systemctl reload-or-restart {label}.service

"
        );
    }
    if !hidden.is_empty() {
        let _ = write!(
            text,
            "mkdir -p \"$network\"
cat >\"$network/05-{label}.network\" <<'NETWORK'
[Match]
Name=lo

[Network]
"
        );
        for (vip, _) in &hidden {
            let _ = writeln!(text, "Address={}", host_route(*vip));
        }
        text.push_str("NETWORK\n");
    }
    if !needs.gateways.is_empty() {
        routes(needs, &mut text);
    }
    text.push_str("networkctl reload\n");
    if !hidden.is_empty() {
        text.push_str("networkctl reconfigure lo\n");
    }
    if !needs.gateways.is_empty() {
        text.push_str("networkctl reconfigure \"$interface\"\n");
    }
    text
}

/// The routes belong to the interface that the gateway is reached by, in whose file somebody else writes: they go
/// beside it.
fn routes(needs: &Needs, text: &mut String) {
    let label = &needs.label;
    for own in needs.addresses.iter().take(1) {
        let _ = write!(
            text,
            "
interface=$(ip -o address show to {address})
interface=${{interface#*: }} && interface=${{interface%% *}}
file=$(networkctl --no-pager status \"$interface\" | sed -n 's/^ *Network File: *//p')
if [ ! -e \"$file\" ]; then
    echo \"systemd-networkd does not configure $interface: use the format sh\" >&2
    exit 1
fi
mkdir -p \"$network/${{file##*/}}.d\"
# The default route stays as it is.
cat >\"$network/${{file##*/}}.d/{label}.conf\" <<'ROUTES'
",
            address = host_route(*own),
        );
    }
    for back in Back::of(needs) {
        text.push_str(&back.sections());
    }
    text.push_str("ROUTES\n");
}

fn undo(needs: &Needs, rules: bool, holds: bool, text: &mut String) {
    let label = &needs.label;
    text.push_str("if [ \"${1-}\" = undo ]; then\n");
    if holds {
        // networkd leaves addresses alone that it set by a file which is gone.
        let _ = writeln!(text, "    rm -f \"$network/05-{label}.network\"");
        for (vip, _) in needs.hidden() {
            let _ = writeln!(
                text,
                "    ip address delete {} dev lo 2>/dev/null || :",
                host_route(vip)
            );
        }
    }
    if !needs.gateways.is_empty() {
        let _ = writeln!(text, "    rm -f \"$network\"/*.network.d/{label}.conf");
        take_back(needs, text);
    }
    text.push_str("    networkctl reload\n");
    if rules {
        let _ = write!(
            text,
            "    # Only now: an address must not be there without what hides it.
    systemctl disable --quiet --now {label}.service || :
    rm -f \"$rules\" \"$unit\"
    systemctl daemon-reload
"
        );
    }
    text.push_str("    exit 0\nfi\n\n");
}
