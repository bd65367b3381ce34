//! Metrics in Prometheus' text format, for the textfile collector of its node exporter.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::{Amount, AppliedState, Figures, Server, Service, Status, Table};
use crate::control::About;
use crate::diagnostic::is_treacherous;
use crate::model::ModeKind;

/// A sample: its labels, and its value.
type Sample<'l> = (Cow<'l, str>, String);

/// Every metric: help, type, samples.
pub fn prometheus(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_prometheus(status, &mut text);
    text
}

/// The same, piece by piece: of a hundred thousand servers it is more than a hundred megabytes.
///
/// # Errors
///
/// Those of writing.
pub fn write_prometheus(status: &Status, text: &mut dyn Write) -> fmt::Result {
    servers(status, text)?;
    services(status, text)?;
    memory(status, text)?;
    let open = u8::from(status.trial.is_some());
    let warnings = status.warnings.len();
    let gauge = |value: String| vec![(Cow::Borrowed(""), value)];
    applied(&status.applied, text)?;
    if let Some(about) = &status.daemon {
        daemon(about, text)?;
    }
    metric(
        text,
        "flbc_trial_open",
        MetricKind::Gauge,
        "Whether a trial waits for its confirmation.",
        gauge(open.to_string()),
    )?;
    metric(
        text,
        "flbc_warnings",
        MetricKind::Gauge,
        "How many warnings flbc status has.",
        gauge(warnings.to_string()),
    )
}

/// What the daemon says of itself; none of it where there is no daemon.
fn daemon(about: &About, text: &mut dyn Write) -> fmt::Result {
    let one = |value: String| vec![(Cow::Borrowed(""), value)];
    metric(
        text,
        "flbc_daemon_repairs_total",
        MetricKind::Counter,
        "How often the daemon has put right what others had changed.",
        one(about.repairs.to_string()),
    )?;
    metric(
        text,
        "flbc_daemon_file_faulty",
        MetricKind::Gauge,
        "Whether the daemon's file has faults, so that what is in force is what was read before.",
        one(u8::from(about.faulty_since.is_some()).to_string()),
    )?;
    metric(
        text,
        "flbc_daemon_file_read_timestamp_seconds",
        MetricKind::Gauge,
        "When the daemon last read its file without a fault, in seconds since 1970.",
        one(about.read_at.to_string()),
    )?;
    metric(
        text,
        "flbc_daemon_start_timestamp_seconds",
        MetricKind::Gauge,
        "Since when the daemon runs, in seconds since 1970.",
        one(about.since.to_string()),
    )
}

/// Whether the kernel has what was applied.
fn applied(applied: &AppliedState, text: &mut dyn Write) -> fmt::Result {
    let AppliedState {
        in_force,
        not_in_force: _,
        tables,
        at,
        config,
        version,
    } = applied;
    let tables = [("inet", tables.inet), ("netdev", tables.netdev)];
    let tables = tables.map(|(family, there)| {
        let of = labels(&[("family", family)]);
        (of.into(), u8::from(there).to_string())
    });
    metric(
        text,
        "flbc_tables_present",
        MetricKind::Gauge,
        "Whether a table is there.",
        tables,
    )?;
    let alone = |value: String| (Cow::Borrowed(""), value);
    metric(
        text,
        "flbc_in_force",
        MetricKind::Gauge,
        "Whether the kernel has what was applied last; none where that is not known.",
        in_force.map(|in_force| alone(u8::from(in_force).to_string())),
    )?;
    metric(
        text,
        "flbc_last_apply_timestamp_seconds",
        MetricKind::Gauge,
        "When the last apply was, in seconds since 1970.",
        at.map(|at| alone(at.to_string())),
    )?;
    let config = config.as_ref();
    let config = config.map(|config| (labels(&[("config", config)]).into(), "1".to_owned()));
    metric(
        text,
        "flbc_config_info",
        MetricKind::Gauge,
        "1, with the digest of what was applied last.",
        config,
    )?;
    metric(
        text,
        "flbc_build_info",
        MetricKind::Gauge,
        "1, with the version of flbc.",
        [(labels(&[("version", version)]).into(), "1".to_owned())],
    )
}

/// How much is remembered, and how much can be.
fn memory(status: &Status, text: &mut dyn Write) -> fmt::Result {
    let samples = |value: fn(&Table) -> String| {
        let tables = status.memory.iter();
        tables.map(move |table| {
            let labels = labels(&[
                ("mode", table.mode.name()),
                ("map", &table.map),
                ("of", table.of.name()),
            ]);
            (labels.into(), value(table))
        })
    };
    metric(
        text,
        "flbc_remembered",
        MetricKind::Gauge,
        "Clients (persist) and flows (track) that are remembered.",
        samples(|table| table.used.to_string()),
    )?;
    metric(
        text,
        "flbc_remembered_room",
        MetricKind::Gauge,
        "How many can be remembered.",
        samples(|table| table.room.to_string()),
    )
}

/// What a metric is of, in Prometheus' words.
#[derive(Clone, Copy)]
enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

fn metric<'l>(
    text: &mut dyn Write,
    name: &str,
    kind: MetricKind,
    help: &str,
    samples: impl IntoIterator<Item = Sample<'l>>,
) -> fmt::Result {
    let kind = match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    for (labels, value) in samples {
        text.write_str(name)?;
        if !labels.is_empty() {
            for part in ["{", &labels, "}"] {
                text.write_str(part)?;
            }
        }
        for part in [" ", &value, "\n"] {
            text.write_str(part)?;
        }
    }
    Ok(())
}

fn servers(status: &Status, text: &mut dyn Write) -> fmt::Result {
    // Each server's labels, once for all metrics.
    let servers: Vec<_> = status
        .services
        .iter()
        .flat_map(|service| service.servers.iter().map(move |server| (service, server)))
        .map(|(service, server)| {
            let labels = labels(&[
                ("service", &service.name),
                ("server", &server.name),
                ("endpoint", &server.endpoint),
                ("mode", service.mode.name()),
            ]);
            (labels, server)
        })
        .collect();
    let connections = servers.iter().filter_map(|(labels, server)| {
        Some((labels.into(), server.figures.connections?.to_string()))
    });
    metric(
        text,
        "flbc_server_connections_total",
        MetricKind::Counter,
        "New connections to a real server (mode nat), of all services that share it.",
        connections,
    )?;
    for (name, help, of) in [
        (
            "flbc_server_packets_total",
            "Packets to and from a real server, of all services that share it; mode dr sees those to it only.",
            packets as fn(Amount) -> u64,
        ),
        (
            "flbc_server_bytes_total",
            "Bytes of these packets, with their IP headers.",
            bytes,
        ),
    ] {
        let samples = servers
            .iter()
            .flat_map(|(labels, server)| both_ways(labels, &server.figures, of));
        metric(text, name, MetricKind::Counter, help, samples)?;
    }
    let gauge = |value: fn(&Server) -> String| {
        let servers = servers.iter();
        servers.map(move |(labels, server)| (labels.into(), value(server)))
    };
    metric(
        text,
        "flbc_server_weight",
        MetricKind::Gauge,
        "The weight of a real server.",
        gauge(|server| server.weight.to_string()),
    )?;
    metric(
        text,
        "flbc_server_share_ratio",
        MetricKind::Gauge,
        "The share of new clients of its family that a real server gets, 0 to 1.",
        gauge(|server| server.share.to_string()),
    )?;
    let standing = servers.iter().map(|(of, server)| {
        let state = labels(&[("state", server.state.name())]);
        (format!("{of},{state}").into(), "1".to_owned())
    });
    metric(
        text,
        "flbc_server_state",
        MetricKind::Gauge,
        "1, with the state of a real server: up, drain, down or backup.",
        standing,
    )?;
    leaving(&servers, text)?;
    metric(
        text,
        "flbc_server_overridden",
        MetricKind::Gauge,
        "Whether flbc set changed a real server from what the file says.",
        gauge(|server| u8::from(server.file.is_some()).to_string()),
    )
}

/// A figure that not every server has.
type Count = fn(&Server) -> Option<usize>;

/// What servers that go still have, and who does not answer. Each server comes with its labels.
fn leaving(servers: &[(String, &Server)], text: &mut dyn Write) -> fmt::Result {
    let counts: [(&str, &str, Count); 3] = [
        (
            "flbc_server_left",
            "Connections (nat) or flows (track) that a drained or down server still has.",
            |server| server.left,
        ),
        (
            "flbc_server_returning",
            "Clients that persist still sends to a drained server.",
            |server| server.returning,
        ),
        (
            "flbc_server_unanswered",
            "Connections that wait for the first answer of a real server (mode nat, TCP and SCTP).",
            |server| server.unanswered,
        ),
    ];
    for (name, help, count) in counts {
        let samples = servers.iter();
        let samples = samples
            .filter_map(|(of, server)| Some((Cow::Borrowed(&**of), count(server)?.to_string())));
        metric(text, name, MetricKind::Gauge, help, samples)?;
    }
    Ok(())
}

fn services(status: &Status, text: &mut dyn Write) -> fmt::Result {
    let of_service =
        |service: &Service| labels(&[("service", &service.name), ("mode", service.mode.name())]);
    let all = || status.services.iter();
    metric(
        text,
        "flbc_service_connections_total",
        MetricKind::Counter,
        "New connections to a virtual service (mode nat).",
        all().filter_map(|service| {
            Some((
                of_service(service).into(),
                service.figures.connections?.to_string(),
            ))
        }),
    )?;
    for (name, help, of) in [
        (
            "flbc_service_packets_total",
            "Packets to and from the real servers of a virtual service that shares them with no other.",
            packets as fn(Amount) -> u64,
        ),
        (
            "flbc_service_bytes_total",
            "Bytes of these packets, with their IP headers.",
            bytes,
        ),
    ] {
        let samples =
            all().flat_map(|service| both_ways(&of_service(service), &service.figures, of));
        metric(text, name, MetricKind::Counter, help, samples)?;
    }
    for (name, mode, help) in [
        (
            "flbc_service_turned_away_connections_total",
            ModeKind::Nat,
            "New connections that allow and deny turned away (mode nat).",
        ),
        (
            "flbc_service_turned_away_packets_total",
            ModeKind::Dr,
            "Packets that allow and deny turned away (mode dr).",
        ),
    ] {
        let samples = all()
            .filter(|service| service.mode == mode)
            .filter_map(|service| {
                Some((of_service(service).into(), service.turned_away?.to_string()))
            });
        metric(text, name, MetricKind::Counter, help, samples)?;
    }
    let vips = || {
        all().flat_map(|service| {
            service.vips.iter().map(move |vip| {
                let labels = labels(&[
                    ("service", &service.name),
                    ("vip", &vip.words),
                    ("mode", service.mode.name()),
                ]);
                (Cow::from(labels), &vip.figures)
            })
        })
    };
    metric(
        text,
        "flbc_vip_connections_total",
        MetricKind::Counter,
        "New connections to a VIP (mode nat).",
        vips().filter_map(|(labels, figures)| Some((labels, figures.connections?.to_string()))),
    )?;
    metric(
        text,
        "flbc_vip_packets_total",
        MetricKind::Counter,
        "Packets to a VIP (mode dr).",
        vips().filter_map(|(labels, figures)| Some((labels, figures.to?.packets.to_string()))),
    )?;
    metric(
        text,
        "flbc_vip_bytes_total",
        MetricKind::Counter,
        "Bytes of these packets, with their IP headers.",
        vips().filter_map(|(labels, figures)| Some((labels, figures.to?.bytes.to_string()))),
    )
}

const fn packets(amount: Amount) -> u64 {
    amount.packets
}

const fn bytes(amount: Amount) -> u64 {
    amount.bytes
}

/// A sample for each way that is seen.
fn both_ways(
    of_all: &str,
    figures: &Figures,
    of: fn(Amount) -> u64,
) -> impl Iterator<Item = Sample<'static>> + use<> {
    let ways = [("to_server", figures.to), ("from_server", figures.from)];
    ways.map(|(way, amount)| {
        let labels = format!("{of_all},direction=\"{way}\"");
        Some((labels.into(), of(amount?).to_string()))
    })
    .into_iter()
    .flatten()
}

/// `service="www",mode="nat"`. What the kernel says may have been written by anybody: what a terminal would obey is written
/// out, and two names stay two.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| {
        if !value.contains(|c| matches!(c, '\\' | '"') || is_treacherous(c)) {
            return value.to_owned();
        }
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let value = value.replace('\n', "\\n");
        // A backslash in a label is written twice.
        let mut safe = String::with_capacity(value.len());
        for character in value.chars() {
            if is_treacherous(character) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\\\u{{{:x}}}", u32::from(character));
            } else {
                safe.push(character);
            }
        }
        safe
    };
    let words: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_cannot_be_broken_out_of() {
        assert_eq!(
            labels(&[("a", "x\\y\"} 1\nz"), ("b", "")]),
            "a=\"x\\\\y\\\"} 1\\nz\",b=\"\""
        );
        assert_eq!(
            labels(&[("a", "\u{1b}[2J\r\u{9b}")]),
            "a=\"\\\\u{1b}[2J\\\\u{d}\\\\u{9b}\""
        );
    }
}
