//! `server`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::reader::{Reader, Value};
use super::statement::mode::read_via;
use super::values::{
    Pattern, address_pattern, decimal, endpoint, impossible_server, mac, name, name_pattern,
};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{MacAddress, RealServer, State, Via};
use crate::source::Span;
use crate::syntax::tree::{ServerDecl, ServerOption};

/// Reads a `server` and gives its servers to `take`. Returns whether all of it could be read.
pub(super) fn read_server(
    decl: &ServerDecl,
    span: Span,
    reader: &mut Reader<'_>,
    mut take: impl FnMut(RealServer),
) -> bool {
    let options = Options::read(&decl.options, reader);
    let name = match decl.name {
        None => None,
        Some(word) => match reader.one(word) {
            None => return false,
            name => name,
        },
    };
    let Some(address) = reader.one(decl.address) else {
        return false;
    };
    let Some(patterns) = read_patterns(name, address, reader) else {
        return false;
    };
    let mut complete = !options.damaged;
    let mut add = |name: Option<&str>, address: Value<'_>, text: &str, reader: &mut Reader<'_>| {
        let server = one_server(name, address, text, &options, span, reader);
        complete &= server.is_some();
        server.map(&mut take).is_some()
    };
    match patterns {
        (None, None) => {
            if let Some(fault) = name.and_then(|name| port_apart(name, address)) {
                reader.report(fault);
                return false;
            }
            let name = match name {
                None => None,
                Some(value) => match checked_name(value, value.text, reader) {
                    None => return false,
                    name => name,
                },
            };
            add(name, address, address.text, reader);
        }
        (None, Some(addresses)) => {
            for text in addresses.texts() {
                if !add(None, address, &text, reader) {
                    break;
                }
            }
        }
        (Some(names), Some(addresses)) => {
            let Some(value) = name else {
                impossible!("a range of names was read from a name");
                return false;
            };
            for (name, text) in names.texts().zip(addresses.texts()) {
                let is_name = checked_name(value, &name, reader).is_some();
                if !is_name || !add(Some(&name), address, &text, reader) {
                    return false;
                }
            }
        }
        (Some(_), None) => {
            impossible!("`read_patterns` refuses a range of names before one address");
            return false;
        }
    }
    complete
}

/// That a constant which holds an address stands in the place of the name, and a port behind it: `server $web1 8080`.
fn port_apart(name: Value<'_>, address: Value<'_>) -> Option<Diagnostic> {
    name.used?;
    let of = endpoint(name.text).ok()?.address;
    let port: u16 = address.text.parse().ok()?;
    let place = name.place().to(address.place());
    let message = "A constant of a server holds its port as well";
    let whole = SocketAddr::new(of, port);
    let help = format!("give the constant the value {whole}, and leave {port} out here");
    Some(Diagnostic::new(Code::BadStatement, place, message).help(help))
}

type Patterns<'a> = (Option<Pattern<'a>>, Option<Pattern<'a>>);

/// The ranges in name and address, if they fit together.
fn read_patterns<'a>(
    name: Option<Value<'a>>,
    address: Value<'a>,
    reader: &mut Reader<'_>,
) -> Option<Patterns<'a>> {
    let mut read = |value: Value<'a>, parse: fn(&'a str) -> _| match parse(value.text) {
        Ok(pattern) => Some(pattern),
        Err(wrong) => {
            reader.refuse(value, wrong);
            None
        }
    };
    let of_name = match name {
        None => Some(None),
        Some(name) => read(name, name_pattern),
    };
    let of_address = read(address, address_pattern);
    let patterns = (of_name?, of_address?);
    let message = match (&patterns, name) {
        ((Some(names), Some(addresses)), _) if names.count() != addresses.count() => format!(
            "{} names stand before {} addresses",
            names.count(),
            addresses.count()
        ),
        ((Some(names), None), _) => format!("{} names stand before one address", names.count()),
        ((None, Some(addresses)), Some(_)) => {
            format!("One name stands before {} addresses", addresses.count())
        }
        _ => return Some(patterns),
    };
    let place = name.unwrap_or(address).place().to(address.place());
    let fault = Diagnostic::new(Code::BadServerRange, place, message).help(
        "give both a range of the same length, such as web[1-3] 10.20.0.[11-13], or leave the name out",
    );
    reader.report(fault);
    None
}

fn checked_name<'n>(value: Value<'_>, text: &'n str, reader: &mut Reader<'_>) -> Option<&'n str> {
    match name(text) {
        Ok(name) => Some(name),
        Err(wrong) => {
            reader.refuse(value, wrong);
            None
        }
    }
}

fn one_server(
    name: Option<&str>,
    address: Value<'_>,
    text: &str,
    options: &Options,
    span: Span,
    reader: &mut Reader<'_>,
) -> Option<RealServer> {
    let endpoint = match endpoint(text) {
        Ok(endpoint) => endpoint,
        Err(wrong) => {
            reader.refuse(address, wrong);
            return None;
        }
    };
    if let Some((why, help)) = impossible_server(endpoint.address) {
        let message = format!("{} cannot be a real server: it {why}", quote(text));
        let mut fault = Diagnostic::new(Code::ImpossibleServer, address.place(), message);
        fault.help = help;
        reader.report(fault);
        return None;
    }
    if let Some((before, port)) = endpoint.misread {
        let message = format!(
            "{} is an address without a port, and reads like port {port}",
            quote(text)
        );
        let fault = Diagnostic::new(Code::PortLikeAddress, address.written, message).help(format!(
            "write [{before}]:{port} for the port, [{text}] for the address"
        ));
        reader.report_once(fault);
    }
    Some(RealServer {
        name: Arc::from(name.unwrap_or(text)),
        address: endpoint.address,
        port: endpoint.port,
        weight: options.weight,
        state: options.state,
        file_weight: options.weight,
        reserve: options.reserve,
        mac: options.mac,
        via: options.via.clone(),
        span,
    })
}

/// What stands after the address.
#[derive(Debug)]
struct Options {
    weight: u16,
    state: State,
    reserve: bool,
    mac: Option<MacAddress>,
    via: Option<Via>,
    damaged: bool,
}

impl Options {
    fn read(options: &[ServerOption], reader: &mut Reader<'_>) -> Self {
        let mut read = Self {
            weight: 1,
            state: State::Up,
            reserve: false,
            mac: None,
            via: None,
            damaged: false,
        };
        for (at, option) in options.iter().enumerate() {
            let before = options.get(..at).unwrap_or_default();
            if !is_welcome(*option, before, reader) {
                read.damaged = true;
                continue;
            }
            match *option {
                ServerOption::Weight(word) => {
                    let parse = |text| decimal(text, Code::BadWeight, "weight", &(0..=65535));
                    match reader.read(word, parse).map(u16::try_from) {
                        Some(Ok(weight)) => read.weight = weight,
                        _ => read.damaged = true,
                    }
                }
                ServerOption::Mac(word) => {
                    read.mac = reader.read(word, mac);
                    read.damaged |= read.mac.is_none();
                }
                ServerOption::Via(via) => {
                    let (via, damaged) = read_via(via, reader);
                    read.via = via;
                    read.damaged |= damaged;
                }
                ServerOption::Drain(_) => read.state = State::Drain,
                ServerOption::Down(_) => read.state = State::Down,
                ServerOption::Backup(_) => {
                    read.state = State::Backup;
                    read.reserve = true;
                }
            }
        }
        if read.weight == 0 && read.state != State::Down {
            read.state = State::Drain;
        }
        read
    }
}

/// Whether an option may stand with those before it.
fn is_welcome(option: ServerOption, before: &[ServerOption], reader: &mut Reader<'_>) -> bool {
    let (word, span) = (option.word(), option.span());
    for first in before {
        let other = first.word();
        let fault = if other == word {
            let message = format!("`{}` is given a second time", word.text());
            Diagnostic::new(Code::RepeatedStatement, span, message)
                .related(first.span(), "first given here")
                .help("remove one of them")
        } else if other.is_state() && word.is_state() {
            let (other, word) = (other.text(), word.text());
            let message = format!("A server cannot be `{other}` and `{word}` at once");
            Diagnostic::new(Code::BadStatement, span, message)
                .related(first.span(), "the other one")
                .help("remove one of them")
        } else {
            continue;
        };
        reader.report(fault);
        return false;
    }
    true
}
