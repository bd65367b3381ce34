//! Somebody who has nothing to do with flbc or nft looks at what each of them left: `witness/`, on rustables.
//!
//! It must see what flbc's own ruleset says, and the same whoever loaded it. What it cannot read it counts.

use std::collections::{BTreeMap, BTreeSet};

use flbc::diagnostic::Diagnostics;
use flbc::ruleset::{Hook, KeyType, Ruleset, Set, Table};
use flbc::source::Sources;
use flbc::syntax::Input;

use crate::apply_host::Host;
use crate::golden::{Case, examples, goldens};
use crate::lab::namespace::Namespace;

use super::{Form, Nft, both, given};

/// What the witness says of both tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// Tables, chains with their hooks, sets with their keys, and how many rules each chain has.
    objects: BTreeSet<String>,
    /// Rules that it could read, by `inet input 1`: table, chain and place.
    rules: BTreeMap<String, String>,
    /// Rules that it could not read, and why.
    unread: BTreeMap<String, String>,
    /// Expressions of the others of which it has the name alone.
    unread_expressions: Vec<String>,
}

impl Seen {
    /// Asks the witness.
    fn all(machine: &Namespace) -> Self {
        let finished = machine.command(&given("FLBC_WITNESS"), &["flbc"], "");
        assert!(finished.success, "{}", finished.stderr);
        let mut seen = Self::default();
        for line in finished.stdout.lines() {
            let told = |rest: &str| {
                let (place, what) = rest.split_once(": ").unwrap_or_else(|| panic!("{line}"));
                (place.to_owned(), what.to_owned())
            };
            if let Some(rest) = line.strip_prefix("rule ") {
                seen.rules.extend([told(rest)]);
            } else if let Some(rest) = line.strip_prefix("unread rule ") {
                seen.unread.extend([told(rest)]);
            } else if let Some(rest) = line.strip_prefix("unread expression ") {
                seen.unread_expressions.push(told(rest).1);
            } else {
                // More than one anonymous set may look the same.
                let mut line = line.to_owned();
                while !seen.objects.insert(line.clone()) {
                    line.push('+');
                }
            }
        }
        seen
    }

    /// The same, and then the rules of the second table of the name, which it can read only where it is the only one.
    fn both_tables(machine: &Namespace, nft: &Nft) -> Self {
        let mut seen = Self::all(machine);
        if seen.objects.contains("table inet flbc") && seen.objects.contains("table netdev flbc") {
            nft.load(machine, Form::Text, "delete table inet flbc");
            let alone = Self::all(machine);
            seen.unread.retain(|place, _| !place.starts_with("netdev "));
            seen.rules.extend(alone.rules);
            seen.unread.extend(alone.unread);
            seen.unread_expressions.extend(alone.unread_expressions);
        }
        seen
    }
}

/// What the witness must see of a ruleset: the lines but for the types of keys.
fn expected(ruleset: &Ruleset) -> BTreeSet<String> {
    let tables = [("inet", &ruleset.inet), ("netdev", &ruleset.netdev)];
    let mut lines = BTreeSet::new();
    for (family, table) in tables {
        if let Some(table) = table {
            lines.insert(format!("table {family} flbc"));
            lines.extend(objects(family, table));
        }
    }
    lines
}

fn objects(family: &str, table: &Table) -> Vec<String> {
    let chains = table.chains.iter().flat_map(|chain| {
        let place = format!("{family} {}", chain.name);
        let hook = chain.hook.as_ref().map_or("", hook);
        [
            format!("chain {place}{hook}"),
            format!("rules {place} {}", chain.rules.len()),
        ]
    });
    let sets = table.sets.iter().map(|set| {
        let flags = flags(set);
        format!("set {family} {} flags {flags}", set.name)
    });
    chains.chain(sets).collect()
}

/// The kernel's words for it.
const fn hook(hook: &Hook) -> &'static str {
    match hook {
        Hook::NatPrerouting => " Nat hook 0 priority -150",
        Hook::NatOutput => " Nat hook 3 priority -150",
        Hook::NatPostrouting => " Nat hook 4 priority 50",
        Hook::FilterPrerouting => " Filter hook 0 priority -95",
        Hook::FilterOutput => " Filter hook 3 priority -95",
        Hook::FilterInput => " Filter hook 1 priority 0",
        Hook::RawPrerouting => " Filter hook 0 priority -300",
        Hook::Ingress(_) => " Filter hook 0 priority 0",
    }
}

/// `NFT_SET_INTERVAL`, `NFT_SET_MAP`, `NFT_SET_TIMEOUT`, `NFT_SET_EVAL`, `NFT_SET_CONCAT`.
fn flags(set: &Set) -> u32 {
    let given = [
        (set.interval, 4 | 128),
        (set.data.is_some(), 8),
        (set.dynamic.is_some(), 16 | 32),
        (set.key == KeyType::MarkDirection, 32),
    ];
    given
        .iter()
        .filter_map(|(is, flag)| is.then_some(flag))
        .sum()
}

/// The lines without what the ruleset does not say in these words.
fn reduced(objects: &BTreeSet<String>) -> BTreeSet<String> {
    let named = objects.iter().filter(|line| !line.contains(" - flags "));
    named
        .map(|line| {
            let ends = [" key ", " policy "];
            let end = ends.iter().filter_map(|word| line.find(word)).min();
            line[..end.unwrap_or(line.len())].to_owned()
        })
        .collect()
}

fn ruleset(case: &Case) -> Ruleset {
    let (mut sources, mut faults) = (Sources::new(), Diagnostics::new());
    let input = Input::Path(case.file.clone());
    let ruleset = flbc::compile(
        input,
        ("flbc", flbc::lower::layout::Layout::default()),
        &mut sources,
        &mut faults,
    );
    ruleset.unwrap_or_else(|| panic!("{}", case.file.display()))
}

/// Who brings the rules into the kernel.
#[derive(Debug, Clone, Copy)]
enum By<'a> {
    Apply,
    Nft(&'a Nft, Form),
}

/// What the witness sees of a file that somebody loaded, compared with the ruleset.
fn seen(case: &Case, by: By<'_>, this: &Nft) -> Option<Seen> {
    let host = Host::new(&case.machine());
    // Who can look at the tables before it deletes one.
    let mut deletes = this;
    match by {
        By::Apply => {
            let ran = host.flbc(&["apply", case.file.to_str().unwrap()], "");
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        By::Nft(nft, form) => {
            let rules = match form {
                Form::Text => &case.text,
                Form::Json => case.json.as_ref()?,
            };
            nft.load(&host.namespace, form, rules);
            deletes = nft;
        }
    }
    Some(Seen::both_tables(&host.namespace, deletes))
}

#[test]
#[ignore = "needs two versions of nft and a witness: `make test-nft`"]
fn sees_the_ruleset_and_the_same_whoever_loaded_it() {
    let [this, other] = both();
    let (mut total, mut read, mut hidden) = (0, 0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for case in goldens().into_iter().chain(examples()) {
        let what = case.file.display();
        let wanted = expected(&ruleset(&case));
        let first = seen(&case, By::Apply, &this).unwrap();
        assert_eq!(reduced(&first.objects), wanted, "{what}: flbc apply");
        total += first.rules.len() + first.unread.len();
        read += first.rules.len();
        hidden += first.unread_expressions.len();
        for why in first.unread.values().chain(&first.unread_expressions) {
            *reasons.entry(why.clone()).or_default() += 1;
        }
        for nft in [&this, &other] {
            for form in [Form::Text, Form::Json] {
                let Some(seen) = seen(&case, By::Nft(nft, form), &this) else {
                    continue;
                };
                let by = format!("{what}: {form:?} loaded by {}", nft.version);
                assert_eq!(seen.objects, first.objects, "{by}");
                // Which registers hide a rule from it is for each nft to choose.
                let common = seen
                    .rules
                    .iter()
                    .filter(|(place, _)| first.rules.contains_key(*place));
                let mut count = 0;
                for (place, rule) in common {
                    assert_eq!(rule, &first.rules[place], "{by}: {place}");
                    count += 1;
                }
                assert!(count * 10 >= first.rules.len() * 9, "{by}: {count} read");
            }
        }
    }
    println!(
        "{read} of {total} rules read, in them {hidden} expressions by name alone: {reasons:#?}"
    );
    // What it reads is a share that is worth the trouble; the rest is counted above, not taken for the same.
    assert!(read * 3 > total, "{read} of {total} rules");
}

#[test]
#[ignore = "needs two versions of nft and a witness: `make test-nft`"]
fn sees_what_somebody_changed() {
    const FILE: &str = "
service www { vip 192.0.2.10 tcp 80; persist 1h; server a 10.20.0.11; server b 10.20.0.12 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server 10.20.0.11; server 10.20.0.12 }
";
    let [this, _] = both();
    let seen = |edit: &str| {
        let host = Host::alone();
        host.apply(FILE);
        this.load(&host.namespace, Form::Text, edit);
        Seen::both_tables(&host.namespace, &this)
    };
    let whole = seen("");
    for edit in [
        "add chain inet flbc stray",
        "add set inet flbc stray { type ipv4_addr; }",
        "add chain inet flbc stray { type filter hook input priority -5; }",
        // A rule that it can read, and one of which it only knows that it is there.
        "insert rule inet flbc slotted accept",
        "insert rule inet flbc guard ip daddr . tcp dport { 192.0.2.1 . 80 } accept",
        "add rule netdev flbc slotted accept",
        "flush chain netdev flbc slotted\nadd rule netdev flbc slotted drop\nadd rule netdev flbc slotted drop",
        "delete table netdev flbc",
    ] {
        let after = seen(&format!("{edit}\n"));
        let told = (&after.objects, &after.rules) != (&whole.objects, &whole.rules);
        assert!(told, "{edit}");
    }
}

/// Every base chain of flbc's has the policy `accept`, so that this hides nothing now.
#[test]
#[ignore = "needs two versions of nft and a witness: `make test-nft`"]
fn reads_every_policy_as_accept() {
    let [this, _] = both();
    let host = Host::alone();
    let dropping =
        "table inet flbc { chain x { type filter hook input priority 0; policy drop; }; }";
    this.load(&host.namespace, Form::Text, dropping);
    let seen = Seen::all(&host.namespace);
    let line = "chain inet x Filter hook 1 priority 0 policy Accept";
    assert!(
        seen.objects.contains(line),
        "rustables reads policies now: compare them, and mend docs/decisions-kernel.md: {seen:?}"
    );
}
