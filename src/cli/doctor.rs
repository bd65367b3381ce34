//! `flbc doctor`

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{ValueEnum, builder::TypedValueParser};
use serde_json::json;

use super::report::Report;
use super::tables::{self, waiting};
use super::{Exit, output};
use crate::apply::{Failure, Tables, drifted};
use crate::diagnostic::{Diagnostics, argument, escape, escape_json};
use crate::doctor::{self, Facts, Finding, FindingCode};
use crate::explain::Location;
use crate::kernel::host::{self, Host};
use crate::kernel::neighbour;
use crate::kernel::{Kernel, KernelError, Linux, Reason, Refusal};
use crate::lower::layout::Layout;
use crate::model::{Model, Served};
use crate::operate::refused::option;
use crate::operate::{Earlier, Job, Refused, trial};
use crate::source::Sources;

/// So many findings of one kind are told one by one to people.
const TOLD: usize = 10;

/// How long a neighbour is waited for, and how often it is looked whether it answered.
const PATIENCE: Duration = Duration::from_millis(2500);
const PAUSE: Duration = Duration::from_millis(30);

/// So many neighbours are asked for: each takes room in the kernel's table.
const ASKED: usize = 1024;

/// What `--format` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One object
    Json,
}

/// Reads the name of a finding.
pub(super) fn code() -> impl TypedValueParser<Value = FindingCode> {
    let known = FindingCode::ALL.map(|code| PossibleValue::new(code.name()).help(code.meaning()));
    PossibleValuesParser::new(known).map(|name| {
        FindingCode::named(&name).unwrap_or_else(|| {
            impossible!("only names that are known come this far");
            FindingCode::NotApplied
        })
    })
}

/// What the kernel says of the rules.
enum Answer {
    /// It has what the file says, or would take it; what there is to say.
    Findings(Vec<Finding>),
    /// Nothing can be asked without privilege.
    Unprivileged,
    /// It could not be asked.
    Failed(Exit),
}

pub(super) fn run(
    report: &Report,
    format: Format,
    except: &[FindingCode],
    table: &str,
    file: &Path,
) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    let (effective, unread) = tables::held(table, &model);
    let holding = effective.model();
    let seen = host::look(&doctor::destinations(holding), &doctor::vips_of(holding));
    let examined = seen.and_then(|host| examined(holding, &host, table));
    let Examined {
        mut findings,
        mut lacking,
        mut after,
    } = match examined {
        Ok(examined) => examined,
        Err(error) => return Report::kernel(&error),
    };
    after.unseen.splice(..0, unread);
    let set = !effective.layers().is_empty();
    match asked(report, &model, table, file, &sources) {
        Answer::Findings(more) => findings.extend(more),
        Answer::Unprivileged => lacking = true,
        Answer::Failed(exit) => return exit,
    }
    for command in findings.iter_mut().flat_map(|finding| &mut finding.remedy) {
        *command = complete(command, table, set, file);
    }
    findings.retain(|finding| !except.contains(&finding.code));
    findings.sort_by_key(|finding| finding.code);
    let text = match format {
        Format::Human => human(&findings, lacking, &sources) + &after.human(file),
        Format::Json => as_json(&findings, lacking, &after, file, &sources),
    };
    let written = output::to_stdout(output::bytes(text.as_bytes()));
    let exit = if lacking {
        Report::failure(&format!(
            "{}, to look at neighbours and at chains of other programs, and to ask the kernel whether it takes the rules",
            KernelError::NoPrivilege
        ));
        Exit::Unprivileged
    } else if findings.iter().any(|finding| finding.mend) {
        Exit::Differs
    } else {
        Exit::Fine
    };
    exit.max(Report::written(written, "standard output"))
}

/// A command as it is to be run here: `flbc apply` names the tables that it is for, and ends nothing that was set.
fn complete(command: &str, table: &str, set: bool, file: &Path) -> String {
    let Some(rest) = command.strip_prefix("flbc apply ") else {
        return command.to_owned();
    };
    let table = if command.contains("--table") {
        String::new()
    } else {
        option(table)
    };
    let keep = if set && !command.contains("--keep") {
        " --keep"
    } else {
        ""
    };
    let file = file.to_string_lossy();
    let rest = match rest.strip_suffix("FILE") {
        Some(before) if file != "-" => format!("{before}{}", argument(&file)),
        Some(_) | None => rest.to_owned(),
    };
    format!("flbc apply{table}{keep} {rest}")
}

/// What was found on the machine.
struct Examined {
    findings: Vec<Finding>,
    /// Whether something could not be looked at for want of privilege.
    lacking: bool,
    after: After,
}

/// What cannot be seen from here.
struct After {
    /// What was not looked at.
    unseen: Vec<String>,
    /// The commands that write what servers need, without the file's name, and how many servers more there are.
    servers: (Vec<String>, usize),
}

impl After {
    /// The commands that write what servers need.
    fn commands(&self, file: &Path) -> impl Iterator<Item = String> {
        let file = file.to_string_lossy();
        // What was read from standard input cannot be read again.
        let named = if file == "-" {
            "FILE".to_owned()
        } else {
            argument(&file)
        };
        let commands = self.servers.0.iter();
        commands.map(move |command| format!("{command} {named}"))
    }

    /// The lines at the end.
    fn human(&self, file: &Path) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for what in &self.unseen {
            let _ = writeln!(text, "not looked at: {}", escape(what));
        }
        let (commands, mut more) = (self.commands(file), self.servers.1);
        let mut told = 0;
        for command in commands {
            if told == 0 {
                let _ = writeln!(text, "what to run on each server as root is written by:");
            }
            told += 1;
            if told > TOLD {
                more += 1;
            } else {
                let _ = writeln!(text, "    {}", escape(&command));
            }
        }
        if more > 0 {
            let _ = writeln!(text, "    and so on for {more} more");
        }
        text
    }
}

fn examined(model: &Model, host: &Host, table: &str) -> Result<Examined, KernelError> {
    let contacts: BTreeSet<_> = doctor::contacts(model, host)
        .into_iter()
        .take(ASKED)
        .collect();
    let unresolved = privileged(neighbour::unresolved(&contacts, waiting(PATIENCE, PAUSE)))?;
    let rules = Linux::open().and_then(|mut kernel| {
        let own = kernel.own_chains(table)?;
        Ok((kernel.foreign_chains(table)?, own))
    });
    let (foreign, own) = privileged(rules)?.unzip();
    let own = own.unwrap_or_default();
    let facts = Facts {
        host,
        unresolved: unresolved.as_ref(),
        foreign: foreign.as_deref(),
        layout: Layout::of_chains(own.iter().map(|name| &**name)),
    };
    Ok(Examined {
        findings: doctor::examine(model, &facts),
        lacking: unresolved.is_none() || foreign.is_none(),
        after: After {
            unseen: doctor::unseen(model, &facts, ASKED),
            servers: doctor::on_servers(model, host),
        },
    })
}

/// `None` where only the privilege is missing.
fn privileged<T>(result: Result<T, KernelError>) -> Result<Option<T>, KernelError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(KernelError::NoPrivilege) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets the kernel check what `flbc apply` would send it.
fn asked(report: &Report, model: &Model, table: &str, file: &Path, sources: &Sources) -> Answer {
    let mut tables = match tables::open_to_look(table) {
        Ok(tables) => tables,
        Err(error) => return unanswered(&error),
    };
    let ask = |tables: &mut Tables<Linux>| {
        let mut answer = asked_once(report, model, tables, file, sources);
        if let Answer::Findings(findings) = &mut answer {
            findings.extend(on_trial(tables));
        }
        Ok::<Answer, Infallible>(answer)
    };
    let is_well = |answer: &Answer| match answer {
        Answer::Findings(findings) => {
            let mut codes = findings.iter().map(|finding| finding.code);
            !codes.any(|code| code == FindingCode::NotInForce)
        }
        Answer::Unprivileged | Answer::Failed(_) => true,
    };
    match tables::settled(&mut tables, ask, is_well) {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// That a trial is open, in which the commands that are told are refused.
fn on_trial(tables: &mut Tables<Linux>) -> Option<Finding> {
    let notice = trial::notice(tables)?;
    let option = option(tables.name());
    let sentence = format!(
        "{notice}; until it ends `flbc apply`, `flbc set` and `flbc unload` are refused: `flbc confirm{option}` or `flbc try --back{option}` ends it"
    );
    let remedy = format!("flbc status{option}");
    Some(Finding::new(FindingCode::OnTrial, sentence, remedy))
}

fn asked_once(
    report: &Report,
    model: &Model,
    tables: &mut Tables<Linux>,
    file: &Path,
    sources: &Sources,
) -> Answer {
    let mut sink = Diagnostics::new();
    let job = Job::new(tables, model.clone(), Earlier::Kept, None, &mut sink);
    let checked = job.and_then(|job| Ok((job.check(tables, &mut sink)?, job)));
    let failure = match checked {
        Ok((applied, job)) => {
            let remedy = format!("flbc apply {}", argument(&file.to_string_lossy()));
            let mut findings = match not_in_force(tables, &remedy) {
                Ok(findings) => findings,
                Err(error) => return unanswered(&error),
            };
            if findings.is_empty() && applied.totals.is_empty() {
                return passing_by(&mut tables.kernel, job.model());
            }
            if !applied.totals.is_empty() {
                let sentence = "the kernel has not what the file says; it would take it";
                // A file that is yet to be applied is not amiss.
                findings.push(Finding::new(
                    FindingCode::NotApplied,
                    sentence.to_owned(),
                    remedy,
                ));
            }
            return Answer::Findings(findings);
        }
        Err(Refused::Failed(failure)) => failure,
        Err(refused) => return Answer::Failed(report.refused(&refused, sink, sources)),
    };
    match failure {
        // Found before, as an interface that is not there.
        Failure::Interfaces(_) => Answer::Findings(Vec::new()),
        Failure::Kernel(KernelError::Refused(refusals)) => {
            Answer::Findings(refusals.iter().map(|one| refused(one, file)).collect())
        }
        Failure::Kernel(error @ KernelError::NoRoom { setting, .. }) => {
            Answer::Findings(vec![Finding::new(
                FindingCode::KernelRefuses,
                error.to_string(),
                format!("sysctl -w net.core.wmem_max={setting}"),
            )])
        }
        Failure::Kernel(error) => unanswered(&error),
        Failure::Claimed(claimed) => Answer::Findings(
            claimed
                .iter()
                .map(|one| doctor::claimed(&one.vip, &one.by, &one.table))
                .collect(),
        ),
        told @ Failure::Strange { .. } => {
            let remedy = "nft list ruleset".to_owned();
            let code = FindingCode::StrangeTable;
            Answer::Findings(vec![Finding::new(code, told.to_string(), remedy)])
        }
        told @ (Failure::Numbers | Failure::Crowded) => {
            let refused = Refused::Failed(told);
            Answer::Failed(report.refused(&refused, sink, sources))
        }
    }
}

/// Why the kernel has not what was applied.
fn not_in_force(tables: &mut Tables<Linux>, remedy: &str) -> Result<Vec<Finding>, KernelError> {
    let look = tables.look()?;
    let mut reasons: Vec<String> = look.gaps.iter().map(ToString::to_string).collect();
    reasons.extend(drifted(&look.drift, ""));
    let findings = reasons
        .into_iter()
        .map(|reason| Finding::new(FindingCode::NotInForce, reason, remedy));
    Ok(findings.collect())
}

/// What connection tracking follows and nat should balance.
fn passing_by(kernel: &mut Linux, model: &Model) -> Answer {
    if Served::by_nat(model).is_empty() {
        return Answer::Findings(Vec::new());
    }
    match kernel.untranslated(None) {
        Ok(flows) => Answer::Findings(doctor::older(model, &flows)),
        Err(error) => unanswered(&error),
    }
}

fn unanswered(error: &KernelError) -> Answer {
    match error {
        KernelError::NoPrivilege => Answer::Unprivileged,
        error => Answer::Failed(Report::kernel(error)),
    }
}

/// Something that the kernel does not take.
fn refused(refusal: &Refusal, file: &Path) -> Finding {
    let remedy = match &refusal.reason {
        Reason::NoModule(module) => format!("modprobe {module}"),
        Reason::Owned => "nft list tables".to_owned(),
        _ => format!("flbc apply --dry-run {}", argument(&file.to_string_lossy())),
    };
    let sentence = format!("the kernel cannot {}: {}", refusal.what, refusal.reason);
    let finding = Finding::new(FindingCode::KernelRefuses, sentence, remedy);
    match refusal.origin {
        Some(origin) => finding.at(origin),
        None => finding,
    }
}

fn human(findings: &[Finding], lacking: bool, sources: &Sources) -> String {
    let mut text = String::new();
    let mut kinds: BTreeMap<FindingCode, usize> = BTreeMap::new();
    let mut untold = 0;
    for finding in findings {
        let count = kinds.entry(finding.code).or_default();
        *count += 1;
        if *count > TOLD {
            untold += 1;
            continue;
        }
        let weight = if finding.mend { "error" } else { "note" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{weight}[{}]: {}",
            finding.code,
            escape(&finding.sentence)
        );
        if let Some(origin) = finding.origin {
            let place = Location(sources, origin).to_string();
            let _ = writeln!(text, "    at   {}", escape(&place));
        }
        for command in &finding.remedy {
            let _ = writeln!(text, "    run  {}", escape(command));
        }
    }
    if untold > 0 {
        let _ = writeln!(
            text,
            "and {untold} more of the same kinds: `--format json` tells all"
        );
    }
    let to_mend = findings.iter().filter(|finding| finding.mend).count();
    let _ = match to_mend {
        0 if lacking => writeln!(text, "all well as far as could be seen"),
        // Nothing stands in its way, but it is not there.
        0 if findings
            .iter()
            .any(|one| one.code == FindingCode::NotApplied) =>
        {
            writeln!(text, "nothing stops it from working once it is applied")
        }
        0 => writeln!(text, "all well"),
        1 => writeln!(text, "1 thing to mend"),
        many => writeln!(text, "{many} things to mend"),
    };
    text
}

fn as_json(
    findings: &[Finding],
    lacking: bool,
    after: &After,
    file: &Path,
    sources: &Sources,
) -> String {
    let all: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code.name(),
                "mend": finding.mend,
                "sentence": finding.sentence,
                "remedy": finding.remedy,
                "declared": finding.origin.map(|origin| Location(sources, origin).to_string()),
            })
        })
        .collect();
    let well = !lacking && findings.iter().all(|finding| !finding.mend);
    let value = json!({
        "well": well,
        "complete": !lacking,
        "findings": all,
        "unseen": after.unseen,
        "servers": after.commands(file).collect::<Vec<_>>(),
    });
    format!("{}\n", escape_json(&format!("{value:#}")))
}
