//! `flbc real-server`

use std::net::IpAddr;
use std::path::Path;

use clap::ValueEnum;

use super::report::Report;
use super::{Exit, output};
use crate::diagnostic::{Diagnostics, escape};
use crate::real_server::{self, Needs, SetupQuestion};
use crate::source::Sources;

/// What `--format` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A script for POSIX sh, with `ip` and `nft`
    Sh,
    /// Rules for `nft -f` that need no address
    Nft,
    /// A script that writes files for systemd-networkd, which outlive a reboot
    Networkd,
}

/// What becomes of the words of the command line.
pub(super) struct Request<'a> {
    pub(super) format: Format,
    pub(super) question: SetupQuestion<'a>,
    pub(super) file: &'a Path,
}

/// Reads `--gateway`.
pub(super) fn gateway(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| "it is no IPv4 or IPv6 address".to_owned())?;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err("no machine can have this address".to_owned());
    }
    Ok(address)
}

pub(super) fn run(report: &Report, request: &Request<'_>) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match report.model(request.file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    // Its warnings.
    report.human(&sink, &sources);
    let needs = match Needs::of(&model, request.question) {
        Ok(needs) => needs,
        Err(unknown) => return Report::failure(&escape(&unknown.to_string())),
    };
    let text = match request.format {
        Format::Sh => real_server::sh(&needs),
        Format::Nft => real_server::nft(&needs),
        Format::Networkd => real_server::networkd(&needs),
    };
    let written = output::to_stdout(output::bytes(text.as_bytes()));
    Report::written(written, "standard output")
}
