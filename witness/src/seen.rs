//! What rustables reads, in lines.

use std::error::Error;
use std::fmt::Debug;

use rustables::expr::{ExpressionList, ExpressionVariant};
use rustables::query::list_objects_with_data;
use rustables::{Chain, Rule, Set, Table, list_chains_for_table, list_tables, sys};

use crate::count::rules_in;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// All that is in the tables of this name.
pub(crate) fn lines(name: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for table in list_tables()? {
        if table.get_name().map(String::as_str) != Some(name) {
            continue;
        }
        let family = family(&table);
        lines.push(format!("table {family} {name}"));
        for chain in list_chains_for_table(&table)? {
            // It asks by the name of the table alone.
            if self::family(&chain) == family {
                lines.extend(chain_lines(&table, &chain)?);
            }
        }
    }
    lines.extend(set_lines(name)?);
    lines.sort();
    Ok(lines)
}

/// rustables keeps the family of what it read to itself, and shows it only where it prints.
fn family(object: &impl Debug) -> String {
    let printed = format!("{object:?}");
    let (_, rest) = printed.split_once("family: ").unwrap_or_default();
    let word: String = rest
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    word.to_lowercase()
}

fn told(value: Option<&impl Debug>) -> String {
    value.map_or("?".to_owned(), |value| format!("{value:?}"))
}

fn number_of(family: &str) -> Result<u8> {
    match family {
        "inet" => Ok(1),
        "netdev" => Ok(5),
        other => Err(format!("a table of the family `{other}`").into()),
    }
}

fn chain_lines(table: &Table, chain: &Chain) -> Result<Vec<String>> {
    let family = family(table);
    let name = chain.get_name().ok_or("a chain without a name")?;
    let place = format!("{family} {name}");
    let mut lines = vec![match (chain.get_hook(), chain.get_type()) {
        (Some(hook), Some(kind)) => {
            let hooked = hook.get_class().zip(hook.get_priority());
            let (hook, priority) = hooked.ok_or("a hook without a place")?;
            // It is told as a number without a sign.
            let priority = priority.cast_signed();
            let policy = told(chain.get_policy());
            format!("chain {place} {kind:?} hook {hook} priority {priority} policy {policy}")
        }
        _ => format!("chain {place}"),
    }];
    let there = rules_in(number_of(&family)?, chain)?;
    let (read, stopped) = rules(&family, chain)?;
    lines.push(format!("rules {place} {there}"));
    for (at, rule) in (1..).zip(&read) {
        lines.extend(rule_lines(&format!("{place} {at}"), rule));
    }
    for at in read.len() + 1..=there {
        lines.push(format!("unread rule {place} {at}: {stopped}"));
    }
    Ok(lines)
}

/// The rules of a chain as far as they are read, and why not further.
///
/// rustables stops at the first rule in which there is something that it does not know. And it asks by names alone:
/// where two tables have one name, the kernel shows it the first.
fn rules(family: &str, chain: &Chain) -> Result<(Vec<Rule>, String)> {
    let mut rules: Vec<Rule> = Vec::new();
    let ended = list_objects_with_data(
        u16::try_from(sys::NFT_MSG_GETRULE)?,
        &|rule: Rule, rules: &mut Vec<Rule>| {
            rules.push(rule);
            Ok(())
        },
        Some(&Rule::new(chain)?),
        &mut rules,
    );
    rules.retain(|rule| self::family(rule) == family);
    let stopped = match ended {
        Ok(()) => "another table of this name is shown".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    Ok((rules, stopped))
}

/// A rule, and a line for each expression in it of which rustables knows the name alone.
fn rule_lines(place: &str, rule: &Rule) -> Vec<String> {
    let mut lines = Vec::new();
    let mut words = Vec::new();
    let none = ExpressionList::default();
    for expression in rule.get_expressions().unwrap_or(&none).iter() {
        let name = expression.get_name().map_or("?", String::as_str);
        match expression.get_data() {
            Some(ExpressionVariant::ExpressionRaw(_)) | None => {
                words.push(name.to_owned());
                lines.push(format!("unread expression {place}: {name}"));
            }
            Some(data) => words.push(format!("{data:?}")),
        }
    }
    lines.push(format!("rule {place}: {}", words.join(", ")));
    lines
}

/// Sets and maps, but for their size, the type of their values, and their elements, of which rustables knows nothing.
fn set_lines(name: &str) -> Result<Vec<String>> {
    let mut sets: Vec<Set> = Vec::new();
    list_objects_with_data(
        u16::try_from(sys::NFT_MSG_GETSET)?,
        &|set: Set, sets: &mut Vec<Set>| {
            sets.push(set);
            Ok(())
        },
        None,
        &mut sets,
    )?;
    let mut lines = Vec::new();
    for set in sets {
        if set.get_table().map(String::as_str) != Some(name) {
            continue;
        }
        let family = family(&set);
        let flags = set.get_flags().copied().unwrap_or_default();
        let name = set.get_name().ok_or("a set without a name")?;
        // The kernel numbers those as they come.
        let name = if flags & sys::NFT_SET_ANONYMOUS == 0 {
            name
        } else {
            "-"
        };
        lines.push(format!(
            "set {family} {name} flags {flags} key {} of {} bytes",
            told(set.get_key_type()),
            told(set.get_key_len()),
        ));
    }
    Ok(lines)
}
