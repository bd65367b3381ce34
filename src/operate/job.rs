//! From a model that a file says to the kernel, the one way of every command.

use crate::apply::{Applied, Request, Tables};
use crate::diagnostic::Diagnostics;
use crate::kernel::Kernel;
use crate::lower::layout::Layout;
use crate::model::{Model, Override};
use crate::schedule;

use super::Refused;

/// A model that is ready to be applied.
#[derive(Debug)]
pub struct Job {
    /// All that should be there, what was set included.
    pub model: Model,
    overrides: Vec<Override>,
    layout: Option<Layout>,
}

impl Job {
    /// Looks up what the file leaves to be looked up, and sets what was set beside it.
    ///
    /// `layout` is which bits of marks numbers are to be in; `None`: those that they are in.
    ///
    /// # Errors
    ///
    /// [`Refused::Faulty`] and those of looking.
    pub fn new<K: Kernel>(
        tables: &mut Tables<K>,
        mut model: Model,
        overrides: Vec<Override>,
        layout: Option<Layout>,
        sink: &mut Diagnostics,
    ) -> Result<Self, Refused> {
        complete(tables, &mut model, sink)?;
        Ok(Self::of_complete(model, overrides, layout))
    }

    /// The same of a model that is complete.
    pub(super) fn of_complete(
        mut model: Model,
        overrides: Vec<Override>,
        layout: Option<Layout>,
    ) -> Self {
        let overrides = model.set(overrides);
        Self {
            model,
            overrides,
            layout,
        }
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

    /// Makes the kernel have it.
    ///
    /// # Errors
    ///
    /// Why it cannot be; the kernel then has what it had.
    pub fn commit<K: Kernel>(
        &self,
        tables: &mut Tables<K>,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        self.run(tables, true, sink)
    }

    fn run<K: Kernel>(
        &self,
        tables: &mut Tables<K>,
        commit: bool,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Refused> {
        let plan = schedule::schedule(&self.model, sink);
        let request = Request {
            layout: self.layout,
            model: &self.model,
            plan: &plan,
            overrides: &self.overrides,
            commit,
        };
        Ok(tables.apply(&request, sink)?)
    }
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
