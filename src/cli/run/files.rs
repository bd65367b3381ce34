//! The files that a daemon was told to run, read anew whenever that is asked for.

use std::path::{Path, PathBuf};

use crate::apply::Failure;
use crate::cli::report::where_named;
use crate::control::{Looks, Said};
use crate::daemon::hands::Files;
use crate::diagnostic::Diagnostics;
use crate::diagnostic::render::{Options, human};
use crate::model::Model;
use crate::operate::Refused;
use crate::source::Sources;
use crate::syntax::Input;

/// A file, with all that it includes.
#[derive(Debug)]
pub(super) struct FileSet {
    path: PathBuf,
    name: String,
    sources: Sources,
}

impl FileSet {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            name: path.to_string_lossy().into_owned(),
            sources: Sources::new(),
        }
    }

    /// What the files were when they were read: all that was looked at.
    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }
}

impl Files for FileSet {
    fn read(&mut self, sink: &mut Diagnostics) -> Option<Model> {
        self.sources = Sources::new();
        crate::read(Input::Path(self.path.clone()), &mut self.sources, sink)
    }

    fn told(&self, sink: &Diagnostics, looks: Looks) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = human(sink, &self.sources, options(looks), &mut text);
        text
    }

    fn refused(&self, refused: &Refused, mut sink: Diagnostics, looks: Looks) -> Said {
        let sentence = if let Refused::Failed(Failure::Interfaces(missing)) = refused {
            Failure::Interfaces(where_named(missing, &self.sources)).report(&mut sink)
        } else {
            refused.report(&mut sink)
        };
        let mut said = Said::default();
        said.show(&self.told(&sink, looks));
        if let Some(sentence) = sentence {
            said.fail(&sentence);
        }
        said.end(refused.exit());
        said
    }

    fn name(&self) -> &str {
        &self.name
    }
}

const fn options(looks: Looks) -> Options {
    Options {
        color: looks.color,
        unicode: looks.unicode,
        width: looks.width,
    }
}
