//! Where a word stands that a later stage knows by its value alone.

use crate::diagnostic::Diagnostics;
use crate::source::{Sources, Span};

use super::parse::parse;
use super::tree::{
    Item, ModeDecl, ServerOption, SettingDecl, Statement, StatementDecl, Tree, ViaDecl, Word,
};

/// The first word of some files that names an interface: in a `mode`, behind `via`, or in a constant.
///
/// Reads the files anew, as checked facts do not know where each word stood: for the one message that needs it.
pub fn interface_named(name: &str, sources: &Sources) -> Option<Span> {
    let trees: Vec<Tree> = sources
        .ids()
        .map(|file| parse(file, sources, &mut Diagnostics::new()))
        .collect();
    let is_it = |word: &Word| sources.text(word.span).trim_matches('"') == name;
    let find = |words: fn(&Item) -> Vec<Word>| {
        let items = trees.iter().flat_map(|tree| &tree.items);
        items.flat_map(words).find(is_it).map(|word| word.span)
    };
    find(interfaces).or_else(|| find(constants))
}

fn constants(item: &Item) -> Vec<Word> {
    match item {
        Item::Define(decl) => decl.values.clone(),
        Item::Include(_) | Item::Defaults(_) | Item::Pool(_) | Item::Service(_) => Vec::new(),
    }
}

fn interfaces(item: &Item) -> Vec<Word> {
    let statements: &[StatementDecl] = match item {
        Item::Defaults(decl) => &decl.statements,
        Item::Pool(decl) => &decl.statements,
        Item::Service(decl) => &decl.statements,
        Item::Include(_) | Item::Define(_) => &[],
    };
    let mut words = Vec::new();
    for statement in statements {
        match &statement.statement {
            Statement::Setting(SettingDecl::Mode(ModeDecl::Dr { on, via })) => {
                words.extend(on);
                words.extend(via.iter().map(of_via));
            }
            Statement::Server(server) => {
                words.extend(server.options.iter().filter_map(|option| match option {
                    ServerOption::Via(via) => Some(of_via(via)),
                    ServerOption::Weight(_)
                    | ServerOption::Mac(_)
                    | ServerOption::Drain(_)
                    | ServerOption::Down(_)
                    | ServerOption::Backup(_) => None,
                }));
            }
            Statement::Vip { .. } | Statement::Setting(_) | Statement::Pool { .. } => {}
        }
    }
    words
}

const fn of_via(via: &ViaDecl) -> Word {
    via.interface
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_where_it_is_named_first() {
        let mut sources = Sources::new();
        let text = "define out = eth9\ndefaults { mode dr on eth0, \"eth1\" via $out }\nservice a { server eth2 10.0.0.1 via eth3 from 02:00:00:00:00:01 }\n";
        sources.add("a.flb", "".into(), text.to_owned());
        for (name, column) in [
            ("eth0", (2, 23)),
            ("eth1", (2, 29)),
            ("eth3", (3, 38)),
            ("eth9", (1, 14)),
        ] {
            let span = interface_named(name, &sources).unwrap();
            let place = sources.place(span);
            assert_eq!((place.line, place.column), column, "{name}");
        }
        assert_eq!(interface_named("eth2", &sources), None);
    }
}
