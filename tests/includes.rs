//! Files that include files.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flbc::diagnostic::Diagnostics;
use flbc::source::Sources;
use flbc::syntax::tree::{Item, Tree};
use flbc::syntax::{Input, parse_program};
use tempfile::TempDir;

/// A folder with files, of which `main.flb` is read.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// The constants that were defined, in the order in which they count, and the faults as
    /// `FILE:LINE:COLUMN CODE MESSAGE`, without the folder.
    fn read(&self) -> (String, Vec<String>) {
        self.read_input(Input::Path(self.path().join("main.flb")))
    }

    fn read_input(&self, input: Input) -> (String, Vec<String>) {
        let mut sources = Sources::new();
        let mut sink = Diagnostics::new();
        let tree = parse_program(input, &mut sources, &mut sink);
        let mut constants = Vec::new();
        if let Some(tree) = &tree {
            collect(tree, &sources, &mut constants);
        }
        let folder = format!("{}/", self.path().display());
        let faults = sink.sorted().into_iter().map(|fault| {
            let place = fault.span.map_or("-".into(), |span| {
                let place = sources.place(span);
                let name = &sources.file(span.file).name;
                format!("{name}:{}:{}", place.line, place.column)
            });
            let related = fault.related.iter().map(|(span, label)| {
                let name = &sources.file(span.file).name;
                format!(" ({label}: {name}:{})", sources.place(*span).line)
            });
            let related: String = related.collect();
            format!("{place} {} {}{related}", fault.code, fault.message).replace(&folder, "")
        });
        let faults = faults.collect();
        (constants.join(" "), faults)
    }

    #[track_caller]
    fn reads(&self, constants: &str) {
        assert_eq!(self.read(), (constants.into(), vec![]));
    }

    #[track_caller]
    fn fails(&self, fault: &str) {
        assert_eq!(self.read().1, [fault]);
    }
}

fn collect(tree: &Tree, sources: &Sources, constants: &mut Vec<String>) {
    for item in &tree.items {
        match item {
            Item::Define(define) => constants.push(sources.text(define.name.span).into()),
            Item::Include(include) => {
                for tree in &include.trees {
                    collect(tree, sources, constants);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_file_is_read_where_its_include_stands_from_the_including_folder() {
    Folder::new(&[
        (
            "main.flb",
            "define a = 1\ninclude \"sub/b.flb\"\ndefine d = 1\n",
        ),
        ("sub/b.flb", "define b = 1\ninclude \"c.flb\"\n"),
        ("sub/c.flb", "define c = 1\n"),
        ("c.flb", "define wrong = 1\n"),
    ])
    .reads("a b c d");
}

#[test]
fn a_glob_reads_its_matches_in_byte_order() {
    Folder::new(&[
        ("main.flb", "include \"conf.d/*.flb\"\n"),
        ("conf.d/b.flb", "define b = 1\n"),
        ("conf.d/B.flb", "define B = 1\n"),
        ("conf.d/a-1.flb", "define a-1 = 1\n"),
        ("conf.d/a.flb", "define a = 1\n"),
        ("conf.d/ä.flb", "define ä = 1\n"),
        ("conf.d/.hidden.flb", "define hidden = 1\n"),
        ("conf.d/a.flb.bak", "define bak = 1\n"),
        ("conf.d/deep/x.flb", "define x = 1\n"),
    ])
    .reads("B a-1 a b ä");
}

#[test]
fn a_glob_may_match_nothing_and_leaves_out_its_own_file() {
    Folder::new(&[(
        "main.flb",
        "include \"none/*.flb\"\ninclude \"x*\"\ndefine a = 1\n",
    )])
    .reads("a");
    let folder = Folder::new(&[
        ("main.flb", "include \"*.flb\"\n"),
        ("other.flb", "define other = 1\n"),
    ]);
    folder.reads("other");
    // By another name it is the same file still.
    symlink("main.flb", folder.path().join("link.flb")).unwrap();
    folder.reads("other");
}

#[test]
fn folders_can_be_matched_too() {
    Folder::new(&[
        ("main.flb", "include \"*/lb.flb\"\n"),
        ("b/lb.flb", "define b = 1\n"),
        ("a/lb.flb", "define a = 1\n"),
        ("c/other.flb", "define c = 1\n"),
    ])
    .reads("a b");
}

#[test]
fn the_folder_of_a_file_is_no_part_of_the_glob() {
    let folder = Folder::new(&[
        ("main.flb", "include \"[x]*/main.flb\"\n"),
        ("[x]*/main.flb", "define wrong = 1\n"),
        ("x1/main.flb", "include \"c.?\"\n"),
        ("x1/c.d", "define right = 1\n"),
    ]);
    folder.reads("right");
    let odd = Folder::new(&[
        ("[x]/sub.flb", "include \"*.inc\"\n"),
        ("[x]/a.inc", "define a = 1\n"),
        ("x/a.inc", "define wrong = 1\n"),
        ("main.flb", "include \"[[]x]/sub.flb\"\n"),
    ]);
    odd.reads("a");
}

#[test]
fn names_that_are_not_utf8_do_no_harm() {
    let folder = Folder::new(&[("main.flb", "include \"conf.d/*\"\n")]);
    let name = std::ffi::OsString::from_vec(b"conf.d/\xFF\x1B.flb".to_vec());
    folder.write(name, b"define odd = 1\n");
    folder.reads("odd");
}

#[test]
fn a_plain_path_must_exist() {
    Folder::new(&[("main.flb", "include \"no.flb\"\n")])
        .fails("main.flb:1:9 unreadable-file `no.flb` cannot be read: there is no such file");
}

#[test]
fn a_cycle_shows_its_chain() {
    Folder::new(&[("main.flb", "include \"./main.flb\"\n")])
        .fails("main.flb:1:9 include-cycle `main.flb` includes itself");
    Folder::new(&[
        ("main.flb", "include \"a.flb\"\n"),
        ("a.flb", "include \"b.flb\"\n"),
        ("b.flb", "\ninclude \"a.flb\"\n"),
    ])
    .fails("b.flb:2:9 include-cycle `a.flb` includes itself, through `b.flb` (by way of this one: a.flb:1)");
}

#[test]
fn a_file_is_included_once() {
    let folder = Folder::new(&[
        ("main.flb", "include \"a.flb\"\ninclude \"b.flb\"\n"),
        ("a.flb", "define a = 1\n"),
        ("b.flb", "include \"link.flb\"\n"),
    ]);
    symlink("a.flb", folder.path().join("link.flb")).unwrap();
    folder.fails(
        "b.flb:1:9 included-twice `link.flb` is included twice (first included here: main.flb:1) (by way of this one: main.flb:2)",
    );
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = Folder::new(&[(
        "main.flb",
        "include \"sub\"\ninclude \"pipe\"\ninclude \"/dev/zero\"\ninclude \"loop\"\ninclude \"main.flb/x\"\n",
    )]);
    fs::create_dir(folder.path().join("sub")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    assert_eq!(
        folder.read().1,
        [
            "main.flb:1:9 unreadable-file `sub` is a folder, not a regular file",
            "main.flb:2:9 unreadable-file `pipe` is a pipe, not a regular file",
            "main.flb:3:9 unreadable-file `/dev/zero` is a device, not a regular file",
            "main.flb:4:9 unreadable-file `loop` cannot be read: its symbolic links lead in a circle",
            "main.flb:5:9 unreadable-file `main.flb/x` cannot be read: not a directory",
        ]
    );
}

#[test]
fn an_included_file_that_everybody_may_write_is_refused() {
    let folder = Folder::new(&[("main.flb", "include \"a.flb\"\n"), ("a.flb", "")]);
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(folder.path().join("main.flb"), open.clone()).unwrap();
    folder.reads("");
    fs::set_permissions(folder.path().join("a.flb"), open).unwrap();
    folder.fails("main.flb:1:9 world-writable `a.flb` is not read, as everybody may write it");
}

#[test]
fn bytes_that_are_not_utf8_are_shown_in_their_place() {
    let folder = Folder::new(&[("main.flb", "include \"a.flb\"\n")]);
    folder.write(
        "a.flb",
        b"define a = 1\ndefine \xC3\xA4\xFF = 1\nservice {\n",
    );
    folder.fails(
        "a.flb:2:9 not-utf8 `a.flb` is not UTF-8 text: the byte 0xFF is part of no character (included here: main.flb:1)",
    );
    folder.write("main.flb", b"\xFE\xFF\x00a");
    folder.fails(
        "main.flb:1:1 not-utf8 `main.flb` is not UTF-8 text: the byte 0xFE is part of no character",
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = Folder::new(&[("main.flb", "include \"a.flb\"\n"), ("a.flb", "")]);
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("a.flb"))
        .unwrap();
    file.set_len(flbc::source::MAX_FILE_BYTES + 1).unwrap();
    folder.fails("main.flb:1:9 file-too-large `a.flb` is larger than 256 MiB");
}

#[test]
fn paths_that_name_nothing_are_refused() {
    let folder = Folder::new(&[(
        "main.flb",
        "include \"\"\ninclude \"**/a\"\ninclude \"[a\"\ninclude \"a\u{7}\"\n",
    )]);
    let faults = folder.read().1;
    let start: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        start,
        [
            "main.flb:1:9 bad-include",
            "main.flb:2:9 bad-include",
            "main.flb:3:9 bad-include",
            "main.flb:4:11 bad-character",
        ]
    );
}

#[test]
fn a_long_chain_of_includes_ends() {
    let folder = Folder::new(&[("main.flb", "include \"1.flb\"\n")]);
    for number in 1..200 {
        let text = format!("include \"{}.flb\"\n", number + 1);
        folder.write(format!("{number}.flb"), text.as_bytes());
    }
    folder.fails("64.flb:1:9 bad-include More than 64 files include each other in a row");
}

#[test]
fn the_first_file_has_no_place_if_it_cannot_be_read() {
    let folder = Folder::new(&[]);
    folder.fails("- unreadable-file `main.flb` cannot be read: there is no such file");
    assert_eq!(
        folder.read_input(Input::Path(folder.path())).1,
        [format!(
            "- unreadable-file `{}` is a folder, not a regular file",
            folder.path().display()
        )]
    );
}

#[test]
fn standard_input_includes_from_the_working_directory() {
    // Tests run in the folder of Cargo.toml.
    let folder = Folder::new(&[]);
    let stdin = b"include \"no/such.flb\"\ninclude \"src/*.nothing\"\n".to_vec();
    assert_eq!(
        folder.read_input(Input::Stdin(stdin)).1,
        ["<stdin>:1:9 unreadable-file `no/such.flb` cannot be read: there is no such file"]
    );
    assert_eq!(
        folder.read_input(Input::Stdin(b"\xFF".to_vec())).1,
        ["<stdin>:1:1 not-utf8 `<stdin>` is not UTF-8 text: the byte 0xFF is part of no character"]
    );
}

/// A folder that holds itself under two names has no end, as a whole disk has hardly one.
#[test]
fn a_pattern_does_not_walk_for_ever() {
    let folder = Folder::new(&[("main.flb", "")]);
    for name in ["a", "b"] {
        symlink(".", folder.path().join(name)).unwrap();
    }
    for (levels, is_refused) in [(8, false), (40, true)] {
        let pattern = format!("{}none.flb", "*/".repeat(levels));
        folder.write("main.flb", format!("include \"{pattern}\"\n").as_bytes());
        let (_, faults) = folder.read();
        if is_refused {
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(
                faults[0].contains("would look at more than 100000 files and folders"),
                "{faults:?}"
            );
        } else {
            assert!(faults.is_empty(), "{faults:?}");
        }
    }
}
