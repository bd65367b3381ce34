//! The servers of one service or pool: none twice.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::RealServer;
use crate::source::Span;

/// The servers so far, and where they are.
#[derive(Debug, Default)]
pub(super) struct ServerSet {
    names: HashMap<Arc<str>, Span>,
    /// Where each is, and whether it is a backup.
    endpoints: HashMap<(IpAddr, Option<u16>), (Span, bool)>,
}

impl ServerSet {
    /// Forgets all, and keeps the room for the next.
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.endpoints.clear();
    }

    /// Adds a server. Another of its name is a fault, another of its address and port most likely a slip.
    pub(super) fn add(&mut self, server: &RealServer, reader: &mut Reader<'_>) {
        if let Some(first) = self.names.get(&server.name) {
            let message = format!("There is a second server {}", quote(&server.name));
            let fault = Diagnostic::new(Code::DuplicateServer, server.span, message)
                .related(*first, "the first")
                .help("servers have different names within a service, its pools included; without a name, a server is named after its address and port");
            reader.report_once(fault);
            return;
        }
        self.names.insert(Arc::clone(&server.name), server.span);
        let endpoint = (server.address, server.port);
        let this = (server.span, server.reserve);
        let (first, is_backup) = *self.endpoints.entry(endpoint).or_insert(this);
        if first != server.span && is_backup != server.reserve {
            let message = format!(
                "The backup {} is one of the servers that it stands in for",
                quote(&endpoint_text(server))
            );
            let fault = Diagnostic::new(Code::BackupIsServer, server.span, message)
                .related(first, "the same address and port");
            reader.report_once(fault.help("remove it, or give it another server's address"));
        } else if first != server.span {
            let message = format!("{} is a server twice", endpoint_text(server));
            let fault = Diagnostic::new(Code::RepeatedServer, server.span, message)
                .related(first, "the first time");
            reader.report_once(fault.help("give one of them more `weight`, and remove the other"));
        }
    }
}

/// A server's address, and its port if it has one of its own.
fn endpoint_text(server: &RealServer) -> String {
    match server.port {
        Some(port) => format!("{} port {port}", server.address),
        None => server.address.to_string(),
    }
}
