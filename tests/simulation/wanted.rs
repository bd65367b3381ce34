//! What should be in force, by what was asked for and nothing else: a few lines beside which the daemon is held.
//!
//! Whoever is killed in the middle of something may have done it or not: then there is more than one thing that may be
//! wanted, until it is seen which one it is.

use std::rc::Rc;
use std::sync::Arc;

use flbc::model::{Layers, ServerKey, Wanted as Since, Wish};
use flbc::operate::set::Demand;

use super::author::model;

/// A server as `flbc set` names it, and what it is to be.
pub(crate) type Asked = ((String, String), Demand);

/// What should be in force: a file, with what was set beside it; or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub(crate) file: Option<Rc<str>>,
    pub(crate) layers: Layers,
}

impl Wanted {
    /// A file is applied, beside what was set or instead of it.
    fn applied(&self, file: &Rc<str>, keep: bool) -> Self {
        let layers = if keep {
            self.layers.clone()
        } else {
            Layers::default()
        };
        Self {
            layers: layers.beside(&model(file)).0,
            file: Some(file.clone()),
        }
    }

    fn set(&self, ((service, server), demand): &Asked) -> Self {
        let mut next = self.clone();
        let Some(file) = &self.file else {
            return next;
        };
        let model = model(file);
        let Some(place) = model.place_of(service, server) else {
            return next;
        };
        let key = ServerKey {
            place,
            server: Arc::from(&**server),
        };
        let Some(declared) = model.server(&key) else {
            return next;
        };
        let wish = next.layers.operator.entry(key);
        let wish = wish.or_insert_with(|| Wish::of(declared));
        // When it was asked for is nobody's matter here.
        let since = 0;
        match *demand {
            Demand::State(value) => wish.state = Some(Since { value, since }),
            Demand::Weight(value) => wish.weight = Some(Since { value, since }),
        }
        next.layers = next.layers.beside(&model).0;
        next
    }
}

/// All that may be wanted.
#[derive(Clone, Debug)]
pub(crate) struct Possible {
    pub(crate) all: Vec<Wanted>,
    /// What was before the trial that is open.
    pub(crate) before: Option<Vec<Wanted>>,
}

impl Possible {
    pub(crate) fn nothing() -> Self {
        Self {
            all: vec![Wanted::default()],
            before: None,
        }
    }

    pub(crate) fn apply(&mut self, file: &Rc<str>, keep: bool) {
        each(&mut self.all, |one| one.applied(file, keep));
    }

    pub(crate) fn set(&mut self, asked: &Asked) {
        each(&mut self.all, |one| one.set(asked));
        // What is set lasts, whatever becomes of the trial.
        if let Some(before) = &mut self.before {
            each(before, |one| one.set(asked));
        }
    }

    pub(crate) fn unload(&mut self) {
        self.all = vec![Wanted::default()];
    }

    pub(crate) fn begin(&mut self, file: &Rc<str>) {
        self.before = Some(self.all.clone());
        self.apply(file, false);
    }

    pub(crate) fn back(&mut self) {
        if let Some(before) = self.before.take() {
            self.all = before;
        }
    }

    /// All that was set is lost.
    pub(crate) fn forget(&mut self) {
        each(&mut self.all, |one| Wanted {
            file: one.file.clone(),
            layers: Layers::default(),
        });
    }

    /// It may have happened or not.
    pub(crate) fn perhaps(&mut self, happens: impl FnOnce(&mut Self)) {
        let before = self.clone();
        happens(self);
        join(&mut self.all, before.all);
        match (&mut self.before, before.before) {
            (Some(all), Some(more)) => join(all, more),
            (all @ None, more) => *all = more,
            (Some(_), None) => {}
        }
    }
}

fn each(all: &mut Vec<Wanted>, next: impl Fn(&Wanted) -> Wanted) {
    let next: Vec<Wanted> = all.iter().map(next).collect();
    all.clear();
    join(all, next);
}

fn join(all: &mut Vec<Wanted>, more: Vec<Wanted>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}
