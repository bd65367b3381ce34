//! What an apply leaves for the next one: enough to know all that is in the tables without reading them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostics;
use crate::diff::{Identities, Observed};
use crate::emit::netlink::{Interfaces, desired};
use crate::lower::number::Numbering;
use crate::lower::{Scope, lower_part};
use crate::model::{Effective, Lacking, LayerChanges, Layers, Model};
use crate::notes::{Left, Noted};
use crate::schedule::{Plan, schedule};

use super::Request;
use super::census::Census;

/// What was applied, and what the kernel made of it. The tables follow from it.
///
/// It has no places in files: its spans are [`crate::source::Span::NOWHERE`].
#[derive(Debug, Clone)]
pub struct Remembered<'a> {
    /// What the tables were made from, and what of it the file says.
    pub effective: Cow<'a, Effective>,
    /// The numbers of its servers and slots.
    pub numbers: Cow<'a, Numbering>,
    /// The interfaces that it names, and their numbers.
    pub interfaces: Interfaces,
    /// The texts by which the tables are known again.
    pub ids: Identities,
}

/// The same as it is written down: model and layers apart, as what holds follows from them.
#[derive(Serialize, Deserialize)]
struct Note<'a> {
    /// First, so that a note of the same model begins with the same bytes.
    declared: Cow<'a, Model>,
    numbers: Cow<'a, Numbering>,
    interfaces: Cow<'a, Interfaces>,
    ids: Cow<'a, Identities>,
    layers: Cow<'a, Layers>,
    lacking: Cow<'a, Lacking>,
}

/// What a note is amended by: what became of servers and slots since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amended {
    /// What is said of servers beside the file now.
    pub(crate) layers: LayerChanges,
    /// The first slot of blocks that have another, by their places.
    pub(crate) slots: BTreeMap<u32, u32>,
}

impl Remembered<'_> {
    /// What held.
    pub fn model(&self) -> &Model {
        self.effective.model()
    }

    /// What the cache keeps.
    pub(crate) fn to_note(&self) -> Vec<u8> {
        let note = Note {
            declared: Cow::Borrowed(self.effective.declared()),
            numbers: Cow::Borrowed(&self.numbers),
            interfaces: Cow::Borrowed(&self.interfaces),
            ids: Cow::Borrowed(&self.ids),
            layers: Cow::Borrowed(self.effective.layers()),
            lacking: Cow::Borrowed(self.effective.lacking()),
        };
        // Plain data: serialization cannot fail.
        postcard::to_stdvec(&note).unwrap_or_default()
    }

    /// What a note says, as it is amended; `None` if it is none.
    pub(crate) fn from_note(note: &Noted) -> Option<Self> {
        let Note {
            declared,
            numbers,
            interfaces,
            ids,
            layers,
            lacking,
        } = postcard::from_bytes(&note.whole).ok()?;
        let (mut layers, lacking) = (layers.into_owned(), lacking.into_owned());
        let mut numbers = numbers.into_owned();
        if let Some(amended) = &note.amended {
            let amended: Amended = postcard::from_bytes(amended).ok()?;
            amended.layers.put_into(&mut layers);
            for (block, first) in amended.slots {
                numbers.blocks.get_mut(block as usize)?.first_slot = first;
            }
        }
        let effective = Effective::of(declared.into_owned(), layers, lacking);
        Some(Self {
            effective: Cow::Owned(effective),
            numbers: Cow::Owned(numbers),
            interfaces: interfaces.into_owned(),
            ids: ids.into_owned(),
        })
    }

    /// Those of the interfaces that it names which have another number now: they were made anew, or have another's name.
    pub(super) fn strangers(&self, interfaces: &Interfaces) -> Vec<Stranger> {
        let mut strangers = Vec::new();
        for (name, number) in &self.interfaces {
            let Some(now) = interfaces.get(name).filter(|now| *now != number) else {
                continue;
            };
            let of = |all: &Interfaces, number: &u32| {
                let mut found = all.iter().filter(|(_, one)| *one == number);
                found.next().map(|(name, _)| name.to_string())
            };
            strangers.push(Stranger {
                name: name.to_string(),
                was: of(&self.interfaces, now),
                is_now: of(interfaces, number),
            });
        }
        strangers
    }

    /// Whether the interfaces that it names are there, with the numbers that they had.
    pub(crate) fn are_there(&self, interfaces: &Interfaces) -> bool {
        all_there(&self.interfaces, interfaces)
    }

    /// Who has which number.
    pub(super) fn census(&self) -> Census {
        let plan = schedule(self.model(), &mut Diagnostics::new());
        Census::of_all((self.model(), &plan, &self.numbers))
    }

    /// The tables as they were left, as far as `scope` goes. `plan` is that of the model.
    pub(crate) fn tables(&self, plan: &Plan<'_>, table: &str, scope: &Scope) -> Option<Observed> {
        // All interfaces were there when this was applied.
        self.tables_on(&self.interfaces, plan, table, scope)
    }

    /// The same, with the numbers that interfaces have now; `None`: some are not there.
    pub(super) fn tables_on(
        &self,
        interfaces: &Interfaces,
        plan: &Plan<'_>,
        table: &str,
        scope: &Scope,
    ) -> Option<Observed> {
        let ruleset = lower_part(self.model(), plan, &self.numbers, table, scope);
        let made = desired(ruleset, interfaces).ok()?;
        Some(Observed::made(made, &self.ids))
    }
}

/// An interface that is another one than at the last apply, though its name is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The name.
    pub name: String,
    /// What the interface that has it now was called then, if it is one that the file names.
    pub was: Option<String>,
    /// What the interface that had it then is called now.
    pub is_now: Option<String>,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is another interface than at the last apply: ",
            self.name
        )?;
        match (&self.was, &self.is_now) {
            (Some(was), _) => write!(f, "it was called `{was}` then"),
            (None, Some(now)) => write!(f, "the one of then is called `{now}` now"),
            (None, None) => f.write_str("it was made anew"),
        }
    }
}

/// Whether what was left was made from this very model, and its interfaces are those that there are.
pub(super) fn says(left: &Left, request: &Request<'_>, interfaces: &Interfaces) -> bool {
    // What follows the model: the same fields in the same order.
    type Rest = (Numbering, Interfaces, Identities, Layers, Lacking);
    let Ok(model) = postcard::to_stdvec(request.effective.declared()) else {
        return false;
    };
    let rest = left.note.whole.strip_prefix(&*model);
    let rest = rest.and_then(|rest| postcard::from_bytes::<Rest>(rest).ok());
    let amended = left.note.amended.as_deref();
    let amended = amended.map(postcard::from_bytes::<Amended>).transpose();
    let Ok(amended) = amended else { return false };
    rest.is_some_and(|(numbers, named, _, mut layers, lacking)| {
        if let Some(amended) = amended {
            amended.layers.put_into(&mut layers);
        }
        let same_layout = request.layout.is_none_or(|it| it == numbers.layout);
        same_layout
            && all_there(&named, interfaces)
            && layers == *request.effective.layers()
            && lacking == *request.effective.lacking()
    })
}

/// Whether these interfaces are there, with the numbers that they had.
fn all_there(named: &Interfaces, interfaces: &Interfaces) -> bool {
    let mut named = named.iter();
    named.all(|(name, number)| interfaces.get(name) == Some(number))
}

/// Those of a host's interfaces that a model names.
pub(super) fn named(model: &Model, interfaces: &Interfaces) -> Interfaces {
    let all = model.services.iter();
    let all = all.flat_map(|service| service.interfaces(model));
    let there = all.filter_map(|name| Some((name.clone(), *interfaces.get(name)?)));
    there.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::layout::Layout;
    use crate::lower::number;
    use crate::model::{Place, ServerKey, State, Verdict, Wanted, Wish};
    use crate::notes::FORM;
    use crate::schedule::jhash;
    use crate::source::Sources;
    use crate::syntax::{Home, Input, Keyword, OptionWord};

    /// All that a file can say, so that no field of the note is left out.
    const FILE: &str = "
        defaults { deny from 203.0.113.0/24 }
        pool web { server web[1-2] 10.20.0.[11-12]:8080 weight 3; server rest 10.20.0.13 drain }
        service www {
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80, 1000-1999
            mode nat snat 192.0.2.1, 2001:db8::1
            persist 5m by source/24/64
            on-empty drop
            pool web
            server six 2001:db8:1::1 backup
        }
        service dns {
            vip 192.0.2.53 udp any
            mode dr on eth0 via eth1 from 02:00:00:00:00:01
            scheduler maglev by source table 251
            track 1h
            allow from 198.51.100.0/24
            server 10.20.0.21 mac 02:00:00:00:00:21 via eth2
            server 10.20.0.22 down
        }";

    #[test]
    fn the_file_says_all_that_a_file_can_say() {
        let mut words = FILE.split(|c: char| c.is_whitespace() || c == ';');
        let statements = Home::Service.statements().map(Keyword::text);
        let options = OptionWord::ALL.iter().map(|option| option.text());
        for word in statements.chain(options) {
            let is_there = words.clone().any(|one| one == word);
            assert!(
                is_there,
                "`{word}` is not in the note whose form is compared"
            );
        }
        assert!(words.any(|word| word == Keyword::Defaults.text()));
    }

    /// A note is read as what it was written as: the bytes do not say what they are. If they are other bytes than those
    /// of this form, it is another form, and a note of the old one must not be taken for one of the new.
    #[test]
    fn a_note_of_another_form_has_another_number() {
        let (mut sources, mut sink) = (Sources::new(), Diagnostics::new());
        let input = Input::Stdin(FILE.as_bytes().to_vec());
        let model = crate::read(input, &mut sources, &mut sink).expect("no faults");
        let plan = schedule(&model, &mut sink);
        let numbers = number::fresh(&plan, "flbc", Layout::default(), &mut sink);
        let key = ServerKey {
            place: Place::Pool("web".into()),
            server: "web1".into(),
        };
        let wish = Wish {
            state: Some(Wanted {
                value: State::Down,
                since: 1_767_225_600,
            }),
            weight: Some(Wanted {
                value: 7,
                since: 1_767_225_600,
            }),
            address: Some([10, 20, 0, 11].into()),
            port: Some(8080),
        };
        let layers = Layers {
            operator: [(key.clone(), wish)].into(),
            health: [(key, Verdict::Dead)].into(),
        };
        let effective = Effective::of(
            model.clone(),
            layers,
            [("dns".into(), vec!["eth2".into()])].into(),
        );
        let note = Remembered {
            effective: Cow::Borrowed(&effective),
            numbers: Cow::Borrowed(&numbers),
            interfaces: [("eth0".into(), 2), ("eth1".into(), 3)].into(),
            ids: Identities::default(),
        }
        .to_note();
        let form = (FORM, note.len(), jhash::jhash(&note, 0));
        assert_eq!(
            form,
            (13, 511, 720_089_503),
            "the note has another form: give `FORM` in src/notes/mod.rs the next number, and put the new values here"
        );
    }
}
