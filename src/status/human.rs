//! Services and servers as a table of 100 columns.

use std::fmt::{self, Write as _};

use super::{Beside, Differs, Figures, Kept, Server, Service, Status};
use crate::control::{About, Running};
use crate::diagnostic::escape;
use crate::model::{Layer, ModeKind};

/// How wide the names are; a longer one has a line of its own.
const NAME: usize = 34;

/// How wide weight, state and share are together.
const STANDING: usize = 20;

const TOTALS: [&str; 5] = ["conn", "pkt in", "byte in", "pkt out", "byte out"];
const RATES: [&str; 5] = ["conn/s", "pps in", "bps in", "pps out", "bps out"];

/// The table, with rates where there are any.
pub fn human(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(status, &mut text);
    text
}

fn write(status: &Status, text: &mut String) -> fmt::Result {
    if let Some(trial) = &status.trial {
        writeln!(text, "{}", escape(trial))?;
    }
    let reasons = status.applied.not_in_force.len();
    for (at, warning) in status.warnings.iter().enumerate() {
        let alarm = status.applied.in_force == Some(false);
        let code = if alarm && at < reasons {
            "[not-in-force]"
        } else {
            ""
        };
        writeln!(text, "warning{code}: {}", escape(warning))?;
    }
    if let Some(daemon) = &status.daemon {
        write_daemon(daemon, text)?;
    }
    if let Some(shift) = status.mark_shift {
        writeln!(text, "mark-shift {shift}")?;
    }
    if status.services.is_empty() {
        let none = match status.applied.in_force {
            Some(false) => "no services are in force",
            Some(true) | None => "no services",
        };
        return writeln!(text, "{none}");
    }
    let begun = status.trial.is_some()
        || !status.warnings.is_empty()
        || status.daemon.is_some()
        || status.mark_shift.is_some();
    for (at, service) in status.services.iter().enumerate() {
        if at > 0 || begun {
            writeln!(text)?;
        }
        write_service(service, (status.interval.is_some(), status.at), text)?;
    }
    Ok(())
}

fn write_daemon(daemon: &About, text: &mut String) -> fmt::Result {
    let configured = escape(&daemon.configured);
    write!(text, "daemon: process {}, ", daemon.pid)?;
    match &daemon.running {
        Running::File => write!(text, "running: {configured}")?,
        other @ (Running::Applied(_) | Running::Nothing) => {
            let running = other.words(&daemon.configured);
            write!(
                text,
                "running: {}, configured: {configured}",
                escape(&running)
            )?;
        }
    }
    if daemon.repairs > 0 {
        write!(text, ", {} repaired", daemon.repairs)?;
    }
    if let Some(doing) = &daemon.doing {
        write!(text, "; {}", escape(doing))?;
    }
    writeln!(text)
}

fn write_service(service: &Service, (rates, at): (bool, u64), text: &mut String) -> fmt::Result {
    let head = format!("service {} ({})", service.name, service.mode);
    let standing = format!(" {:>6} {:<6} {:>6}", "weight", "state", "share");
    write!(text, "{:<width$}{standing}", escape(&head), width = NAME)?;
    for title in if rates { RATES } else { TOTALS } {
        write!(text, " {title:>8}")?;
    }
    writeln!(text)?;
    for vip in &service.vips {
        row(&format!("vip {}", vip.words), "", &vip.figures, rates, text)?;
        writeln!(text)?;
    }
    if let Some(count) = service.turned_away {
        let counted = match service.mode {
            ModeKind::Nat => "connections",
            ModeKind::Dr => "packets",
        };
        writeln!(text, "  turned away by allow and deny: {count} {counted}")?;
    }
    for (count, what) in [
        (service.clients, Kept::Clients),
        (service.flows, Kept::Flows),
    ] {
        if let Some(count) = count {
            writeln!(text, "  {what} remembered: {count}")?;
        }
    }
    for server in &service.servers {
        write_server(server, service.mode, (rates, at), text)?;
    }
    let label = if service.shared {
        "all (servers shared: not known)"
    } else {
        "all"
    };
    row(label, "", &service.figures, rates, text)?;
    writeln!(text)
}

fn write_server(
    server: &Server,
    mode: ModeKind,
    (rates, at): (bool, u64),
    text: &mut String,
) -> fmt::Result {
    let label = if server.name == server.endpoint {
        server.name.clone()
    } else {
        format!("{} {}", server.name, server.endpoint)
    };
    let standing = format!(
        " {:>6} {:<6} {:>5.1}%",
        server.weight,
        server.state.name(),
        server.share * 100.0
    );
    row(&label, &standing, &server.figures, rates, text)?;
    if let (Some(file), Some(beside)) = (&server.file, &server.beside) {
        let said = said(beside, at);
        write!(text, "  {said}; the file says {file}")?;
    }
    let left = match mode {
        ModeKind::Nat => ["connection left", "connections left"],
        ModeKind::Dr => ["flow left", "flows left"],
    };
    let returning = [
        "client comes back by persist",
        "clients come back by persist",
    ];
    for (count, [one, many]) in [(server.left, left), (server.returning, returning)] {
        if let Some(count) = count {
            write!(text, "  {count} {}", if count == 1 { one } else { many })?;
        }
    }
    writeln!(text)
}

/// Who says otherwise than the file, and since when: `set 5m ago`, `state by health, weight set 2h ago`.
fn said(Beside { state, weight }: &Beside, at: u64) -> String {
    let state = state.as_ref().map(|one| by(one, at));
    let weight = weight.as_ref().map(|one| by(one, at));
    match (state, weight) {
        (Some(state), Some(weight)) if state != weight => {
            format!("state {state}, weight {weight}")
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}

fn by<T>(differs: &Differs<T>, at: u64) -> String {
    match (differs.by, differs.since) {
        (Layer::Health, _) => "by health".to_owned(),
        (Layer::Operator | Layer::File, Some(since)) => {
            format!("set {} ago", roughly(at.saturating_sub(since)))
        }
        (Layer::Operator | Layer::File, None) => "set".to_owned(),
    }
}

/// Seconds, in the largest unit of which there are two: `119s`, `2m`, `47h`, `2d`.
fn roughly(seconds: u64) -> String {
    const UNITS: [(u64, char); 3] = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let fits = UNITS.into_iter().find(|(unit, _)| seconds / unit >= 2);
    let (unit, letter) = fits.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// A line without its end.
fn row(
    label: &str,
    standing: &str,
    figures: &Figures,
    rates: bool,
    text: &mut String,
) -> fmt::Result {
    let label = escape(label);
    let width = NAME - 2;
    if label.chars().count() > width {
        write!(text, "  {label}\n  {:width$}", "")?;
    } else {
        write!(text, "  {label:<width$}")?;
    }
    write!(text, "{standing:<STANDING$}")?;
    let cells = if rates {
        rates_of(figures)
    } else {
        totals_of(figures)
    };
    for cell in cells {
        write!(text, " {:>8}", cell.unwrap_or_else(|| "-".to_owned()))?;
    }
    Ok(())
}

type Cells = [Option<String>; 5];

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn totals_of(figures: &Figures) -> Cells {
    let whole = |n: u64| short(n as f64, false);
    [
        figures.connections.map(whole),
        figures.to.map(|to| whole(to.packets)),
        figures.to.map(|to| whole(to.bytes)),
        figures.from.map(|from| whole(from.packets)),
        figures.from.map(|from| whole(from.bytes)),
    ]
}

fn rates_of(figures: &Figures) -> Cells {
    let Some(rates) = figures.rate else {
        return Cells::default();
    };
    let each = |n: f64| short(n, true);
    [
        rates.connections.map(each),
        rates.to.map(|to| each(to.packets)),
        rates.to.map(|to| each(to.bits)),
        rates.from.map(|from| each(from.packets)),
        rates.from.map(|from| each(from.bits)),
    ]
}

/// `9999`, `12.3k`, `1.23M`; small rates with one digit behind the point.
fn short(number: f64, is_rate: bool) -> String {
    if is_rate && number > 0.0 && number < 99.95 {
        return format!("{number:.1}");
    }
    if number < 9_999.5 {
        return format!("{number:.0}");
    }
    let mut scaled = number;
    for unit in ["k", "M", "G", "T", "P", "E"] {
        scaled /= 1_000.0;
        if scaled < 9.995 {
            return format!("{scaled:.2}{unit}");
        }
        if scaled < 99.95 {
            return format!("{scaled:.1}{unit}");
        }
        if scaled < 999.5 {
            return format!("{scaled:.0}{unit}");
        }
    }
    format!("{scaled:.0}E")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        let totals = [0.0, 9_999.0, 10_000.0, 123_456.0, 999_600.0, 1e18, 1.8e19];
        assert_eq!(
            totals.map(|n| short(n, false)),
            ["0", "9999", "10.0k", "123k", "1.00M", "1.00E", "18.0E"]
        );
        let rates = [0.0, 0.25, 99.9, 100.4, 1e10];
        assert_eq!(
            rates.map(|n| short(n, true)),
            ["0", "0.2", "99.9", "100", "10.0G"]
        );
    }
}
