//! What is noted for a daemon that takes this one's place, should it be killed: it goes on as if this one had lived.

use serde::{Deserialize, Serialize};

use crate::apply::Remembered;
use crate::control::{Kind, Running};
use crate::kernel::Kernel;
use crate::model::Model;

use super::{Files, Hands, Performed, Print, has_tables, print};

/// What was kept in force.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The file, by its name.
    file: String,
    /// What the file said when it was read last.
    print: Print,
    running: Running,
    /// What was applied last, by whomever: another thing by now was applied since. A version that did not note it kept what
    /// the file said.
    #[serde(default)]
    applied: Option<Print>,
}

impl<K: Kernel, F: Files> Hands<K, F> {
    /// Notes what is kept in force, where that is another thing than before, or the note is gone.
    pub(super) fn keep<C>(&mut self, performed: &mut Performed<C>) {
        let Some(print) = self.said.filter(|_| performed.fatal.is_none()) else {
            return;
        };
        let kept = Kept {
            file: self.files.name().to_owned(),
            print,
            running: self.running(),
            applied: self.wanted.as_ref().and_then(|wanted| wanted.noted),
        };
        // Where all notes are gone that on the tables comes first: as long as none is there, it is known that all are gone.
        let is_lost = !self.tables.cache().is_kept(self.tables.name())
            && (self.wanted.is_none() || self.tables.cache().is_noted(self.tables.name()));
        if self.kept.as_ref() == Some(&kept) && !is_lost {
            return;
        }
        match self.tables.cache().keep(self.tables.name(), &kept) {
            Ok(()) => self.kept = Some(kept),
            Err(error) => {
                let text =
                    format!("should this be killed, the next one begins with the file: {error}");
                self.complain(Kind::Trouble, &text, performed);
            }
        }
    }

    /// The daemon ends by itself: the next one begins with its file.
    pub fn end(&mut self) {
        self.tables.cache().let_go(self.tables.name());
    }

    /// What a daemon that was killed would keep by now, if that is not what the file says: `None` as a model is nothing.
    pub(super) fn resumed(&mut self, model: Option<&Model>) -> Option<(Option<Model>, Running)> {
        let kept: Kept = self.tables.cache().kept(self.tables.name())?;
        let unchanged = model.is_none_or(|model| print(model) == kept.print);
        // Unloading them would have removed the note on them.
        let last = self.tables.last();
        self.owns = last.is_some();
        // Another file, or one that was changed, is what whoever starts it wants.
        if kept.file != self.files.name() || !unchanged {
            return None;
        }
        let resumed = if let Some(known) = self.tables.recall_last() {
            let by = || {
                let holder = self.tables.holder();
                holder.map_or_else(|| "another flbc".to_owned(), |holder| holder.command)
            };
            let (model, running) = resumed_with(&kept, known, by);
            Some((Some(model), running))
        } else {
            let name = self.tables.name().to_owned();
            let ids = self.tables.kernel.identities(&name).ok();
            let is_gone = ids.is_some() && !has_tables(ids.as_ref()) && last.is_none();
            let were_unloaded = || self.tables.cache().were_unloaded(&name);
            let is_meant = kept.running == Running::Nothing || were_unloaded();
            (is_gone && is_meant).then_some((None, Running::Nothing))
        };
        // What the file says is read from it, with its places.
        let resumed = resumed.filter(|(_, running)| *running != Running::File || model.is_none());
        if resumed.is_some() {
            self.said = Some(kept.print);
        }
        resumed
    }
}

/// What goes on where this is what was applied last: what was kept, or what another flbc applied since.
fn resumed_with(
    kept: &Kept,
    known: Remembered<'_>,
    by: impl FnOnce() -> String,
) -> (Model, Running) {
    let declared = known.effective.into_owned().into_declared();
    let same = kept
        .applied
        .is_none_or(|applied| applied == print(&declared));
    let running = match &kept.running {
        Running::Nothing => Running::Applied(by()),
        running if same => running.clone(),
        Running::File | Running::Applied(_) => Running::Applied(by()),
    };
    (declared, running)
}
