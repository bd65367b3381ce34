//! From a model that a file says to the kernel, the one way of every command.

use crate::apply::{Applied, Request, Tables};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, listed};
use crate::kernel::Kernel;
use crate::lower::layout::Layout;
use crate::model::{Effective, Interface, Lacking, Layers, Model, Service};
use crate::schedule;

use super::Refused;

/// A model that is ready to be applied.
#[derive(Debug)]
pub struct Job {
    /// All that should be there: the file, and what is said beside it.
    pub effective: Effective,
    /// What there is to say of it.
    notes: Vec<String>,
    layout: Option<Layout>,
}

/// What becomes of what was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It goes on, where the file does not say the same.
    Kept,
    /// It ends.
    Dropped,
}

impl Job {
    /// Looks up what the file leaves to be looked up, and puts beside it what is said of its servers.
    ///
    /// `layout` is which bits of marks numbers are to be in; `None`: those that they are in.
    ///
    /// # Errors
    ///
    /// [`Refused::Faulty`], those of looking, and [`Refused::WishesUnknown`] where it is to be kept.
    pub fn new<K: Kernel>(
        tables: &mut Tables<K>,
        mut declared: Model,
        earlier: Earlier,
        layout: Option<Layout>,
        sink: &mut Diagnostics,
    ) -> Result<Self, Refused> {
        complete(tables, &mut declared, sink)?;
        let mut notes = Vec::new();
        let layers = match earlier {
            Earlier::Kept => layers(tables, &mut notes)?,
            Earlier::Dropped => {
                notes.extend(ends(tables));
                Layers::default()
            }
        };
        Self::of_complete(tables, declared, layers, (layout, notes))
    }

    /// The same with what is known to be said of servers, whatever the notes say: `notes` is what there is to say of it.
    ///
    /// # Errors
    ///
    /// [`Refused::Faulty`], and those of looking.
    pub fn beside<K: Kernel>(
        tables: &mut Tables<K>,
        mut declared: Model,
        layers: Layers,
        (layout, notes): (Option<Layout>, Vec<String>),
        sink: &mut Diagnostics,
    ) -> Result<Self, Refused> {
        complete(tables, &mut declared, sink)?;
        Self::of_complete(tables, declared, layers, (layout, notes))
    }

    /// The same of a model that is complete.
    pub(super) fn of_complete<K: Kernel>(
        tables: &mut Tables<K>,
        declared: Model,
        layers: Layers,
        (layout, mut notes): (Option<Layout>, Vec<String>),
    ) -> Result<Self, Refused> {
        let (layers, moved) = layers.beside(&declared);
        notes.extend(moved.iter().map(ToString::to_string));
        let lacking = lacking(tables, &declared)?;
        Ok(Self {
            effective: Effective::of(declared, layers, lacking),
            notes,
            layout,
        })
    }

    /// The same with every service, whether it can be here or not: what cannot is refused.
    #[must_use]
    pub fn whole(self) -> Self {
        let layers = self.effective.layers().clone();
        let declared = self.effective.into_declared();
        Self {
            effective: Effective::of(declared, layers, Lacking::new()),
            ..self
        }
    }

    /// All that should be there.
    pub fn model(&self) -> &Model {
        self.effective.model()
    }

    /// Works out what would change, and lets the kernel check it.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub fn check<K: Kernel>(
        &self,
        tables: &mut Tables<K>,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        self.run(tables, false, sink)
    }

    /// Makes the kernel have it. What was set is written down before: whoever is killed in between leaves a wish that the
    /// next `flbc apply --keep` fulfils, and none is in force that nobody knows of.
    ///
    /// # Errors
    ///
    /// Why it cannot be; the kernel then has what it had, and what was set is what it was.
    pub fn commit<K: Kernel>(
        &self,
        tables: &mut Tables<K>,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        // Where it is not readable there is nothing to put back.
        let (before, damaged) = match tables.layers() {
            Ok((layers, damaged)) => (Ok(layers.operator), damaged.is_some()),
            Err(unreadable) => (Err(unreadable), true),
        };
        let wishes = &self.effective.layers().operator;
        let differs = damaged || before.as_ref().ok() != Some(wishes);
        let mut stays = None;
        if differs {
            match tables.write_wishes(wishes) {
                Ok(()) => {}
                // Nothing is lost by what stays written down.
                Err(error) if wishes.is_empty() => stays = Some(error),
                Err(error) => {
                    return Err(Refused::WishesUnwritten {
                        notes: tables.notes().to_owned(),
                        error,
                    });
                }
            }
        }
        let mut outcome = self.run(tables, true, sink);
        if let (Ok(applied), Some(error), Ok(before)) = (&mut outcome, stays, &before)
            && !before.is_empty()
        {
            applied.notes.push(format!(
                "what was set has ended, and is still written down: the next `flbc apply --keep` begins it again: {error}"
            ));
        }
        if let (Err(_), true, Ok(before)) = (&outcome, differs, before) {
            // It was writable a moment ago. If it is not now, it is put right by the next command.
            let _ = tables.write_wishes(&before);
        }
        outcome
    }

    fn run<K: Kernel>(
        &self,
        tables: &mut Tables<K>,
        commit: bool,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        for (name, interfaces) in self.effective.lacking() {
            let services = &self.effective.declared().services;
            let service = services.iter().find(|service| service.name == *name);
            sink.report(left_out(service, name, interfaces));
        }
        let plan = schedule::schedule(self.model(), sink);
        let request = Request {
            layout: self.layout,
            effective: &self.effective,
            plan: &plan,
            commit,
        };
        let mut applied = tables.apply(&request, sink)?;
        applied.notes.splice(..0, self.notes.iter().cloned());
        applied.left_out = self.effective.lacking().len();
        Ok(applied)
    }
}

/// That what was set ends, where the difference cannot tell so: the tables that had it are gone, or others are in their place.
fn ends<K: Kernel>(tables: &mut Tables<K>) -> Vec<String> {
    if tables.recall().is_some() {
        return Vec::new();
    }
    let set = tables.layers().map(|(layers, _)| layers.operator);
    let keys = set.unwrap_or_default().into_keys();
    keys.map(|key| format!("what was set on {key} ends; `flbc apply --keep` keeps it"))
        .collect()
}

/// The services that are to be left out, as interfaces that they need are not there.
///
/// One that works now is none of them: whoever changes its interface to one that is not there has made a mistake, and must
/// not lose it by that. Where nothing would be left nothing is left out either.
fn lacking<K: Kernel>(tables: &mut Tables<K>, declared: &Model) -> Result<Lacking, Refused> {
    let interfaces = tables.kernel.interfaces()?;
    let is_there = |name: &str| interfaces.contains_key(name);
    let mut lacking = declared.lacking(is_there);
    if lacking.is_empty() {
        return Ok(lacking);
    }
    if let Some(known) = tables.recall() {
        let model = known.model();
        let works = |name: &str| {
            let service = model.services.iter().find(|service| *service.name == *name);
            service.is_some_and(|service| {
                let mut named = service.interfaces(model).into_iter();
                named.all(|name| is_there(name))
            })
        };
        lacking.retain(|name, _| !works(name));
    }
    if lacking.len() == declared.services.len() {
        lacking.clear();
    }
    Ok(lacking)
}

/// That a service is left out.
fn left_out(service: Option<&Service>, name: &str, interfaces: &[Interface]) -> Diagnostic {
    let which = listed(interfaces.iter().map(|name| &**name), "and");
    let (are, them) = match *interfaces {
        [_] => ("is no interface", "it is"),
        [..] => ("are no interfaces", "they are"),
    };
    let message = format!("Service `{name}` is left out: there {are} {which} on this host");
    let span = service.map(|service| service.span);
    let fault = match span.filter(|span| span.is_somewhere()) {
        Some(span) => Diagnostic::new(Code::LeftOut, span, message),
        None => Diagnostic::placeless(Code::LeftOut, message),
    };
    fault.help(format!(
        "all others are applied; once {them} there, the next `flbc apply` brings it in"
    ))
}

/// What is said of servers beside the file.
pub(super) fn layers<K: Kernel>(
    tables: &mut Tables<K>,
    notes: &mut Vec<String>,
) -> Result<Layers, Refused> {
    let (layers, unreadable) = tables.layers().map_err(Refused::WishesUnknown)?;
    notes.extend(unreadable.map(|unreadable| {
        format!("{unreadable}; the note on the last apply says it, and it is written anew")
    }));
    Ok(layers)
}

/// Looks up what the file leaves to be looked up.
pub(super) fn complete<K: Kernel>(
    tables: &mut Tables<K>,
    model: &mut Model,
    sink: &mut Diagnostics,
) -> Result<(), Refused> {
    tables
        .complete(model, sink)
        .map_err(|error| Refused::Failed(error.into()))?;
    if sink.errors() > 0 {
        return Err(Refused::Faulty);
    }
    Ok(())
}
