//! What was there, as what should be there: the way back.

use crate::emit::netlink::attribute::{Attribute, Attributes, Writer};
use crate::emit::netlink::constant::{dynset, expr};
use crate::emit::netlink::{Chain, Desired, Rule, RuleBody, Set, Table};
use crate::source::Span;

use super::{Observed, ObservedTable};

impl Observed {
    /// What the kernel must have to have this again, in tables of this name.
    pub fn as_desired(&self, table: &str) -> Desired {
        Desired {
            table: table.into(),
            inet: self.inet.as_ref().map(wanted),
            netdev: self.netdev.as_ref().map(wanted),
        }
    }
}

fn wanted(table: &ObservedTable) -> Table {
    let sets = table.sets.iter().map(|set| Set {
        name: set.name.clone(),
        shape: set.shape.clone(),
        origin: None,
        elements: set.elements.clone(),
        // No file says it.
        origins: vec![Span::NOWHERE; set.elements.len()],
    });
    let chains = table.chains.iter().map(|chain| Chain {
        name: chain.name.clone(),
        hook: chain.hook.clone(),
        rules: chain
            .rules
            .iter()
            .map(|rule| Rule {
                body: sendable(&rule.body),
                origin: None,
            })
            .collect(),
    });
    Table {
        sets: sets.collect(),
        chains: chains.collect(),
    }
}

/// A rule that was read, as the kernel takes it. It tells of a timeout of 0 where rules add to a set in which nothing
/// times out, and refuses to be told.
fn sendable(body: &RuleBody) -> RuleBody {
    let mut writer = Writer::default();
    for expression in Attributes::new(&body.expressions) {
        let inside = expression.inside();
        let is_dynset = inside.find(expr::NAME).and_then(Attribute::string) == Some("dynset");
        writer.nested(expression.kind, |w| match inside.find(expr::DATA) {
            Some(data) if is_dynset => {
                w.string(expr::NAME, "dynset");
                w.nested(expr::DATA, |w| without_timeout(data.inside(), w));
            }
            _ => w.raw(expression.value),
        });
    }
    RuleBody {
        expressions: writer.into_bytes(),
        protocols: body.protocols.clone(),
    }
}

fn without_timeout(dynset: Attributes<'_>, to: &mut Writer) {
    for attribute in dynset {
        let nothing = attribute.value.iter().all(|byte| *byte == 0);
        if attribute.kind != dynset::TIMEOUT || !nothing {
            to.bytes(attribute.kind, attribute.value);
        }
    }
}
