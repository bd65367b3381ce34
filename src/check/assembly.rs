//! From a draft to a service: pools found, defaults of the language filled in.

use std::collections::HashMap;

use super::families;
use super::forwarding;
use super::pool::Pools;
use super::reader::{Reader, Value};
use super::server_set::ServerSet;
use super::service::{Draft, DraftMember};
use super::statement::{on_empty, scheduler, track};
use crate::diagnostic::{Code, Diagnostic, nearest, quote};
use crate::model::{Access, Member, PoolId, Service};
use crate::source::Span;

/// Makes a service of its draft, and checks what concerns it alone.
pub(super) fn assemble(
    draft: Draft<'_, '_>,
    pools: &mut Pools<'_>,
    set: &mut ServerSet,
    reader: &mut Reader<'_>,
) -> Service {
    let mut damage = draft.damage;
    let settings = &draft.settings;
    let said = settings.mode.said();
    let mode = said.map(|setting| setting.mode.clone()).unwrap_or_default();
    let said = settings.scheduler.said();
    let scheduler = said
        .and_then(|setting| setting.scheduler)
        .unwrap_or_else(|| scheduler::default_for(&mode));
    let asked = track::Asked {
        own: &draft.own,
        holding: settings,
        is_damaged: damage.statement,
        mode: &mode,
        scheduler,
    };
    let track = track::of(&asked, reader);
    let on_empty = settings.on_empty.said().copied();
    let on_empty = on_empty.unwrap_or_else(|| on_empty::default_for(&mode));
    let persistence = settings.persist.said().copied();
    let access = Access {
        allow: settings.allow.said().cloned().unwrap_or_default(),
        deny: settings.deny.said().cloned().unwrap_or_default(),
    };
    if draft.vips.is_empty() && !damage.vips {
        let message = format!("The service {} has no `vip`", quote(draft.name));
        let fault = Diagnostic::new(Code::NoVip, draft.span, message);
        reader.report(
            fault.help("write `vip ADDR PROTO PORTS` in it, such as `vip 192.0.2.10 tcp 80`"),
        );
    }
    if draft.members.is_empty() && !damage.members {
        let message = format!("The service {} has no server", quote(draft.name));
        let fault = Diagnostic::new(Code::NoServer, draft.span, message);
        reader.report(fault.help("write `server ADDR` or `pool NAME` in it"));
        damage.members = true;
    }
    let members = find_members(draft.members, pools, &mut damage.members, reader);
    let service = Service {
        name: draft.name.into(),
        span: draft.span,
        vips: draft.vips,
        mode,
        scheduler,
        persistence,
        track,
        on_empty,
        access,
        members,
    };
    check_servers(&service, pools, set, reader);
    let facts = families::FamilyFacts {
        own: &draft.own,
        damage,
        settings: &draft.settings,
    };
    families::check(&service, &facts, pools, reader);
    let mode = draft.settings.mode.said();
    if mode.map_or(!damage.statement, |mode| !mode.damaged) {
        let mode_span = mode.map(|mode| mode.span);
        forwarding::check(&service, mode_span, draft.statements, pools, reader);
    }
    service
}

/// Finds the pools.
fn find_members(
    members: Vec<DraftMember<'_>>,
    pools: &mut Pools<'_>,
    damaged: &mut bool,
    reader: &mut Reader<'_>,
) -> Vec<Member> {
    let mut seen: HashMap<PoolId, Span> = HashMap::new();
    let mut found = Vec::with_capacity(members.len());
    for member in members {
        match member {
            DraftMember::Server(server) => found.push(Member::Server(server)),
            DraftMember::Pool(value) => {
                let Some(id) = pools.find_used(value.text) else {
                    report_undefined(value, pools, reader);
                    *damaged = true;
                    continue;
                };
                *damaged |= pools.facts(id).is_some_and(|facts| facts.damaged);
                if let Some(first) = seen.get(&id) {
                    let message = format!("The pool {} is used twice", quote(value.text));
                    let fault = Diagnostic::new(Code::RepeatedPool, value.place(), message)
                        .related(*first, "first used here");
                    reader.report(fault.help("remove one of them"));
                } else {
                    seen.insert(id, value.place());
                    found.push(Member::Pool(id));
                }
            }
        }
    }
    found
}

fn report_undefined(value: Value<'_>, pools: &mut Pools<'_>, reader: &mut Reader<'_>) {
    if reader.gaps {
        return;
    }
    let message = format!("There is no pool {}", quote(value.text));
    let fault = Diagnostic::new(Code::UndefinedPool, value.place(), message);
    let meant = nearest(value.text, pools.names()).map(str::to_owned);
    reader.report(match meant {
        Some(name) => {
            // One slip, one fault: the pool is not unused.
            pools.find_used(&name);
            fault.help(format!("did you mean `{name}`?"))
        }
        None => fault.help(format!(
            "write `pool {} {{ server ... }}` at the top level",
            value.text
        )),
    });
}

/// No server twice. A pool alone has been checked when it was read.
fn check_servers(
    service: &Service,
    pools: &Pools<'_>,
    set: &mut ServerSet,
    reader: &mut Reader<'_>,
) {
    if matches!(&*service.members, [Member::Pool(_)]) {
        return;
    }
    set.clear();
    for server in pools.servers_of(service) {
        set.add(server, reader);
    }
}
