//! `flbc man`

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

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
    for subcommand in command.get_subcommands() {
        let name = format!("flbc-{}", subcommand.get_name());
        pages.push(page(subcommand.clone(), name));
    }
    pages
}

fn page(command: Command, name: String) -> (String, io::Result<Vec<u8>>) {
    let man = Man::new(command.name(name.clone()))
        .date(DATE)
        .manual("flbc manual")
        .source(concat!("flbc ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    let rendered = man.render(&mut page).map(|()| page);
    (name, rendered)
}
