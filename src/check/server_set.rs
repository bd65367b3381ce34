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
    endpoints: HashMap<(IpAddr, Option<u16>), Span>,
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
        let first = *self.endpoints.entry(endpoint).or_insert(server.span);
        if first != server.span {
            let message = match server.port {
                Some(port) => format!("{} port {port} is a server twice", server.address),
                None => format!("{} is a server twice", server.address),
            };
            let fault = Diagnostic::new(Code::RepeatedServer, server.span, message)
                .related(first, "the first time");
            reader.report_once(fault.help("give one of them more `weight`, and remove the other"));
        }
    }
}
