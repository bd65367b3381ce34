//! Counts what enters a machine, before any other rule sees it.

use super::namespace::Namespace;

/// A table of the laboratory's own that counts packets from some addresses, on some interfaces.
#[derive(Clone, Debug)]
pub(crate) struct ReplyCounter {
    namespace: Namespace,
    name: String,
}

impl ReplyCounter {
    /// Starts to count what comes from these addresses or prefixes.
    pub(crate) fn install(
        namespace: &Namespace,
        name: &str,
        interfaces: &[&str],
        from: &[&str],
    ) -> Self {
        let mut rules = String::new();
        for source in from {
            let family = if source.contains(':') { "ip6" } else { "ip" };
            rules += &format!("{family} saddr {source} counter name replies\n");
        }
        let mut table = format!("table netdev lab-{name} {{\ncounter replies {{ }}\n");
        for (number, interface) in interfaces.iter().enumerate() {
            table += &format!(
                "chain on{number} {{\ntype filter hook ingress device \"{interface}\" priority -400; policy accept;\n{rules}}}\n"
            );
        }
        namespace.nft(&(table + "}\n"));
        Self {
            namespace: namespace.clone(),
            name: name.to_owned(),
        }
    }

    /// Bytes seen so far.
    pub(crate) fn bytes(&self) -> u64 {
        let table = format!("lab-{}", self.name);
        let listed = self
            .namespace
            .nft_list(&["counter", "netdev", &table, "replies"]);
        let bytes = listed
            .split_whitespace()
            .skip_while(|word| *word != "bytes")
            .nth(1);
        bytes
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or_else(|| panic!("no byte count in {listed}"))
    }
}
