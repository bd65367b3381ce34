//! What other programs do to the kernel's rules: in flbc's tables, in their own, and to all of them.

use serde_json::{Value, json};

use crate::apply_host::Host;
use crate::random::Dice;

/// Something that another program did, and whether nft took it.
pub(super) struct Deed {
    pub(super) told: String,
    pub(super) taken: bool,
}

/// How many kinds of deeds there are.
const KINDS: u64 = 20;

/// Changes something. What is drawn from the dice does not depend on what the kernel has.
pub(super) fn change(host: &Host, dice: &mut Dice) -> Deed {
    let kind = dice.below(KINDS);
    let which = dice.below(1 << 30) as usize;
    let mut table = ["inet flbc", "netdev flbc"][usize::from(dice.below(3) == 0)];
    let mut listed = Table::of(host, table);
    if listed.0.is_empty() {
        table = "inet flbc";
        listed = Table::of(host, table);
    }
    let chain = listed.any("chain", which);
    let base = listed.any_where("chain", which, |chain| chain.get("hook").is_some());
    let set = listed.any("set", which);
    let told = match kind {
        0 => return element(host, table, &listed, which, "delete"),
        1 => return element(host, table, &listed, which, "add"),
        2 => format!("flush map {table} {}", listed.any("map", which)),
        3 => format!("flush set {table} {set}"),
        4 => format!("flush chain {table} {chain}"),
        5 => format!("insert rule {table} {chain} counter"),
        6 => format!("add rule {table} {chain} drop"),
        7 => {
            let rules = listed.all("rule");
            let Some(rule) = rules.get(which % rules.len().max(1)) else {
                return Deed::nothing("no rule to delete");
            };
            let chain = rule["chain"].as_str().unwrap_or_default();
            format!("delete rule {table} {chain} handle {}", rule["handle"])
        }
        8 => format!("add chain {table} stray{}", which % 3),
        9 => format!("add set {table} stray{} {{ type mark; }}", which % 3),
        10 => format!(
            "add chain {table} {base} {{ policy {}; }}",
            ["drop", "accept"][which % 2]
        ),
        11 => format!("add table {table} {{ flags dormant; }}"),
        12 => format!("delete table {table}"),
        13 => "flush ruleset".to_owned(),
        14 => format!("add element {table} slot {{ 0x3ff00000 : 0x{:x} }}", which | 1),
        15 => format!("add element {table} server {{ 0x{:x} }}", which | 0x4000_0000),
        16 => "table inet foreign { set admins { type ipv4_addr; elements = { 198.51.100.10 } }; chain input { type filter hook input priority 5; policy accept; tcp dport 22 ip saddr @admins accept; }; }".to_owned(),
        17 => "add table inet foreign; delete table inet foreign".to_owned(),
        18 => "table ip flbc { chain mine { type filter hook forward priority 0; ct mark 0x7 accept; }; }".to_owned(),
        _ => format!("add chain {table} stray; add rule {table} stray counter; add rule {table} {chain} jump stray"),
    };
    let commands = format!("{}\n", told.replace("; ", "\n"));
    let text = if told.contains('{') {
        told.clone() + "\n"
    } else {
        commands
    };
    let finished = host.namespace.command("nft", &["-f", "-"], &text);
    Deed {
        told: format!("nft: {told}"),
        taken: finished.success,
    }
}

/// Loads what was listed before, as programs do that save all rules and restore them.
pub(super) fn restore(host: &Host, listing: &str) -> Deed {
    let text = format!("flush ruleset\n{listing}");
    let finished = host.namespace.command("nft", &["-f", "-"], &text);
    Deed {
        told: format!("nft: an earlier listing, {}", finished.stderr),
        taken: finished.success,
    }
}

impl Deed {
    fn nothing(told: &str) -> Self {
        Self {
            told: told.to_owned(),
            taken: false,
        }
    }
}

/// Deletes an element, or gives its key the value that another has.
fn element(host: &Host, table: &str, listed: &Table, which: usize, verb: &str) -> Deed {
    let sets = [listed.all("map"), listed.all("set")].concat();
    let filled = |set: &&Value| set["elem"].as_array().is_some_and(|all| !all.is_empty());
    let sets: Vec<&Value> = sets.into_iter().filter(filled).collect();
    let Some(set) = sets.get(which % sets.len().max(1)) else {
        return Deed::nothing("no element to change");
    };
    let name = &set["name"];
    let elements: Vec<&Value> = set["elem"].as_array().into_iter().flatten().collect();
    let element = elements[which / 64 % elements.len()];
    let (family, table) = table.split_once(' ').expect("two words");
    let change = |verb: &str, element: &Value| json!({ verb: { "element": { "family": family, "table": table, "name": name, "elem": [element] } } });
    let mut commands = vec![change("delete", element)];
    if verb == "add" {
        let other = elements[which / 7 % elements.len()];
        let (Some(key), Some(value)) = (element.get(0), other.get(1)) else {
            return Deed::nothing("no value to change");
        };
        commands.push(change("add", &json!([key, value])));
    }
    let text = json!({ "nftables": commands }).to_string();
    let finished = host.namespace.command("nft", &["-j", "-f", "-"], &text);
    Deed {
        told: format!("nft: {verb} element: {text} {}", finished.stderr),
        taken: finished.success,
    }
}

/// A table as nft lists it.
struct Table(Vec<Value>);

impl Table {
    fn of(host: &Host, table: &str) -> Self {
        let (family, name) = table.split_once(' ').expect("two words");
        let arguments = ["-j", "-a", "list", "table", family, name];
        let listed = host.namespace.command("nft", &arguments, "");
        let mut listed: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let all = listed["nftables"].take();
        Self(all.as_array().cloned().unwrap_or_default())
    }

    fn all(&self, what: &str) -> Vec<&Value> {
        self.0
            .iter()
            .filter_map(|object| object.get(what))
            .collect()
    }

    /// The name of one of these, or one that is none's.
    fn any(&self, what: &str, which: usize) -> String {
        self.any_where(what, which, |_| true)
    }

    fn any_where(&self, what: &str, which: usize, is: impl Fn(&Value) -> bool) -> String {
        let all: Vec<&Value> = self.all(what).into_iter().filter(|o| is(o)).collect();
        let name = all.get(which % all.len().max(1)).map(|one| &one["name"]);
        let name = name.and_then(Value::as_str);
        name.unwrap_or("nobodys").to_owned()
    }
}
