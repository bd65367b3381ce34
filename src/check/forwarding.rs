//! Whether the servers of a service fit its mode.

use super::pool::Pools;
use super::reader::Reader;
use super::values::is_link_local_v6;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Member, Mode, Ports, RealServer, Service, Vip};
use crate::source::Span;
use crate::syntax::tree::{ServerDecl, ServerOption, Statement, StatementDecl};

/// Checks each server against the mode, which stands at `mode_span` unless it is the language's default.
pub(super) fn check(
    service: &Service,
    mode_span: Option<Span>,
    own: &[StatementDecl],
    pools: &Pools<'_>,
    reader: &mut Reader<'_>,
) {
    let suspect = |server: &RealServer| match &service.mode {
        Mode::Nat(_) => {
            server.mac.is_some() || server.via.is_some() || is_link_local_v6(server.address)
        }
        Mode::Dr(_) => server.port.is_some(),
    };
    if !pools.servers_of(service).any(suspect) {
        return;
    }
    for member in &service.members {
        let (statements, members) = match member {
            Member::Server(server) => (own, std::slice::from_ref(server)),
            Member::Pool(id) => match (pools.facts(*id), pools.read.get(id.0)) {
                (Some(facts), Some(pool)) => (facts.statements, &*pool.real_servers),
                _ => continue,
            },
        };
        for server in members.iter().filter(|server| suspect(server)) {
            let Some(decl) = declaration(statements, server) else {
                continue;
            };
            match &service.mode {
                Mode::Nat(_) => check_nat(server, decl, service, mode_span, reader),
                Mode::Dr(_) => check_dr(server, decl, service, reader),
            }
        }
    }
}

/// The statement that made a server; statements are in file order.
fn declaration<'t>(statements: &'t [StatementDecl], server: &RealServer) -> Option<&'t ServerDecl> {
    let at = statements.partition_point(|decl| decl.span.start < server.span.start);
    match &statements.get(at)?.statement {
        Statement::Server(decl) => Some(decl),
        Statement::Vip { .. } | Statement::Setting(_) | Statement::Pool { .. } => None,
    }
}

fn check_nat(
    server: &RealServer,
    decl: &ServerDecl,
    service: &Service,
    mode_span: Option<Span>,
    reader: &mut Reader<'_>,
) {
    for option in &decl.options {
        let why = match option {
            ServerOption::Mac(_) => "the kernel finds the server's MAC address",
            ServerOption::Via(_) => "the kernel's routes find the interface",
            ServerOption::Weight(_)
            | ServerOption::Drain(_)
            | ServerOption::Down(_)
            | ServerOption::Backup(_) => continue,
        };
        let (keyword, span) = (option.word().text(), option.span());
        let message = format!("`{keyword}` is for `mode dr`: in `nat` {why}");
        let fault = Diagnostic::new(Code::DrOnly, span, message);
        let fault = match mode_span {
            Some(mode) => fault.related(mode, "the mode is set here"),
            None => fault.related(
                service.span,
                "used by this service, which has no `mode` and so is `nat`",
            ),
        };
        reader.report_once(fault.help("remove it, or write `mode dr on IFACE`"));
    }
    if is_link_local_v6(server.address) {
        let message = format!(
            "{} cannot be a real server in `nat`: it is a link-local address, to which no route leads",
            quote(&server.address.to_string())
        );
        let fault = Diagnostic::new(Code::ImpossibleServer, decl.address.span, message);
        reader.report_once(
            fault.help("write an address that routes lead to, or use `mode dr on IFACE`"),
        );
    }
}

fn check_dr(server: &RealServer, decl: &ServerDecl, service: &Service, reader: &mut Reader<'_>) {
    if let Some(port) = server.port
        && let Some(vip) = service.vips.iter().find(|v| v.ports != Ports::One(port))
    {
        let message = format!(
            "The server's port {port} differs from the VIP's ({}), and direct return changes no ports",
            ports(vip)
        );
        let fault = Diagnostic::new(Code::PortTranslationInDr, decl.address.span, message)
            .related(vip.span, "this VIP");
        reader.report_once(fault.help(format!(
            "write {} without a port, or use `mode nat`",
            server.address
        )));
    }
}

fn ports(vip: &Vip) -> String {
    match vip.ports {
        Ports::One(port) => port.to_string(),
        Ports::Range(first, last) => format!("{first}-{last}"),
        Ports::Any => "any".into(),
    }
}
