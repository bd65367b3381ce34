//! The way back through the balancer, for nat.
//!
//! Where the machine has no part in direct return, two halves of all addresses win against any default route, which stays as it
//! was. Where it has, answers from a VIP must not take that way: the balancer may hold the VIP itself, and would not
//! believe a packet that comes from it. Then the way stands in a routing table of its own, behind rules that send
//! answers from a VIP and everything on the machine's own networks the way that they had.

use std::net::IpAddr;

use super::Needs;
use crate::model::Family;

/// The number of the table, and of the first of three rules, below those of the system (32766 and up).
pub(super) const NUMBER: u32 = 20_990;

/// The way back for one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Back {
    /// The balancer's address in the servers' network.
    pub(super) gateway: IpAddr,
    /// What is not to take it: the VIPs of direct return.
    pub(super) not_from: Vec<IpAddr>,
}

impl Back {
    pub(super) fn of(needs: &Needs) -> Vec<Self> {
        let hidden = needs.hidden();
        let gateways = needs.gateways.iter();
        gateways
            .map(|gateway| Self {
                gateway: *gateway,
                not_from: hidden
                    .iter()
                    .map(|(vip, _)| *vip)
                    .filter(|vip| vip.is_ipv4() == gateway.is_ipv4())
                    .collect(),
            })
            .collect()
    }

    /// The two halves of all addresses.
    pub(super) fn halves(&self) -> [&'static str; 2] {
        match Family::of(self.gateway) {
            Family::V4 => ["0.0.0.0/1", "128.0.0.0/1"],
            Family::V6 => ["::/1", "8000::/1"],
        }
    }

    /// `ip -4` or `ip -6`
    pub(super) fn ip(&self) -> &'static str {
        match Family::of(self.gateway) {
            Family::V4 => "ip -4",
            Family::V6 => "ip -6",
        }
    }

    /// What stands behind `ip rule add` for each rule.
    pub(super) fn rules(&self) -> Vec<String> {
        if self.not_from.is_empty() {
            return Vec::new();
        }
        let vips = self.not_from.iter();
        let mut rules: Vec<String> = vips
            .map(|vip| format!("pref {NUMBER} from {vip} lookup main"))
            .collect();
        rules.push(format!(
            "pref {} lookup main suppress_prefixlength 0",
            NUMBER + 1
        ));
        rules.push(format!("pref {} lookup {NUMBER}", NUMBER + 2));
        rules
    }

    /// What stands behind `ip route replace` for each route.
    pub(super) fn routes(&self) -> Vec<String> {
        let gateway = self.gateway;
        if self.not_from.is_empty() {
            let halves = self.halves().into_iter();
            halves.map(|half| format!("{half} via {gateway}")).collect()
        } else {
            vec![format!("default via {gateway} table {NUMBER}")]
        }
    }

    /// The same as sections of a file of systemd-networkd.
    pub(super) fn sections(&self) -> String {
        let gateway = self.gateway;
        let mut sections = Vec::new();
        if self.not_from.is_empty() {
            for half in self.halves() {
                sections.push(format!("[Route]\nDestination={half}\nGateway={gateway}\n"));
            }
            return sections.join("\n");
        }
        let family = match Family::of(gateway) {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        for vip in &self.not_from {
            sections.push(format!(
                "[RoutingPolicyRule]\nPriority={NUMBER}\nFrom={vip}\nTable=main\n"
            ));
        }
        sections.push(format!(
            "[RoutingPolicyRule]\nPriority={}\nFamily={family}\nTable=main\nSuppressPrefixLength=0\n",
            NUMBER + 1
        ));
        sections.push(format!(
            "[RoutingPolicyRule]\nPriority={}\nFamily={family}\nTable={NUMBER}\n",
            NUMBER + 2
        ));
        sections.push(format!("[Route]\nGateway={gateway}\nTable={NUMBER}\n"));
        sections.join("\n")
    }
}
