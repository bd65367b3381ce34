//! IPv4 and IPv6 of one service: VIPs, servers, source addresses, the size of the table.

use super::pool::Pools;
use super::reader::Reader;
use super::service::Damage;
use super::statement::Settings;
use super::statement::scheduler::LARGEST_TABLE;
use super::values::primes_around;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Family, Member, Scheduler, Service, SourceNat};

/// What the check needs beyond the service.
#[derive(Debug)]
pub(super) struct FamilyFacts<'d> {
    /// What the service itself says.
    pub(super) own: &'d Settings,
    pub(super) damage: Damage,
    /// What holds, of the service and of defaults.
    pub(super) settings: &'d Settings,
}

/// Checks each family of a service.
pub(super) fn check(
    service: &Service,
    facts: &FamilyFacts<'_>,
    pools: &Pools<'_>,
    reader: &mut Reader<'_>,
) {
    let mut counts = [0_usize; 2];
    for server in pools.servers_of(service) {
        for (count, family) in counts.iter_mut().zip(Family::BOTH) {
            *count += usize::from(Family::of(server.address) == family);
        }
    }
    let is_empty = counts == [0, 0];
    for (family, count) in Family::BOTH.into_iter().zip(counts) {
        let vip = service.vips.iter().find(|vip| vip.family() == family);
        check_table(service, family, count, facts, reader);
        if let Some(vip) = vip {
            // Without any server, that has been said already.
            if count == 0 && !is_empty && facts.own.on_empty.is_unsaid() && !facts.damage.members {
                let message = format!(
                    "The service {} has {family} VIPs and no {family} server",
                    quote(&service.name)
                );
                let fault = Diagnostic::new(Code::FamilyMismatch, vip.span, message);
                reader.report(fault.help(format!(
                    "add an {family} server, or say with `on-empty reject` or `on-empty drop` what {family} clients get"
                )));
            }
            check_missing_snat(service, family, facts, reader);
        } else if !service.vips.is_empty() && !facts.damage.vips {
            check_superfluous(service, family, facts, reader);
        }
    }
}

/// What is there for a family without a VIP. A pool may serve others with it.
fn check_superfluous(
    service: &Service,
    family: Family,
    facts: &FamilyFacts<'_>,
    reader: &mut Reader<'_>,
) {
    let server = service.members.iter().find_map(|member| match member {
        Member::Server(server) => (Family::of(server.address) == family).then_some(server),
        Member::Pool(_) => None,
    });
    if let Some(server) = server {
        let message = format!(
            "No client reaches the server {}: the service {} has no {family} VIP",
            quote(&server.name),
            quote(&service.name)
        );
        let fault = Diagnostic::new(Code::UnreachableServer, server.span, message);
        reader.report(fault.help(format!("add an {family} `vip`, or remove the server")));
    }
    let snat = facts.own.mode.said().and_then(|mode| {
        let (_, span) = mode.snat.iter().find(|(of, _)| *of == family)?;
        Some(*span)
    });
    if let Some(span) = snat {
        let message = format!("This source address is never used: the service has no {family} VIP");
        let fault = Diagnostic::new(Code::UnusedSnat, span, message);
        reader.report(fault.help("remove it"));
    }
}

fn check_missing_snat(
    service: &Service,
    family: Family,
    facts: &FamilyFacts<'_>,
    reader: &mut Reader<'_>,
) {
    let Some(source @ SourceNat::Fixed { .. }) = service.mode.source_nat() else {
        return;
    };
    let is_missing = source.fixed(family).is_none();
    if let Some(mode) = facts
        .settings
        .mode
        .said()
        .filter(|mode| is_missing && !mode.damaged)
    {
        let message = format!(
            "{family} servers of {} see the client's address: `snat` gives none for {family}",
            quote(&service.name)
        );
        let fault = Diagnostic::new(Code::MissingSnat, mode.span, message);
        reader.report_once(fault.help(format!(
            "add an {family} address, or write `mode nat masquerade`"
        )));
    }
}

fn check_table(
    service: &Service,
    family: Family,
    count: usize,
    facts: &FamilyFacts<'_>,
    reader: &mut Reader<'_>,
) {
    let Scheduler::Maglev {
        table: Some(size), ..
    } = service.scheduler
    else {
        return;
    };
    let Some((_, span)) = facts
        .settings
        .scheduler
        .said()
        .and_then(|setting| setting.table)
    else {
        return;
    };
    if count <= size as usize {
        return;
    }
    let message = format!(
        "The table of {} has {size} slots for {count} {family} servers",
        quote(&service.name)
    );
    let fault = Diagnostic::new(Code::BadTableSize, span, message);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let (_, enough) = primes_around(count, 2, LARGEST_TABLE);
    let fault = match enough {
        Some(prime) => fault.help(format!(
            "write {prime} at least, better a hundred times the servers; without `table` flbc chooses"
        )),
        None => fault,
    };
    reader.report(fault.related(service.span, "for this service"));
}
