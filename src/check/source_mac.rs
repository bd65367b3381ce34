//! Whether a file tells all that rules need without asking the kernel: the MAC addresses of the balancer's own interfaces.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, quote};
use crate::model::Model;

/// Asks for each own MAC address that frames to a server given by `mac` need, and the file does not give. For whoever
/// cannot look at the interface.
pub fn require_source_macs(model: &Model, sink: &mut Diagnostics) {
    for service in &model.services {
        let Some(mode) = service.mode.direct() else {
            continue;
        };
        let mut told = None;
        for server in model.real_servers(service) {
            let Some(interface) = mode.lacks_source_mac(server) else {
                continue;
            };
            // A range of servers is one statement.
            if told.replace(server.span) == Some(server.span) {
                continue;
            }
            let message = format!(
                "The MAC address of {} itself is not given, and frames to a server given by `mac` carry it as their source",
                quote(interface)
            );
            let fault = Diagnostic::new(Code::NoSourceMac, server.span, message);
            sink.report(fault.help(format!(
                "write `via {interface} from MAC` with the address that `ip link show {interface}` tells, or use `flbc apply`, which looks itself"
            )));
        }
    }
}
