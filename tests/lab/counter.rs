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
        let count = |source: &&str| {
            let family = if source.contains(':') { "ip6" } else { "ip" };
            format!("{family} saddr {source} counter name replies")
        };
        let rules: Vec<String> = from.iter().map(count).collect();
        let mut table = vec![
            format!("table netdev lab-{name} {{"),
            "counter replies { }".to_owned(),
        ];
        for (number, interface) in interfaces.iter().enumerate() {
            table.push(format!("chain on{number} {{"));
            table.push(format!(
                "type filter hook ingress device \"{interface}\" priority -400; policy accept;"
            ));
            table.extend(rules.iter().cloned());
            table.push("}".to_owned());
        }
        table.push("}\n".to_owned());
        namespace.nft(&table.join("\n"));
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
