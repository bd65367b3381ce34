//! The one handle of whoever looks at flbc's tables or changes them: kernel, notes and name.

use std::io;
use std::path::{Path, PathBuf};

use crate::check::require_source_macs;
use crate::diagnostic::Diagnostics;
use crate::kernel::{Kernel, KernelError};
use crate::model::{Layers, Model, Wish};
use crate::notes::lock::{Holder, Lock};
use crate::notes::trial::{Before, Trials};
use crate::notes::wishes::{Unreadable, Wishes};
use crate::notes::{Last, LastTables, Notes, legacy};

use super::{Applied, Failure, Remembered, Request, Seen, restore, see_beside};

/// flbc's tables of one name in one kernel, with the notes on them.
#[derive(Debug)]
pub struct Tables<K> {
    /// The kernel that has them.
    pub kernel: K,
    /// Where the notes are.
    cache: Notes,
    /// The name of both tables.
    name: String,
    /// Whether a table of this name that another program made is taken over.
    pub force: bool,
}

impl<K: Kernel> Tables<K> {
    /// The tables of this name.
    pub fn new(kernel: K, cache: Notes, name: &str) -> Self {
        Self {
            kernel,
            cache,
            name: name.to_owned(),
            force: false,
        }
    }

    /// The name of both tables.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the notes are.
    pub fn notes(&self) -> &Path {
        self.cache.directory()
    }

    /// The parts, each for itself.
    pub(crate) fn parts(&mut self) -> (&mut K, &Notes, &str) {
        (&mut self.kernel, &self.cache, &self.name)
    }

    /// Sees to it that no other flbc changes these tables; `None`: another one does so now.
    ///
    /// # Errors
    ///
    /// The folder of the notes is somebody else's, or cannot be written to.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        self.cache.lock(&self.name)
    }

    /// Who keeps others from these tables, or did so last.
    pub fn holder(&self) -> Option<Holder> {
        self.cache.holder(&self.name)
    }

    /// Trials of these tables.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn trials(&self) -> io::Result<Trials> {
        Trials::new(&self.cache, &self.name)
    }

    /// What the last apply made of them, if it is known, whatever others did since.
    pub fn recall(&mut self) -> Option<Remembered<'static>> {
        Some(self.recall_and_compare()?.0)
    }

    /// The generation that the kernel is at, if nobody has committed anything since the last apply and its note is there.
    pub fn untouched(&mut self) -> Option<u32> {
        let left = self.cache.recall(&mut self.kernel, &self.name)?;
        left.current.then_some(left.generation)
    }

    /// The notes themselves.
    pub const fn cache(&self) -> &Notes {
        &self.cache
    }

    /// The file of this table that ends so, among the notes.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn file(&self, what: &str) -> io::Result<PathBuf> {
        self.cache.file(&self.name, what)
    }

    /// What the last apply left, whatever became of the tables since.
    pub fn last(&mut self) -> Option<Last> {
        self.cache.last(&mut self.kernel, &self.name)
    }

    /// What the last apply made, whatever became of its tables since.
    pub fn recall_last(&mut self) -> Option<Remembered<'static>> {
        Remembered::from_note(&self.last()?.note)
    }

    /// What the last apply made of tables that are gone by now: it is what should be there.
    ///
    /// # Errors
    ///
    /// Those of looking.
    pub fn recall_gone(&mut self) -> Result<Option<Remembered<'static>>, KernelError> {
        let name = self.name.clone();
        let Some(last) = self.last() else {
            return Ok(None);
        };
        let there = self.kernel.observe(&name)?.has_tables();
        let gone = last.tables == LastTables::Others && !there;
        Ok(gone.then(|| Remembered::from_note(&last.note)).flatten())
    }

    /// The same as [`Self::recall`], and whether nobody has committed anything since.
    pub fn recall_and_compare(&mut self) -> Option<(Remembered<'static>, bool)> {
        let left = self.cache.recall(&mut self.kernel, &self.name)?;
        Some((Remembered::from_note(&left.note)?, left.current))
    }

    /// What is said of servers beside the file, whatever became of the tables since; and what is wrong with the file that
    /// says so, where the note on the tables stood in for it.
    ///
    /// # Errors
    ///
    /// Nothing that is readable says it.
    pub fn layers(&mut self) -> Result<(Layers, Option<Unreadable>), Unreadable> {
        let (kernel, cache, table) = self.parts();
        let outcome = cache.wishes(table);
        if let Ok(Some(operator)) = outcome {
            let layers = Layers {
                operator,
                ..Layers::default()
            };
            return Ok((layers, None));
        }
        // Whatever became of the tables, unless a run was killed that may have been about to end it.
        let left = cache.recall(kernel, table).map(|left| left.note);
        let last = |kernel: &mut K| {
            let last = cache.last(kernel, table).filter(|last| !last.killed);
            last.map(|last| last.note)
        };
        let mut left = left.or_else(|| last(kernel));
        if outcome.is_err() {
            let aside = |kernel: &mut K| Some(cache.recall_aside(kernel, table)?.note);
            left = left.or_else(|| aside(kernel));
        }
        let known = left.and_then(|note| Remembered::from_note(&note));
        match (known, outcome) {
            (Some(known), outcome) => Ok((known.effective.layers().clone(), outcome.err())),
            (None, Ok(_)) => {
                let now = kernel.clock();
                let foreign = cache.recall_foreign(kernel, table);
                let operator = foreign.and_then(|foreign| legacy::wishes(&foreign, now));
                let layers = Layers {
                    operator: operator.unwrap_or_default(),
                    ..Layers::default()
                };
                Ok((layers, None))
            }
            (None, Err(unreadable)) => Err(unreadable),
        }
    }

    /// What an operator wants beside the file, as it is written down; `None` where that is not so or cannot be read.
    pub(super) fn wishes(&self) -> Option<Wishes> {
        self.cache.wishes(&self.name).ok().flatten()
    }

    /// Writes down what an operator wants beside the file.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn write_wishes(&self, wishes: &Wishes) -> io::Result<()> {
        self.cache.write_wishes(&self.name, wishes)
    }

    /// Looks at what the kernel has: what is remembered if it is known to be true, else what can be read.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn see(&mut self) -> Result<Seen, KernelError> {
        let left = self.cache.recall(&mut self.kernel, &self.name);
        let interfaces = self.kernel.interfaces()?;
        see_beside(&mut self.kernel, left, &self.name, &interfaces)
    }

    /// Gives a model the own MAC addresses of interfaces that frames need and the file does not give, as the interfaces
    /// have them now. An interface that is not there is for [`Tables::apply`] to find; one that has none is reported to
    /// `sink`.
    ///
    /// # Errors
    ///
    /// Those of looking.
    pub fn complete(
        &mut self,
        model: &mut Model,
        sink: &mut Diagnostics,
    ) -> Result<(), KernelError> {
        // Where an interface is gone it had this one: what needs it is left out, and comes back with it.
        let mut macs = model.forget_looked_up_macs();
        let lacking = model.lacking_source_macs();
        for interface in &lacking {
            if let Some(mac) = self.kernel.mac_of(interface)? {
                macs.insert(interface.clone(), mac);
            }
        }
        model.fill_source_macs(|interface| macs.get(interface).copied());
        let left = model.lacking_source_macs();
        if !left.is_empty() {
            let there = self.kernel.interfaces()?;
            if left.iter().all(|interface| there.contains_key(interface)) {
                require_source_macs(model, sink);
            }
        }
        Ok(())
    }

    /// Makes the kernel have what the model says, as one transaction or not at all.
    ///
    /// # Errors
    ///
    /// See [`Failure`]; the kernel then has what it had.
    pub fn apply(
        &mut self,
        request: &Request<'_>,
        sink: &mut Diagnostics,
    ) -> Result<Applied, Failure> {
        super::apply(self, request, sink)
    }

    /// Removes the tables, in one transaction, and forgets their connections; `None`: there are none.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn unload(&mut self) -> Result<Option<Applied>, Failure> {
        let unloaded = super::unload(self)?;
        // What was wanted of their servers goes with them.
        let unwritten = self.write_wishes(&Wishes::new()).err();
        if unloaded.is_none() {
            // Whoever removes tables that are gone already means it.
            let _ = self.cache.forget(&self.name);
        }
        // Where that cannot be written, a daemon has to tell it by who removed them.
        let _ = self.cache.note_unloaded(&self.name);
        Ok(unloaded.map(|mut applied| {
            applied.notes.extend(
                unwritten.map(|error| format!("what was set is still written down: {error}")),
            );
            applied
        }))
    }

    /// What the kernel has now, as [`Tables::restore`] takes it.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn before(&mut self) -> Result<Before, KernelError> {
        restore::before(self)
    }

    /// Remembers that something is set while a trial is open: going back keeps it. Says what was remembered before.
    ///
    /// `otherwise` is what was wanted before the trial, where that is not noted.
    ///
    /// # Errors
    ///
    /// It cannot be written down.
    pub fn owe(
        &self,
        server: (&str, &str),
        wish: Wish,
        otherwise: Option<&Model>,
    ) -> io::Result<Wishes> {
        restore::owe(&self.trials()?, server, wish, otherwise)
    }

    /// Makes the kernel have what it had, as one transaction or not at all, whatever others did meanwhile.
    ///
    /// Connections to servers that it did not have, or that were down, are forgotten.
    ///
    /// # Errors
    ///
    /// See [`Failure`]; the kernel then has what it has now.
    pub fn restore(&mut self, before: &Before) -> Result<Applied, Failure> {
        restore::restore(self, before)
    }
}
