//! The operator's commands. Flags are defined here once; help, man pages and completions follow.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::diagnostic;
pub use crate::diagnostic::Exit;
use crate::real_server::SetupQuestion;

mod against;
mod apply;
mod arguments;
mod check;
mod compile;
mod daemon;
mod diff;
mod doctor;
mod explain;
mod fmt;
mod man;
mod mark_shift;
mod notes;
mod output;
mod real_server;
mod report;
mod run;
mod set;
mod status;
mod tables;
mod trial;

use arguments::{Arguments, Color, Command};

/// Parses the arguments of this program, runs the command, and says how to exit. `closed`: nobody gave it a standard output.
pub fn run(closed: bool) -> ExitCode {
    output::begin(closed);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_run(&without_dangerous_tip(error)).into(),
    };
    let report = report::Report::new(arguments.color);
    dispatch(arguments.command, &report).into()
}

#[expect(clippy::too_many_lines, reason = "one arm for each command")]
fn dispatch(command: Command, report: &report::Report) -> Exit {
    match command {
        Command::Compile {
            format,
            output,
            table,
            mark_shift,
            file,
        } => {
            let naming = (&*table, mark_shift);
            compile::run(report, format, output.as_deref(), naming, &file)
        }
        Command::Apply {
            against: Some(rules),
            allow_empty,
            table,
            mark_shift,
            file,
            ..
        } => against::run(report, (&table, mark_shift), &rules, &file, allow_empty),
        Command::Apply {
            dry_run,
            against: None,
            keep,
            timing,
            allow_empty,
            force,
            table,
            mark_shift,
            file,
        } => {
            let how = apply::How {
                dry_run,
                keep,
                timing,
                allow_empty,
                force,
            };
            apply::run(report, how, (&table, mark_shift), &file)
        }
        Command::Set {
            service,
            server,
            what,
            weight,
            file,
            table,
        } => match what.wish(weight) {
            Ok(wish) => set::run(report, (&service, &server), wish, &table, file.as_deref()),
            Err(wrong) => report::Report::failure(wrong),
        },
        Command::Try {
            timeout,
            back,
            allow_empty,
            table,
            mark_shift,
            file,
        } => match file {
            Some(file) if !back => {
                let how = trial::How {
                    timeout,
                    allow_empty,
                };
                trial::run(report, how, (&table, mark_shift), &file)
            }
            _ => trial::back(report, &table),
        },
        Command::Run {
            follow,
            table,
            mark_shift: layout,
            file,
        } => run::run(run::How { follow, layout }, &table, &file),
        Command::Reload { table } => daemon::reload(report, &table),
        Command::Events {
            follow,
            format,
            table,
        } => daemon::events(format, follow, &table),
        Command::Confirm { table } => trial::confirm(report, &table),
        Command::WatchTrial { table } => trial::watch(&table),
        Command::Diff { old, new } => diff::run(report, &old, &new),
        Command::Status {
            format,
            json,
            watch,
            table,
        } => {
            let format = if json { status::Format::Json } else { format };
            status::run(format, watch, &table)
        }
        Command::Unload { force, table } => apply::unload(report, &table, force),
        Command::Explain {
            from,
            to,
            protocol,
            live,
            table,
            format,
            file,
        } => {
            let question = crate::explain::Question {
                from,
                to,
                protocol: protocol.into(),
            };
            explain::run(report, format, live.then_some(&*table), question, &file)
        }
        Command::Doctor {
            except,
            format,
            table,
            file,
        } => doctor::run(report, format, &except, &table, &file),
        Command::RealServer {
            servers,
            service,
            gateways,
            format,
            label,
            file,
        } => {
            let question = SetupQuestion {
                servers: &servers,
                service: service.as_deref(),
                gateways: &gateways,
                label: &label,
            };
            let request = real_server::Request {
                format,
                question,
                file: &file,
            };
            real_server::run(report, &request)
        }
        Command::Check { format, files } => check::run(report, format, &files),
        Command::Fmt { check, files } => fmt::run(report, check, &files),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "flbc", &mut script);
            report::Report::written(output::to_stdout(output::bytes(&script)), "standard output")
        }
        Command::Man { directory } => man::run(Arguments::command(), &directory),
    }
}

/// Takes back the tip to run what removes rules, unless one letter is all that is wrong: `reload` is not `unload`.
fn without_dangerous_tip(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue};
    const DESTRUCTIVE: &[&str] = &["unload"];
    let written = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(written)) => written.clone(),
        _ => return error,
    };
    let is_harmless = |tip: &String| {
        !DESTRUCTIVE.contains(&tip.as_str()) || diagnostic::is_one_slip(&written, tip)
    };
    match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(mut tips)) => {
            tips.retain(is_harmless);
            if !tips.is_empty() {
                error.insert(
                    ContextKind::SuggestedSubcommand,
                    ContextValue::Strings(tips),
                );
            }
        }
        Some(ContextValue::String(tip)) if is_harmless(&tip) => {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(tip));
        }
        _ => {}
    }
    error
}

/// Help and version, which clap tells as errors, and wrong usage.
fn not_run(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        // clap repeats what it was given, and a terminal would obey it.
        let is_safe = |argument: std::ffi::OsString| {
            !argument
                .to_string_lossy()
                .contains(diagnostic::is_treacherous)
        };
        if std::env::args_os().all(is_safe) {
            let _ = error.print();
        } else {
            let text = error.to_string();
            let lines: Vec<_> = text.lines().map(diagnostic::escape).collect();
            report::Report::print(&(lines.join("\n") + "\n"));
        }
        return Exit::Bad;
    }
    match output::if_open().and_then(|()| error.print()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            report::Report::written(Err(error), "standard output")
        }
        _ => Exit::Fine,
    }
}
