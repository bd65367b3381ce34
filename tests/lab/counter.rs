//! Counts what enters a machine, before any other rule sees it.

use super::namespace::Namespace;

/// A table of the laboratory's own that counts packets which come from the given addresses, on the given interfaces.
#[derive(Clone, Debug)]
pub(crate) struct ReplyCounter {
    namespace: Namespace,
}

impl ReplyCounter {
    /// Starts to count what comes from a VIP: only replies do.
    pub(crate) fn install(namespace: &Namespace, interfaces: &[&str], vips: &[&str]) -> Self {
        let mut rules = String::new();
        for vip in vips {
            let family = if vip.contains(':') { "ip6" } else { "ip" };
            rules += &format!("{family} saddr {vip} counter name replies\n");
        }
        let mut table = String::from("table netdev lab {\ncounter replies { }\n");
        for (number, interface) in interfaces.iter().enumerate() {
            table += &format!(
                "chain on{number} {{\ntype filter hook ingress device \"{interface}\" priority -400; policy accept;\n{rules}}}\n"
            );
        }
        namespace.nft(&(table + "}\n"));
        Self {
            namespace: namespace.clone(),
        }
    }

    /// Bytes seen so far.
    pub(crate) fn bytes(&self) -> u64 {
        let listed = self
            .namespace
            .nft_list(&["counter", "netdev", "lab", "replies"]);
        let bytes = listed
            .split_whitespace()
            .skip_while(|word| *word != "bytes")
            .nth(1);
        bytes
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or_else(|| panic!("no byte count in {listed}"))
    }
}
