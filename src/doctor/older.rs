//! Flows that connection tracking knew before their service came, and that pass it by.

use super::{Finding, FindingCode, nat};
use crate::kernel::Flow;
use crate::model::{Model, Protocol, Served};

/// So many flows are named of a service.
const NAMED: usize = 8;

/// The command that makes connection tracking forget a flow.
pub fn forgetting(flow: &Flow) -> String {
    let mut all = Protocol::ALL.into_iter();
    let protocol = all.find(|protocol| protocol.number() == flow.protocol);
    format!(
        "conntrack -D -p {} -s {} -d {} --sport {} --dport {}",
        protocol.map_or_else(
            || flow.protocol.to_string(),
            |known| known.name().to_owned()
        ),
        flow.source,
        flow.destination,
        flow.source_port,
        flow.destination_port
    )
}

/// What to know of flows that are not translated, where the kernel has the rules of this model. `flbc apply` forgets such
/// flows, and `nft -f` does not.
pub fn older(model: &Model, flows: &[Flow]) -> Vec<Finding> {
    let all = Served::by_nat(model);
    let flows: Vec<&Flow> = flows.iter().filter(|flow| flow.passes_by(&all)).collect();
    let mut findings = Vec::new();
    if flows.is_empty() {
        return findings;
    }
    for service in nat(model) {
        let served: Served = service.vips.iter().copied().collect();
        let mut found = flows.clone();
        found.retain(|flow| flow.passes_by(&served));
        if found.is_empty() {
            continue;
        }
        found.sort_by_key(|flow| (flow.source, flow.source_port, flow.destination));
        let are = match found.len() {
            1 => "1 flow is".to_owned(),
            many => format!("{many} flows are"),
        };
        let name = &service.name;
        let mut finding = Finding::new(
            FindingCode::OlderFlow,
            format!(
                "{are} older than `{name}`: the kernel follows them untranslated, and no server gets their packets before that is forgotten"
            ),
            String::new(),
        )
        .at(service.span);
        finding.remedy = found.into_iter().take(NAMED).map(forgetting).collect();
        findings.push(finding);
    }
    findings
}
