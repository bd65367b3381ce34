//! `flbc explain`

mod now;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use now::Now;

use super::report::Report;
use super::{Exit, output, tables};
use crate::diagnostic::{Diagnostics, escape, escape_json};
use crate::explain::{Chosen, Explanation, Location, Question, lines, short};
use crate::kernel::KernelError;
use crate::model::{Effective, Family, Mark, Protocol, RealServer, Standing};
use crate::schedule;
use crate::source::Sources;

/// What `--format` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One object
    Json,
}

/// What `--protocol` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
            Transport::Sctp => Self::Sctp,
        }
    }
}

/// Reads an address with a port.
pub(super) fn endpoint(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("a port is missing: write `[{text}]:80`")
        } else if text.parse::<std::net::IpAddr>().is_ok() {
            format!("a port is missing: write `{text}:80`")
        } else {
            "write an address and a port: `192.0.2.10:80`, `[2001:db8::10]:80`".to_owned()
        }
    })
}

pub(super) fn run(
    report: &Report,
    format: Format,
    live: Option<&str>,
    question: Question,
    file: &Path,
) -> Exit {
    if Family::of(question.from.ip()) != Family::of(question.to.ip()) {
        return Report::failure("the client and what it connects to are not of the same family");
    }
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    // A question about the file alone is answered by the file alone.
    let held = live.map(|table| tables::held(table, &model));
    let (effective, unread) = held.unzip();
    if let Some(unread) = unread.flatten() {
        Report::warning(&format!("not looked at: {unread}"));
    }
    let model = effective.as_ref().map_or(&model, Effective::model);
    // Warnings are for who checks the file.
    let plan = schedule::schedule(model, &mut sink);
    let explanation = Explanation::of(model, &plan, question);
    let set = effective
        .as_ref()
        .map_or_else(Vec::new, |effective| set_beside(effective, &explanation));
    let now = live.map(|table| Now::of(&explanation, question, table));
    let now = match now.transpose() {
        Ok(now) => now,
        Err(error) => {
            Report::failure(&error.to_string());
            return match error {
                KernelError::NoPrivilege => Exit::Unprivileged,
                _ => Exit::Refused,
            };
        }
    };
    let text = match format {
        Format::Human => human(&explanation, question, &set, now.as_ref(), &sources),
        Format::Json => as_json(&explanation, question, &set, now.as_ref(), &sources),
    };
    let passes_by = now.as_ref().is_some_and(Now::passes_by);
    let is_amiss = now.as_ref().is_some_and(Now::is_amiss);
    let exit = if passes_by || is_amiss {
        Exit::Differs
    } else if explanation.is_answered() || now.is_some_and(|now| now.knows()) {
        Exit::Fine
    } else {
        Exit::Differs
    };
    let written = output::to_stdout(output::bytes(text.as_bytes()));
    exit.max(Report::written(written, "standard output"))
}

/// A server by its name, and what is said of it beside the file.
type Beside<'a> = (&'a str, &'a Mark);

/// The servers of the service that something was set on.
fn set_beside<'a>(effective: &'a Effective, explanation: &Explanation<'_>) -> Vec<Beside<'a>> {
    let Explanation::Found(found) = explanation else {
        return Vec::new();
    };
    let model = effective.model();
    let marks = effective.marks().iter();
    let of_service = marks.filter(|(key, _)| {
        let mut users = model.users(&key.place);
        users.any(|service| service.name == found.service.name)
    });
    of_service.map(|(key, mark)| (&*key.server, mark)).collect()
}

fn human(
    explanation: &Explanation<'_>,
    question: Question,
    set: &[Beside<'_>],
    now: Option<&Now>,
    sources: &Sources,
) -> String {
    let mut text = format!("{}\n\n", short(question));
    let mut all = lines(explanation, question, sources);
    let words = set.iter().map(|(name, mark)| {
        format!(
            "{name}: {}, beside the file, which says {}",
            mark.now, mark.file
        )
    });
    all.extend(words.map(|words| ("set", words)));
    all.extend(
        now.into_iter()
            .flat_map(Now::lines)
            .map(|words| ("now", words)),
    );
    for (label, words) in all {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<10}{}", escape(&words));
    }
    text
}

fn as_json(
    explanation: &Explanation<'_>,
    question: Question,
    set: &[Beside<'_>],
    now: Option<&Now>,
    sources: &Sources,
) -> String {
    let server = |server: &RealServer| {
        json!({
            "name": &*server.name,
            "address": server.address,
            "port": server.port,
            "weight": server.weight,
            "declared": Location(sources, server.span).to_string(),
        })
    };
    let mut value = json!({
        "from": question.from,
        "to": question.to,
        "protocol": question.protocol.name(),
        "answered": explanation.is_answered(),
        "server": explanation.server().map(server),
        "steps": lines(explanation, question, sources)
            .into_iter()
            .map(|(label, words)| json!({ "step": label, "words": words }))
            .collect::<Vec<_>>(),
    });
    let mut say = |key: &str, fact: Value| {
        if let Value::Object(object) = &mut value {
            object.insert(key.to_owned(), fact);
        }
    };
    if let Explanation::Found(found) = explanation {
        say("service", json!(&*found.service.name));
        say(
            "matches",
            json!({
                "vip": found.vip.to_string(),
                "declared": Location(sources, found.vip.span).to_string(),
            }),
        );
        say("admitted", json!(found.access.admits()));
        match &found.choice {
            Chosen::Hashed(hashed) => say(
                "hash",
                json!({
                    "key": hashed.bytes,
                    "seed": hashed.seed,
                    "hash": hashed.hash,
                    "slots": hashed.slots,
                    "slot": hashed.slot,
                }),
            ),
            Chosen::Drawn { shares, slots, .. } => {
                let shares = shares
                    .iter()
                    .map(|(owner, own)| json!({ "server": server(owner), "slots": own }));
                say(
                    "shares",
                    json!({ "slots": slots, "servers": shares.collect::<Vec<_>>() }),
                );
            }
            Chosen::Only(_) | Chosen::Refused(..) => {}
        }
    }
    if now.is_some() {
        let stands = |standing: Standing| json!({ "state": standing.state.to_string(), "weight": standing.weight });
        let all = set.iter().map(|(name, mark)| {
            json!({ "server": name, "now": stands(mark.now), "file": stands(mark.file) })
        });
        say("set", all.collect());
    }
    if let Some(now) = now {
        say("now", now.json());
    }
    format!("{}\n", escape_json(&format!("{value:#}")))
}
