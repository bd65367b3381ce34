//! From a draft to a service: pools found, defaults of the language filled in.

use std::collections::HashMap;
use std::time::Duration;

use super::families;
use super::forwarding;
use super::pool::Pools;
use super::reader::{Reader, Value};
use super::server_set::ServerSet;
use super::service::{Draft, DraftMember};
use super::settings::{Settings, Switch};
use super::values::nearest;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{
    Access, HashKey, Member, Mode, OnEmpty, PoolId, RealServer, Scheduler, Service, SourceNat,
    Tracking,
};
use crate::source::Span;

/// How long `track` lasts where it is implied.
const IMPLIED_TRACKING: Duration = Duration::from_secs(300);

/// Makes a service of its draft, and checks what concerns it alone.
pub(super) fn assemble(
    draft: Draft<'_, '_>,
    pools: &mut Pools<'_>,
    set: &mut ServerSet,
    reader: &mut Reader<'_>,
) -> Service {
    let mut damage = draft.damage;
    let mode = match &draft.settings.mode {
        Some(setting) => setting.mode.clone(),
        None => Mode::Nat(SourceNat::Keep),
    };
    let scheduler = scheduler(&draft.settings, &mode);
    let track = track(&draft, &mode, scheduler, reader);
    let on_empty = draft.settings.on_empty.unwrap_or(match mode {
        Mode::Nat(_) => OnEmpty::Reject,
        Mode::Dr(_) => OnEmpty::Drop,
    });
    let persistence = match draft.settings.persist {
        Some(Switch::On(persistence)) => Some(persistence),
        Some(Switch::Off) | None => None,
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
        access: Access {
            allow: draft.settings.allow.unwrap_or_default(),
            deny: draft.settings.deny.unwrap_or_default(),
        },
        members,
    };
    check_servers(&service, pools, set, reader);
    let facts = families::Facts {
        own: draft.own,
        damage,
        mode: draft.settings.mode.as_ref(),
        scheduler: draft.settings.scheduler.as_ref(),
    };
    families::check(&service, &facts, pools, reader);
    let mode_is_known = draft
        .settings
        .mode
        .as_ref()
        .map_or(!damage.statement, |m| !m.damaged);
    if mode_is_known {
        let mode_span = draft.settings.mode.as_ref().map(|mode| mode.span);
        forwarding::check(&service, mode_span, draft.statements, pools, reader);
    }
    service
}

fn scheduler(settings: &Settings, mode: &Mode) -> Scheduler {
    let said = settings.scheduler.and_then(|setting| setting.scheduler);
    said.unwrap_or(match mode {
        Mode::Nat(_) => Scheduler::RoundRobin,
        Mode::Dr(_) => Scheduler::Maglev {
            key: HashKey::SourcePort,
            table: None,
        },
    })
}

fn track(
    draft: &Draft<'_, '_>,
    mode: &Mode,
    scheduler: Scheduler,
    reader: &mut Reader<'_>,
) -> Option<Tracking> {
    let said = match draft.settings.track {
        Some(Switch::On(track)) => Some(track),
        Some(Switch::Off) | None => None,
    };
    match mode {
        Mode::Nat(_) => {
            let mode_is_known = draft.own.mode || !draft.damage.statement;
            // A default that does not fit is not applied.
            if let Some(track) = said.filter(|_| draft.own.track && mode_is_known) {
                let message =
                    "`track` is for `mode dr`: in `nat` the kernel itself remembers connections";
                let fault = Diagnostic::new(Code::DrOnly, track.span, message);
                let fault = match &draft.settings.mode {
                    Some(mode) => fault.related(mode.span, "the mode is set here"),
                    None => fault,
                };
                reader.report(fault.help("remove it"));
            }
            None
        }
        // `off` undoes a default; what a scheduler cannot do without stays.
        Mode::Dr(_) => said.or_else(|| {
            let implies = matches!(scheduler, Scheduler::RoundRobin | Scheduler::Random);
            let setting = draft.settings.scheduler.filter(|_| implies)?;
            Some(Tracking {
                timeout: IMPLIED_TRACKING,
                span: setting.span,
            })
        }),
    }
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
    for server in servers(service, pools) {
        set.add(server, reader);
    }
}

/// The servers of a service that is not in a model yet.
pub(super) fn servers<'s>(
    service: &'s Service,
    pools: &'s Pools<'_>,
) -> impl Iterator<Item = &'s RealServer> {
    service.members.iter().flat_map(|member| match member {
        Member::Pool(id) => pools
            .read
            .get(id.0)
            .map_or(&[][..], |pool| &pool.real_servers),
        Member::Server(server) => std::slice::from_ref(server),
    })
}
