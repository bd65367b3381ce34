//! `flbc status`

use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::report::Report;
use super::{Exit, output, trial};
use crate::apply::{self, View};
use crate::kernel::cache::{self, Cache};
use crate::kernel::{Kernel, KernelError, Linux};

/// How `--format` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One object
    Json,
    /// Metrics for a textfile collector
    Prometheus,
}

/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(2);

pub(super) fn run(format: Format, watch: bool, table: &str) -> Exit {
    let mut kernel = match Linux::open() {
        Ok(kernel) => kernel,
        Err(error) => return failed(&error),
    };
    let mut before: Option<(Instant, Status)> = None;
    loop {
        let status = match kernel.observe(table) {
            Ok(observed) => {
                let mut view = View::of(&observed);
                let cache = Cache::new(cache::DIRECTORY);
                if let Some(known) = apply::recall(&mut kernel, &cache, table) {
                    view.complete(&known);
                }
                Status {
                    trial: trial::notice(table),
                    ..Status::of(&view)
                }
            }
            Err(error) => return failed(&error),
        };
        let now = Instant::now();
        let text = match format {
            Format::Human => human(
                &status,
                before.as_ref().map(|(then, old)| (now - *then, old)),
            ),
            Format::Json => json(&status),
            Format::Prometheus => prometheus(&status),
        };
        match output::watched(text.as_bytes()) {
            Ok(()) if watch => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Fine,
            written => return Report::written(written, "standard output"),
        }
        before = Some((now, status));
        thread::sleep(INTERVAL);
    }
}

fn failed(error: &KernelError) -> Exit {
    Report::failure(&error.to_string());
    match error {
        KernelError::NoPrivilege => Exit::Unprivileged,
        _ => Exit::Refused,
    }
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Status {
    /// What there is to say of a trial that is open.
    trial: Option<String>,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    mode: &'static str,
    vips: Vec<Vip>,
    /// New connections in nat, packets in dr that `allow` and `deny` turned away; none without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    turned_away: Option<u64>,
    servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
struct Vip {
    #[serde(rename = "vip")]
    words: String,
    /// New connections in nat, packets in dr.
    count: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Server {
    name: String,
    endpoint: String,
    weight: u16,
    state: String,
    /// What the file says, where something else was set.
    file: Option<String>,
    /// Slots over all slots of its family, 0 to 1.
    share: f64,
    /// New connections in nat, packets in dr; of all services together where a pool is shared.
    count: u64,
    bytes: u64,
}

impl Status {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn of(view: &View) -> Self {
        let services = view.services.iter().map(|(name, service)| Service {
            name: name.clone(),
            mode: service.mode,
            vips: service
                .vips
                .iter()
                .map(|(vip, counter)| Vip {
                    words: vip.clone(),
                    count: counter.packets,
                    bytes: counter.bytes,
                })
                .collect(),
            turned_away: service.turned_away.map(|counter| counter.packets),
            servers: service
                .servers
                .iter()
                .map(|server| Server {
                    name: server.name.clone(),
                    endpoint: server.endpoint(),
                    weight: server.weight,
                    state: server.state.clone(),
                    file: server.file.map(|file| file.to_string()),
                    share: server.slots as f64 / server.of_slots.max(1) as f64,
                    count: server.counter.packets,
                    bytes: server.counter.bytes,
                })
                .collect(),
        });
        Self {
            trial: None,
            services: services.collect(),
        }
    }

    fn count_of(&self, service: &str, server: &str) -> Option<u64> {
        let service = self.services.iter().find(|s| s.name == service)?;
        Some(service.servers.iter().find(|s| s.name == server)?.count)
    }
}

fn human(status: &Status, before: Option<(Duration, &Status)>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_human(status, before, &mut text);
    text
}

fn write_human(
    status: &Status,
    before: Option<(Duration, &Status)>,
    text: &mut String,
) -> std::fmt::Result {
    if let Some(trial) = &status.trial {
        writeln!(text, "{trial}")?;
    }
    if status.services.is_empty() {
        return writeln!(text, "no services");
    }
    for service in &status.services {
        let counted = if service.mode == "nat" {
            "connections"
        } else {
            "packets"
        };
        writeln!(text, "service {} ({})", service.name, service.mode)?;
        for vip in &service.vips {
            writeln!(text, "  vip {:<44} {:>12} {counted}", vip.words, vip.count)?;
        }
        if let Some(count) = service.turned_away {
            let words = "turned away by allow and deny";
            writeln!(text, "  {words:<48} {count:>12} {counted}")?;
        }
        for server in &service.servers {
            write!(
                text,
                "  {:<20} {:<27} weight {:<5} {:<6} {:>6.2}% {:>12} {counted}",
                server.name,
                server.endpoint,
                server.weight,
                server.state,
                server.share * 100.0,
                server.count
            )?;
            if let Some((elapsed, old)) = before
                && let Some(was) = old.count_of(&service.name, &server.name)
            {
                let gained = server.count.saturating_sub(was);
                #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
                let rate = gained as f64 / elapsed.as_secs_f64();
                write!(text, " {rate:>9.1}/s")?;
            }
            if let Some(file) = &server.file {
                write!(text, "  set; the file says {file}")?;
            }
            writeln!(text)?;
        }
    }
    writeln!(text)
}

fn json(status: &Status) -> String {
    // Strings and numbers alone: serialization cannot fail.
    let mut text = serde_json::to_string(status).unwrap_or_default();
    text.push('\n');
    text
}

/// Names are letters, digits and `_-.:[]`: nothing that a label would have to escape.
fn prometheus(status: &Status) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, lines: Vec<String>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for line in lines {
            let _ = writeln!(text, "{name}{line}");
        }
    };
    let servers = |value: &dyn Fn(&Server) -> String| -> Vec<String> {
        let pairs = status
            .services
            .iter()
            .flat_map(|service| service.servers.iter().map(move |server| (service, server)));
        pairs
            .map(|(service, server)| {
                format!(
                    "{{service=\"{}\",server=\"{}\",endpoint=\"{}\",mode=\"{}\"}} {}",
                    service.name,
                    server.name,
                    server.endpoint,
                    service.mode,
                    value(server)
                )
            })
            .collect()
    };
    metric(
        "flbc_server_count_total",
        "counter",
        "New connections (mode nat) or packets (mode dr) sent to a real server.",
        servers(&|server| server.count.to_string()),
    );
    metric(
        "flbc_server_weight",
        "gauge",
        "The weight of a real server.",
        servers(&|server| server.weight.to_string()),
    );
    metric(
        "flbc_server_share",
        "gauge",
        "The share of new clients that a real server gets, 0 to 1.",
        servers(&|server| server.share.to_string()),
    );
    let turned_away = status.services.iter().filter_map(|service| {
        let count = service.turned_away?;
        let labels = format!("service=\"{}\",mode=\"{}\"", service.name, service.mode);
        Some(format!("{{{labels}}} {count}"))
    });
    metric(
        "flbc_service_turned_away_total",
        "counter",
        "New connections (mode nat) or packets (mode dr) that allow and deny turned away.",
        turned_away.collect(),
    );
    let vips = status.services.iter().flat_map(|service| {
        service.vips.iter().map(move |vip| {
            format!(
                "{{service=\"{}\",vip=\"{}\",mode=\"{}\"}} {}",
                service.name, vip.words, service.mode, vip.count
            )
        })
    });
    metric(
        "flbc_vip_count_total",
        "counter",
        "New connections (mode nat) or packets (mode dr) that arrived for a VIP.",
        vips.collect(),
    );
    text
}
