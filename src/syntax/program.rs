//! A file and all that it includes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, argument};
use crate::source::{FileId, FileIdentity, OpenFile, ReadFault, Sources, Span, text};

use super::characters::has_bad_character;
use super::include::{Named, find};
use super::parse::parse;
use super::tree::{IncludeDecl, Item, Tree};

/// Where a program comes from.
#[derive(Debug)]
pub enum Input {
    /// The file at this path.
    Path(PathBuf),
    /// What was read from standard input.
    Stdin(Vec<u8>),
}

/// Reads a file and, where they stand, those that it includes.
///
/// `None` if the file itself cannot be read. Faults: `unreadable-file`, `file-too-large`, `not-utf8`,
/// `world-writable`, `include-cycle`, `included-twice`, `bad-include` and those of syntax.
pub fn parse_program(input: Input, sources: &mut Sources, sink: &mut Diagnostics) -> Option<Tree> {
    let mut reader = FileReader::new(sources, sink);
    let (file, identity) = reader.root(input)?;
    Some(reader.tree(file, identity, None))
}

/// Reads one file, and nothing that it includes.
///
/// `None` if it cannot be read, with the faults that [`parse_program`] reports of the file itself.
pub fn read_file(input: Input, sources: &mut Sources, sink: &mut Diagnostics) -> Option<FileId> {
    let (file, _) = FileReader::new(sources, sink).root(input)?;
    Some(file)
}

/// How many files may include each other in a row.
const DEEPEST: usize = 64;

struct FileReader<'r> {
    sources: &'r mut Sources,
    sink: &'r mut Diagnostics,
    /// The files from the first one to the one that is being read.
    open: Vec<Open>,
    /// Where each file was included first.
    seen: HashMap<FileIdentity, Span>,
}

/// A file whose includes are being read.
struct Open {
    file: FileId,
    /// Standard input has none.
    identity: Option<FileIdentity>,
    /// The path that included it; the first file has none.
    include: Option<Span>,
}

impl<'r> FileReader<'r> {
    fn new(sources: &'r mut Sources, sink: &'r mut Diagnostics) -> Self {
        Self {
            sources,
            sink,
            open: Vec::new(),
            seen: HashMap::new(),
        }
    }

    /// Reads the first file. Standard input has no identity.
    fn root(&mut self, input: Input) -> Option<(FileId, Option<FileIdentity>)> {
        let (name, directory, identity, read) = match input {
            Input::Stdin(bytes) => ("<stdin>".to_owned(), PathBuf::new(), None, text(bytes)),
            Input::Path(path) => {
                self.sources.look_at(&path);
                let opened = OpenFile::open(&path);
                let identity = opened.as_ref().ok().map(OpenFile::identity);
                let read = opened.and_then(OpenFile::read);
                (shown(&path), folder_of(&path), identity, read)
            }
        };
        match read {
            Ok(text) => Some((self.sources.add(&name, directory, text), identity)),
            Err(fault) => {
                self.report_unreadable(&name, &fault, None);
                None
            }
        }
    }

    fn tree(
        &mut self,
        file: FileId,
        identity: Option<FileIdentity>,
        include: Option<Span>,
    ) -> Tree {
        let mut tree = parse(file, self.sources, self.sink);
        self.open.push(Open {
            file,
            identity,
            include,
        });
        for item in &mut tree.items {
            if let Item::Include(include) = item {
                tree.damaged |= self.include(file, include).is_none();
            }
        }
        self.open.pop();
        tree
    }

    /// Reads what an `include` names; `None` if something is missing from it.
    fn include(&mut self, file: FileId, include: &mut IncludeDecl) -> Option<()> {
        let span = include.path.span;
        let path = self.sources.text(span).trim_matches('"').to_owned();
        if has_bad_character(&path) {
            return None;
        }
        if self.open.len() > DEEPEST {
            let message = format!("More than {DEEPEST} files include each other in a row");
            let fault = Diagnostic::new(Code::BadInclude, span, message);
            let help = "include them side by side from one file, or all of a folder: include \"lb.d/*.flb\"";
            self.sink.report(fault.help(help));
            return None;
        }
        let directory = self.sources.file(file).directory.clone();
        match find(&directory, &path, &mut |path| self.sources.look_at(path)) {
            Ok(Named::File(path)) => self.included(&path, span, false, &mut include.trees),
            Ok(Named::Matches(paths, refused)) => {
                include.matches_nothing = paths.is_empty() && refused.is_empty();
                let mut complete = refused.is_empty().then_some(());
                for (folder, error) in refused {
                    let fault = ReadFault::Refused(error);
                    self.report_unreadable(&shown(&folder), &fault, Some(span));
                }
                for path in paths {
                    let read = self.included(&path, span, true, &mut include.trees);
                    complete = complete.and(read);
                }
                complete
            }
            Err(wrong) => {
                let fault = Diagnostic::new(Code::BadInclude, span, wrong.message);
                self.sink.report(fault.help(wrong.help));
                None
            }
        }
    }

    /// Reads one included file into `trees`; `None` if it cannot be read.
    fn included(
        &mut self,
        path: &Path,
        include: Span,
        by_glob: bool,
        trees: &mut Vec<Tree>,
    ) -> Option<()> {
        let name = shown(path);
        self.sources.look_at(path);
        let opened = match OpenFile::open(path) {
            Ok(opened) => opened,
            Err(fault) => {
                self.report_unreadable(&name, &fault, Some(include));
                return None;
            }
        };
        let identity = opened.identity();
        let is_self = self
            .open
            .last()
            .is_some_and(|open| open.identity == Some(identity));
        if by_glob && is_self {
            return Some(());
        }
        if let Some(at) = self
            .open
            .iter()
            .position(|open| open.identity == Some(identity))
        {
            self.report_cycle(at, include);
            return None;
        }
        if let Some(first) = self.seen.get(&identity) {
            let message = format!("`{name}` is included twice");
            let fault = Diagnostic::new(Code::IncludedTwice, include, message)
                .related(*first, "first included here")
                .help("remove one of the two; links to one file count as that file");
            self.sink.report(self.with_chain(fault));
            return None;
        }
        self.seen.insert(identity, include);
        if opened.is_world_writable() {
            let message = format!("`{name}` is not read, as everybody may write it");
            let fault = Diagnostic::new(Code::WorldWritable, include, message).help(format!(
                "take that right away: chmod o-w {}",
                argument(&name)
            ));
            self.sink.report(fault);
            return None;
        }
        match opened.read() {
            Ok(text) => {
                let file = self.sources.add(&name, folder_of(path), text);
                trees.push(self.tree(file, Some(identity), Some(include)));
                Some(())
            }
            Err(fault) => {
                self.report_unreadable(&name, &fault, Some(include));
                None
            }
        }
    }

    fn report_unreadable(&mut self, name: &str, fault: &ReadFault, include: Option<Span>) {
        let message = format!("`{name}` {fault}");
        let code = match fault {
            ReadFault::Refused(_) | ReadFault::NotRegular(_) => Code::UnreadableFile,
            ReadFault::TooLarge => Code::FileTooLarge,
            ReadFault::NotUtf8(fault) => {
                // The text up to there is kept, so that the place can be shown.
                let file = self.sources.add(name, PathBuf::new(), fault.shown.clone());
                let at = u32::try_from(fault.at).unwrap_or(u32::MAX);
                let place = Span {
                    file,
                    start: at,
                    end: at,
                };
                let mut fault =
                    Diagnostic::new(Code::NotUtf8, place, message).help("save the file as UTF-8");
                fault.related = include
                    .map(|span| (span, "included here".into()))
                    .into_iter()
                    .collect();
                self.sink.report(fault);
                return;
            }
        };
        let report = match include {
            Some(include) => Diagnostic::new(code, include, message),
            None => Diagnostic::placeless(code, message),
        };
        let is_pipe = matches!(fault, ReadFault::NotRegular("a pipe")) && include.is_none();
        self.sink.report(if is_pipe {
            report.help("flbc reads standard input where `-` stands for the file")
        } else {
            report
        });
    }

    /// `include` names a file that is being read: number `at` of those that are open.
    fn report_cycle(&mut self, at: usize, include: Span) {
        let cycle = self.open.get(at..).unwrap_or_default();
        let mut names: Vec<_> = cycle.iter().map(|open| self.name(open.file)).collect();
        let first = names.first().cloned().unwrap_or_default();
        let message = match names.get(1..) {
            Some([]) | None => format!("{first} includes itself"),
            Some(through) => format!("{first} includes itself, through {}", through.join(", ")),
        };
        let mut fault = Diagnostic::new(Code::IncludeCycle, include, message);
        for open in cycle.iter().skip(1) {
            if let Some(span) = open.include {
                fault = fault.related(span, "by way of this one");
            }
        }
        names.push(first);
        self.sink
            .report(fault.help(format!("the chain is {}", names.join(" -> "))));
    }

    /// Shows the includes that led to the file that is being read.
    fn with_chain(&self, fault: Diagnostic) -> Diagnostic {
        let chain = self.open.iter().filter_map(|open| open.include);
        chain.fold(fault, |fault, include| {
            fault.related(include, "by way of this one")
        })
    }

    fn name(&self, file: FileId) -> String {
        format!("`{}`", self.sources.file(file).name)
    }
}

/// The folder that the includes of the file at `path` start from.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A path as messages show it: on one line, and nothing that drives a terminal.
fn shown(path: &Path) -> String {
    let name = path.to_string_lossy();
    name.replace(char::is_control, "\u{FFFD}")
}
