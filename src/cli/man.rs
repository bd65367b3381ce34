//! `flbc man`

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::arguments::{EXAMPLES, EXIT_CODES};
use super::report::Report;
use super::{Exit, output};

/// The day of the release that the pages describe.
const DATE: &str = "2026-11-22";

/// Writes a page for `command` and one for each of its subcommands.
pub(super) fn run(command: Command, directory: &Path) -> Exit {
    let place = directory.to_string_lossy().into_owned();
    if let Err(error) = fs::create_dir_all(directory) {
        return Report::written(Err(error), &place);
    }
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut exit = Exit::Fine;
    for (name, page) in pages(&command) {
        let path = directory.join(format!("{name}.1"));
        let written = page.and_then(|page| output::to_file(&path, output::bytes(&page)));
        exit = exit.max(Report::written(written, &path.to_string_lossy()));
    }
    exit
}

fn pages(command: &Command) -> Vec<(String, io::Result<Vec<u8>>)> {
    let mut pages = vec![page(command.clone(), "flbc".to_owned())];
    let shown = |subcommand: &&Command| !subcommand.is_hide_set();
    for subcommand in command.get_subcommands().filter(shown) {
        let name = format!("flbc-{}", subcommand.get_name());
        pages.push(page(subcommand.clone(), name));
    }
    pages
}

fn page(command: Command, name: String) -> (String, io::Result<Vec<u8>>) {
    let is_whole = name == "flbc";
    let man = Man::new(command.name(name.clone()))
        .title(name.to_uppercase())
        .date(DATE)
        .manual("flbc manual")
        .source(concat!("flbc ", env!("CARGO_PKG_VERSION")));
    let rendered = render(&man, is_whole).map(|page| tidy(&page).into_bytes());
    (name, rendered)
}

fn render(man: &Man, is_whole: bool) -> io::Result<String> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if is_whole {
        man.render_subcommands_section(&mut page)?;
    }
    let mut page = String::from_utf8(page).map_err(io::Error::other)?;
    page += ".SH EXIT STATUS\n";
    let codes = EXIT_CODES.lines().filter_map(|line| {
        let (code, meaning) = line.trim_start().split_once("  ")?;
        Some(format!(".TP\n{code}\n{}\n", escaped(meaning)))
    });
    page.extend(codes);
    if is_whole {
        let commands = EXAMPLES.lines().filter(|line| line.starts_with("  "));
        page += ".SH EXAMPLES\n.nf\n";
        page.extend(commands.map(|command| escaped(command.trim_start()) + "\n"));
        page += ".fi\n";
    }
    page += ".SH SEE ALSO\n";
    page += if is_whole {
        ".BR flb (5),\n.BR nft (8)\n"
    } else {
        ".BR flbc (1),\n.BR flb (5),\n.BR nft (8)\n"
    };
    Ok(page)
}

/// A line of text as roff reads it.
fn escaped(text: &str) -> String {
    text.replace('-', "\\-")
}

/// The longest line of text that `mandoc -Tlint` is content with.
const LONGEST_LINE: usize = 80;

/// What `mandoc -Tlint` and `man --warnings` find nothing to complain of.
fn tidy(page: &str) -> String {
    // An empty line parts paragraphs; a break before and after it adds nothing.
    let page = page.replace(".br\n\n.br\n", ".sp\n");
    let mut tidy = String::with_capacity(page.len());
    for line in page.lines().map(str::trim_end) {
        // Every section is rendered with the definition of `Aq`; once is enough.
        let defines = line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
        if defines && tidy.contains(line) {
            continue;
        }
        if line.starts_with('.') {
            tidy += line;
        } else {
            fold(line, &mut tidy);
        }
        tidy.push('\n');
    }
    tidy
}

/// Breaks a line at its blanks; roff joins the pieces again.
fn fold(line: &str, to: &mut String) {
    let mut length = 0;
    for word in line.split_inclusive(' ') {
        // A dot or quote at its start would make a line a request.
        let is_text = !word.starts_with(['.', '\'']);
        if length + word.len() > LONGEST_LINE && is_text {
            to.truncate(to.trim_end().len());
            to.push('\n');
            length = 0;
        }
        to.push_str(word);
        length += word.len();
    }
}
