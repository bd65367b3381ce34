//! What people write, and the one thing that flbc tells them to write.
//!
//! Each row is one mistake, put into a file that is right but for it. flbc must tell one fault with this code, and what its help
//! says must make the file right: the text behind `write` or `did you mean`, in place of the statement where it is one, else in
//! place of the words that the fault points at.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "helpers of tests are tests too, and tables are long"
)]

use flbc::check::check;
use flbc::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use flbc::source::Sources;
use flbc::syntax::{Input, Keyword, parse_program};

/// Where the mistake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Outside of blocks.
    Top,
    /// In place of the `vip` of a service.
    Vip,
    /// In place of the `server` of a service.
    Server,
    /// In a service that has both.
    Service,
    /// The same, in direct return.
    Direct,
}

impl At {
    fn file(self, mistake: &str) -> String {
        let (vip, server) = ("vip 192.0.2.99 tcp 9999", "server last 10.20.0.99");
        match self {
            Self::Top => format!(
                "{mistake}\npool web {{\n    {server}\n}}\nservice www {{\n    {vip}\n    pool web\n}}\n"
            ),
            Self::Vip => format!(
                "service www {{\n    {mistake}\n    {server}\n    server six 2001:db8::99\n}}\n"
            ),
            Self::Server => format!("service www {{\n    {vip}\n    {mistake}\n}}\n"),
            Self::Service => format!(
                "pool web {{\n    server 10.20.0.98\n}}\nservice www {{\n    {vip}\n    {server}\n    {mistake}\n}}\nservice two {{ vip 192.0.2.98 tcp 98; pool web; }}\n"
            ),
            Self::Direct => format!(
                "service www {{\n    mode dr on eth0\n    {vip}\n    {server}\n    {mistake}\n}}\n"
            ),
        }
    }
}

fn errors(text: &str) -> (Vec<Diagnostic>, Sources) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(text.as_bytes().to_vec());
    if let Some(tree) = parse_program(input, &mut sources, &mut sink) {
        check(&tree, &sources, &mut sink);
    }
    let faults = sink.sorted().into_iter().cloned();
    let errors = faults.filter(|fault| fault.code.severity() == Severity::Error);
    (errors.collect(), sources)
}

/// The text that a help says to write.
fn told(help: &str) -> Option<&str> {
    let rest = help
        .strip_prefix("write ")
        .or_else(|| help.strip_prefix("did you mean "))?;
    match rest.strip_prefix('`') {
        Some(quoted) => quoted.split_once('`').map(|(text, _)| text),
        None => Some(rest.split("; ").next().unwrap_or(rest)),
    }
}

/// The file with the mistake mended as the help says.
fn mended(at: At, file: &str, fault: &Diagnostic) -> Result<String, String> {
    let help = fault.help.as_deref().unwrap_or_default();
    if let Some(why) = help.strip_prefix("take it out: ") {
        assert!(why.len() > 20, "{why}");
        return Ok(at.file(""));
    }
    let text = told(help).ok_or("the help says no text to write")?;
    let first = text.split([' ', '{']).next().unwrap_or_default();
    if text.ends_with(" {") {
        // What stands in the block is the operator's to move: the header alone is told.
        let inside = match first {
            "service" => "vip 192.0.2.1 tcp 1; server 10.20.0.11",
            "pool" => "server 10.20.0.11:8080",
            _ => "mode nat",
        };
        let user = if first == "pool" {
            "service w { vip 192.0.2.1 tcp 1; pool web }"
        } else {
            ""
        };
        return Ok(format!("{text} {inside} }}\n{user}\n"));
    }
    let is_statement =
        text.contains(' ') && Keyword::of(first).is_some() && help.starts_with("write `");
    if is_statement || text.starts_with("# ") {
        return Ok(at.file(text));
    }
    let span = fault.span.ok_or("the fault has no place")?;
    let (start, end) = (span.start as usize, span.end as usize);
    Ok(format!("{}{text}{}", &file[..start], &file[end..]))
}

/// Tries all rows; each with what it says of them.
fn assert_told(rows: &[(At, &str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (at, mistake, code, expected) in rows {
        let file = at.file(mistake);
        let (faults, sources) = errors(&file);
        let [fault] = faults.as_slice() else {
            let all: Vec<_> = faults
                .iter()
                .map(|f| format!("{} {} [{:?}]", f.code, f.message, f.help))
                .collect();
            wrong.push(format!("{mistake}\n    {} faults: {all:#?}", faults.len()));
            continue;
        };
        let said = format!(
            "{} {} [{}]",
            fault.code,
            fault.message,
            fault.help.as_deref().unwrap_or("-")
        );
        let line = fault.span.map(|span| sources.place(span).line);
        let written = file
            .lines()
            .position(|line| line.contains(mistake.lines().next().unwrap()));
        if fault.code.name() != *code {
            wrong.push(format!("{mistake}\n    not {code}: {said}"));
        } else if line != written.map(|line| u32::try_from(line + 1).unwrap()) {
            wrong.push(format!("{mistake}\n    at line {line:?}: {said}"));
        } else if !fault.help.as_deref().unwrap_or_default().contains(expected) {
            wrong.push(format!("{mistake}\n    no {expected:?}: {said}"));
        } else {
            match mended(*at, &file, fault) {
                Err(why) => wrong.push(format!("{mistake}\n    {why}: {said}")),
                Ok(file) => {
                    let (left, _) = errors(&file);
                    if let Some(left) = left.first() {
                        wrong.push(format!(
                            "{mistake}\n    {said}\n    leads to {} {}:\n{file}",
                            left.code, left.message
                        ));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_words_of_a_vip() {
    use At::Vip;
    let bad = "bad-statement";
    assert_told(&[
        (Vip, "vip 192.0.2.10:80", bad, "`vip 192.0.2.10 tcp 80`"),
        (
            Vip,
            "vip [2001:db8::10]:80",
            bad,
            "`vip 2001:db8::10 tcp 80`",
        ),
        (Vip, "vip 192.0.2.10:80/tcp", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 192.0.2.10:53/udp", bad, "`vip 192.0.2.10 udp 53`"),
        (
            Vip,
            "vip tcp://192.0.2.10:80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (Vip, "vip 192.0.2.10:80 tcp", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip tcp 192.0.2.10:80", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip tcp 192.0.2.10 80", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip tcp 80 192.0.2.10", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 80 tcp 192.0.2.10", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 192.0.2.10 80 tcp", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 80 192.0.2.10 tcp", bad, "`vip 192.0.2.10 tcp 80`"),
        (
            Vip,
            "vip 192.0.2.10 443 udp",
            bad,
            "`vip 192.0.2.10 udp 443`",
        ),
        (
            Vip,
            "vip 192.0.2.10:80 tcp 80",
            "bad-address",
            "write 192.0.2.10",
        ),
        (Vip, "vip 192.0.2.10", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 192.0.2.10 80", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 192.0.2.10 udp", bad, "`vip 192.0.2.10 udp 80`"),
        (
            Vip,
            "vip 192.0.2.10 tcp udp 53",
            bad,
            "`vip 192.0.2.10 tcp, udp 53`",
        ),
        (
            Vip,
            "vip 192.0.2.10 udp sctp tcp 53",
            bad,
            "`vip 192.0.2.10 udp, sctp, tcp 53`",
        ),
        (
            Vip,
            "vip 192.0.2.10 192.0.2.11 tcp 80",
            bad,
            "`vip 192.0.2.10, 192.0.2.11 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 80 443",
            bad,
            "`vip 192.0.2.10 tcp 80, 443`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 80 udp 53",
            bad,
            "`vip 192.0.2.10 tcp 80; vip 192.0.2.10 udp 53`",
        ),
        (
            Vip,
            "vip web 192.0.2.10 tcp 80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10, tcp 80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp, 80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp { 80, 443 }",
            bad,
            "`vip 192.0.2.10 tcp 80, 443`",
        ),
        (
            Vip,
            "vip 192.0.2.10 { tcp, udp } 53",
            bad,
            "`vip 192.0.2.10 tcp, udp 53`",
        ),
        (
            Vip,
            "vip { 192.0.2.10, 192.0.2.11 } tcp 80",
            bad,
            "`vip 192.0.2.10, 192.0.2.11 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000 - 5999",
            bad,
            "`vip 192.0.2.10 tcp 5000-5999`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000 – 5999",
            bad,
            "`vip 192.0.2.10 tcp 5000-5999`",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp port 80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (
            Vip,
            "vip 192.0.2.10 port 80",
            bad,
            "`vip 192.0.2.10 tcp 80`",
        ),
        (
            Vip,
            "vip address 192.0.2.10 protocol udp port 53",
            bad,
            "`vip 192.0.2.10 udp 53`",
        ),
        (Vip, "vip fwmark 1", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip 192.0.2.10 tcp=80", bad, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "vip * tcp 80", "bad-address", "192.0.2.10"),
        (Vip, "vip *:80", bad, "`vip 192.0.2.10 tcp 80`"),
        (
            Vip,
            "vip [2001:db8::10] tcp 80",
            "bad-address",
            "write 2001:db8::10",
        ),
        (
            Vip,
            "vip 192.0.2.[10-12] tcp 80",
            "bad-address",
            "write 192.0.2.10, 192.0.2.11, 192.0.2.12",
        ),
        (
            Vip,
            "vip 192.0.2.0/24 tcp 80",
            "bad-address",
            "write 192.0.2.1;",
        ),
        (
            Vip,
            "vip 192.0.2.10/32 tcp 80",
            "bad-address",
            "write 192.0.2.10",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp/udp 53",
            "unknown-word",
            "write tcp, udp",
        ),
        (
            Vip,
            "vip 192.0.2.10 TCP+UDP 53",
            "unknown-word",
            "write tcp, udp",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000–5999",
            "bad-port",
            "write 5000-5999",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000—5999",
            "bad-port",
            "write 5000-5999",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000−5999",
            "bad-port",
            "write 5000-5999",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000..5999",
            "bad-port",
            "write 5000-5999",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000...5999",
            "bad-port",
            "write 5000-5999",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 5000:5999",
            "bad-port",
            "write 5000-5999",
        ),
        (Vip, "vip 192.0.2.10 tcp *", "bad-port", "write any"),
        (Vip, "vip 192.0.2.10 tcp http", "bad-port", "write 80"),
        (Vip, "vip 192.0.2.10 tcp 0", "bad-port", "write 1;"),
        (Vip, "vip 192.0.2.10 tcp 80000", "bad-port", "write 65535;"),
        (
            Vip,
            "vip 192.0.2.300 tcp 80",
            "bad-address",
            "write 192.0.2.255;",
        ),
        (
            Vip,
            "vip ‘192.0.2.10’ tcp 80",
            "bad-address",
            "write 192.0.2.10",
        ),
        (
            Vip,
            "vip 192.0.2.10 tcp 80 server web1 10.20.0.11",
            bad,
            "`vip 192.0.2.10 tcp 80; server web1 10.20.0.11`",
        ),
    ]);
}

#[test]
fn the_words_of_a_server() {
    use At::{Direct, Server};
    let bad = "bad-statement";
    assert_told(&[
        (
            Server,
            "server 10.20.0.11 80",
            bad,
            "`server 10.20.0.11:80`",
        ),
        (
            Server,
            "server web1 10.20.0.11 8080",
            bad,
            "`server web1 10.20.0.11:8080`",
        ),
        (
            Server,
            "server 10.20.0.11 port 8080",
            bad,
            "`server 10.20.0.11:8080`",
        ),
        (
            Server,
            "server web1 10.20.0.11 port 8080 weight 2",
            bad,
            "`server web1 10.20.0.11:8080 weight 2`",
        ),
        (
            Server,
            "server 10.20.0.11 weight=3",
            bad,
            "`server 10.20.0.11 weight 3`",
        ),
        (
            Server,
            "server 10.20.0.11:80 weight=3 max_fails=3 fail_timeout=10s",
            bad,
            "`server 10.20.0.11:80 weight 3`",
        ),
        (
            Server,
            "server web1 10.20.0.11:80 check inter 2s",
            bad,
            "`server web1 10.20.0.11:80`",
        ),
        (
            Server,
            "server web1 10.20.0.11:80 check inter 2s rise 2 fall 3 backup",
            bad,
            "`server web1 10.20.0.11:80 backup`",
        ),
        (
            Server,
            "server 10.20.0.11 weight:3",
            bad,
            "`server 10.20.0.11 weight 3`",
        ),
        (
            Server,
            "server web1 weight 3 10.20.0.11",
            bad,
            "`server web1 10.20.0.11 weight 3`",
        ),
        (
            Server,
            "server web1 address 10.20.0.11",
            bad,
            "`server web1 10.20.0.11`",
        ),
        (
            Server,
            "server web1 port 8080",
            bad,
            "`server web1 10.20.0.11:8080`",
        ),
        (
            Server,
            "server web1 { }",
            "stray-brace",
            "`server web1 10.20.0.11:8080",
        ),
        (
            Server,
            "server web1 10.20.0.11 { weight 3 }",
            "stray-brace",
            "`server web1 10.20.0.11`",
        ),
        (
            Server,
            "server 10.20.0.0/24",
            "bad-address",
            "write 10.20.0.1;",
        ),
        (
            Server,
            "server 10.20.0.11/32",
            "bad-address",
            "write 10.20.0.11",
        ),
        (
            Server,
            "server 10.20.0.11/24",
            "bad-address",
            "write 10.20.0.11",
        ),
        (
            Server,
            "server :8080",
            "bad-address",
            "write 10.20.0.11:8080",
        ),
        (
            Server,
            "server 8080",
            "bad-address",
            "write 10.20.0.11:8080",
        ),
        (
            Server,
            "server 10.20.0.11:",
            "bad-address",
            "write 10.20.0.11",
        ),
        (
            Server,
            "server 10.20.0.11-13",
            "bad-address",
            "write 10.20.0.[11-13]",
        ),
        (
            Server,
            "server web1",
            "bad-address",
            "write 10.20.0.11:8080",
        ),
        (
            Server,
            "server web.example.com:443",
            "bad-address",
            "write 10.20.0.11:443",
        ),
        (Server, "server “web1” 10.20.0.11", "bad-name", "write web1"),
        (Server, "server web/1 10.20.0.11", "bad-name", "write web-1"),
        (Server, "server 1web 10.20.0.11", "bad-name", "write _1web"),
        (
            Server,
            "server 10.20.0.11 disabled",
            bad,
            "`server 10.20.0.11 down`",
        ),
        (
            Server,
            "server 10.20.0.11 wieght 3",
            bad,
            "did you mean `weight`",
        ),
        (
            Server,
            "server 10.20.0.11 weight 1,5",
            bad,
            "server 10.20.0.11",
        ),
        (
            Server,
            "server 10.20.0.11 weight 100000",
            "bad-weight",
            "write 65535;",
        ),
        (
            Server,
            "server 10.20.0.11 weight -1",
            "bad-weight",
            "write 0;",
        ),
        (
            Server,
            "server 10.20.0.11 weight high",
            "bad-weight",
            "write 1;",
        ),
        (
            Server,
            "server 10.20.0.11 weight 3k",
            "bad-weight",
            "write 3000",
        ),
        (
            Server,
            "server 10.20.0.11 resolve",
            bad,
            "`server 10.20.0.11`",
        ),
        (
            Direct,
            "server 10.20.0.11 mac 02-00-00-00-00-22",
            "bad-mac",
            "write 02:00:00:00:00:22",
        ),
        (
            Direct,
            "server 10.20.0.11 mac 02–00–00–00–00–22",
            "bad-mac",
            "02:00:00:00:00:22",
        ),
        (
            Direct,
            "server 10.20.0.11 dev eth1",
            bad,
            "`server 10.20.0.11 via eth1`",
        ),
    ]);
}

#[test]
fn a_server_with_a_port_and_no_brackets_may_mean_two_things() {
    let (faults, _) = errors(&At::Server.file("server 2001:db8:1::11:8080\n    on-empty drop"));
    assert_eq!(faults[0].code, Code::PortLikeAddress);
    let help = faults[0].help.as_deref().unwrap();
    for text in ["[2001:db8:1::11]:8080", "[2001:db8:1::11:8080]"] {
        assert!(help.contains(text), "{help}");
        let (left, _) = errors(&format!(
            "service www {{ vip 2001:db8::10 tcp 80; server {text} }}\n"
        ));
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn modes_schedulers_and_times() {
    use At::{Direct, Service};
    let bad = "bad-statement";
    assert_told(&[
        (Service, "mode DR on eth0", bad, "`mode dr on eth0`"),
        (Service, "mode NAT", bad, "`mode nat`"),
        (Service, "mode dr eth0", bad, "`mode dr on eth0`"),
        (
            Service,
            "mode dr on eth0 eth1",
            bad,
            "`mode dr on eth0, eth1`",
        ),
        (Service, "mode dr", bad, "`mode dr on eth0`"),
        (
            Service,
            "mode dr dev eth0 via eth1",
            bad,
            "`mode dr on eth0 via eth1`",
        ),
        (Service, "mode nat on eth0", bad, "`mode nat`"),
        (Service, "mode nat snat", bad, "`mode nat masquerade`"),
        (
            Service,
            "mode nat 192.0.2.1",
            bad,
            "`mode nat snat 192.0.2.1`",
        ),
        (Service, "mode tcp", bad, "`mode nat`"),
        (Service, "mode tun", bad, "`mode dr on eth0`"),
        (Service, "mode dsr on eth1", bad, "`mode dr on eth1`"),
        (Service, "mode direct", bad, "`mode dr on eth0`"),
        (Service, "mode masquerade", bad, "`mode nat masquerade`"),
        (
            Service,
            "mode snat 192.0.2.1",
            bad,
            "`mode nat snat 192.0.2.1`",
        ),
        (Service, "mode dnat", bad, "`mode nat`"),
        (Service, "mode fullnat", bad, "`mode nat masquerade`"),
        (Service, "mode = nat", bad, "`mode nat`"),
        (Service, "scheduler = rr", bad, "`scheduler rr`"),
        (
            Service,
            "scheduler hash source",
            bad,
            "`scheduler hash by source`",
        ),
        (
            Service,
            "scheduler maglev table 101 by source",
            bad,
            "`scheduler maglev by source table 101`",
        ),
        (
            Service,
            "scheduler wlc",
            "impossible-scheduler",
            "write `round-robin`",
        ),
        (
            Service,
            "scheduler roundrobin",
            "unknown-word",
            "write `round-robin`",
        ),
        (Service, "persist 5 m", bad, "`persist 5m`"),
        (Service, "persist 5 minutes", bad, "`persist 5m`"),
        (Service, "persist 1 hour 30 minutes", bad, "`persist 1h30m`"),
        (Service, "persist 5min", "bad-duration", "write 5m"),
        (Service, "persist 600sec", "bad-duration", "write 600s"),
        (Service, "persist 2hours", "bad-duration", "write 2h"),
        (Service, "persist 3days", "bad-duration", "write 3d"),
        (Service, "persist 300", "bad-duration", "write 300s"),
        (Service, "persist 5M", "bad-duration", "write 5m"),
        (Service, "persist 05m", "bad-duration", "write 5m"),
        (Service, "persist 1w", "bad-duration", "write 7d"),
        (Service, "persist", bad, "`persist 5m`"),
        (Service, "persist timeout 5m", bad, "`persist 5m`"),
        (Service, "persist 5m source", bad, "`persist 5m by source`"),
        (
            Service,
            "persist by source 5m",
            bad,
            "`persist 5m by source`",
        ),
        (
            Service,
            "persist 5m by source /24",
            bad,
            "`persist 5m by source/24`",
        ),
        (
            Service,
            "persist 600s by source/255.255.255.0",
            "bad-number",
            "write source/24",
        ),
        (
            Service,
            "persist 600s by source/255.255.240.0",
            "bad-number",
            "write source/20",
        ),
        (Direct, "track 5 min", bad, "`track 5m`"),
        (Direct, "track = 5m", bad, "`track 5m`"),
        (Service, "allow 10.0.0.0/8", bad, "`allow from 10.0.0.0/8`"),
        (
            Service,
            "deny 10.0.0.0/8 192.168.0.0/16",
            bad,
            "`deny from 10.0.0.0/8, 192.168.0.0/16`",
        ),
        (
            Service,
            "allow from 10.0.0.0/8 192.168.0.0/16",
            bad,
            "`allow from 10.0.0.0/8, 192.168.0.0/16`",
        ),
        (
            Service,
            "allow from { 10.0.0.0/8, 192.168.0.0/16 }",
            bad,
            "`allow from 10.0.0.0/8, 192.168.0.0/16`",
        ),
        (Service, "allow all", bad, "`allow from 0.0.0.0/0, ::/0`"),
        (
            Service,
            "allow from any",
            "bad-prefix",
            "write 0.0.0.0/0, ::/0",
        ),
        (
            Service,
            "allow from 10.0.0.0/255.0.0.0",
            "bad-prefix",
            "write 10.0.0.0/8",
        ),
        (
            Service,
            "allow from 10.0.0.0/33",
            "bad-prefix",
            "write 10.0.0.0/32;",
        ),
        (
            Service,
            "allow from 10.0.0.0/08",
            "bad-prefix",
            "write 10.0.0.0/8",
        ),
        (
            Service,
            "allow from office",
            "bad-prefix",
            "write 198.51.100.0/24",
        ),
        (Service, "mode dr on eth*", "bad-interface", "write eth0;"),
        (Service, "mode dr on ‘eth0’", "bad-interface", "write eth0"),
        (
            Service,
            "scheduler maglev table 100",
            "table-not-prime",
            "write 101;",
        ),
        (
            Service,
            "persist 5m by source/64",
            "bad-number",
            "write source/24;",
        ),
        (Service, "on-empty = reject", bad, "`on-empty reject`"),
        (Service, "on-empty", bad, "`on-empty reject`"),
        (Service, "on-empty RST", "unknown-word", "write `reject`"),
        (Service, "pool = web", bad, "`pool web`"),
    ]);
}

#[test]
fn files_constants_and_blocks() {
    use At::Top;
    let bad = "bad-statement";
    let pattern = "`include \"conf.d/*.flb\"`";
    assert_told(&[
        (Top, "include 'conf.d/*.flb'", bad, pattern),
        (Top, "include “conf.d/*.flb”", bad, pattern),
        (Top, "include ‘conf.d/*.flb’", bad, pattern),
        (Top, "include „conf.d/*.flb“", bad, pattern),
        (Top, "include «conf.d/*.flb»", bad, pattern),
        (Top, "include `conf.d/*.flb`", bad, pattern),
        (Top, "include conf.d/*.flb", bad, pattern),
        (Top, "include <conf.d/*.flb>", bad, pattern),
        (Top, "include = \"conf.d/*.flb\"", bad, pattern),
        (
            Top,
            "define office 10.0.0.0/8",
            bad,
            "`define office = 10.0.0.0/8`",
        ),
        (
            Top,
            "define office = { 10.0.0.0/8, 192.168.0.0/16 }",
            bad,
            "`define office = 10.0.0.0/8, 192.168.0.0/16`",
        ),
        (
            Top,
            "define office = 10.0.0.0/8 192.168.0.0/16",
            bad,
            "`define office = 10.0.0.0/8, 192.168.0.0/16`",
        ),
        (
            Top,
            "define $office = 10.0.0.0/8",
            "bad-name",
            "write office",
        ),
        (Top, "// web servers", bad, "`# web servers`"),
        (Top, "/* web servers */", bad, "`# web servers`"),
        (Top, "! web servers", bad, "`# web servers`"),
        (Top, "-- web servers", bad, "`# web servers`"),
        (Top, "; web servers", bad, "`# web servers`"),
        (Top, "% web servers", bad, "`# web servers`"),
    ]);
}

#[test]
fn words_of_other_tools() {
    use At::{Server, Service, Top, Vip};
    let word = "unknown-statement";
    assert_told(&[
        (Top, "global_defs { router_id lb1 }", word, "`defaults {`"),
        (
            Top,
            "vrrp_instance one { state MASTER }",
            word,
            "keepalived can do that",
        ),
        (
            Top,
            "virtual_server 192.0.2.10 80 { lb_algo rr }",
            word,
            "`service www {`",
        ),
        (Top, "frontend www", word, "`service www {`"),
        (Top, "backend web", word, "`pool web {`"),
        (
            Top,
            "upstream web { server 10.0.0.1; }",
            word,
            "`pool web {`",
        ),
        (Top, "table inet lb { }", word, "flbc makes the nft rules"),
        (
            Top,
            "import 'conf.d/*.flb'",
            word,
            "`include \"conf.d/*.flb\"`",
        ),
        (Vip, "bind 192.0.2.10:80", word, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "bind *:80", word, "`vip 192.0.2.10 tcp 80`"),
        (
            Vip,
            "listen 192.0.2.10:53 udp",
            word,
            "`vip 192.0.2.10 udp 53`",
        ),
        (Vip, "fwmark 1", word, "`vip 192.0.2.10 tcp 80`"),
        (Vip, "protocol TCP", word, "`vip 192.0.2.10 tcp 80, 443`"),
        (
            Server,
            "real_server 10.20.0.11 8080",
            word,
            "`server 10.20.0.11:8080`",
        ),
        (
            Server,
            "RIP 10.20.0.11:8080",
            word,
            "`server 10.20.0.11:8080`",
        ),
        (
            Server,
            "member 10.20.0.11:8080 weight=2",
            word,
            "`server 10.20.0.11:8080 weight 2`",
        ),
        (
            Service,
            "real_server 10.20.0.11 8080 { weight 1 }",
            word,
            "`server 10.20.0.11:8080`",
        ),
        (
            Service,
            "sorry_server 10.20.0.97 80",
            word,
            "`server 10.20.0.99:8080 backup`",
        ),
        (Service, "use pool", word, "`pool web`"),
        (Service, "default_backend web", word, "`pool web`"),
        (Service, "lb_algo rr", word, "`scheduler rr`"),
        (
            Service,
            "balance leastconn",
            word,
            "`scheduler round-robin`",
        ),
        (Service, "lb_kind NAT", word, "`mode nat`"),
        (Service, "lb_kind DR", word, "`mode dr on eth0`"),
        (Service, "persistence_timeout 300", word, "`persist 300s`"),
        (
            Service,
            "persistence_granularity 255.255.255.0",
            word,
            "`persist 5m by source/24`",
        ),
        (Service, "sticky 10 min", word, "`persist 10m`"),
        (Service, "ops", word, "one-packet scheduling"),
        (Service, "quorum 2", word, "one server is up"),
        (
            Service,
            "inhibit_on_failure",
            word,
            "does not check servers",
        ),
        (Service, "alpha", word, "does not check servers"),
        (Service, "health-check", word, "does not check servers"),
        (
            Service,
            "HTTP_GET { url { path / } }",
            word,
            "does not check servers",
        ),
        (Service, "delay_loop 6", word, "does not check servers"),
        (Service, "notify_up /bin/true", word, "runs no programs"),
        (
            Service,
            "ssl_certificate /etc/cert",
            word,
            "see addresses and ports",
        ),
        (Service, "limit_conn 10", word, "limits neither"),
        (Service, "access_log off", word, "writes no log"),
        (Service, "weight 3", word, "`server 10.20.0.11 weight 3`"),
        (
            Service,
            "schedular maglev",
            word,
            "did you mean `scheduler`",
        ),
        (
            Service,
            "Scheduler maglev",
            word,
            "did you mean `scheduler`",
        ),
        (Service, "POOL web", word, "did you mean `pool`"),
    ]);
}

#[test]
fn one_slip_is_one_fault() {
    for (file, code) in [
        (
            "service a {\n    service b {\n        vip 192.0.2.1 tcp 80\n        server 10.0.0.1\n    }\n}\n",
            Code::MisplacedStatement,
        ),
        (
            "service a {\n    defaults {\n        mode nat\n    }\n}\n",
            Code::MisplacedStatement,
        ),
        (
            "define x = 192.0.2.1\nservice a {\n    vip ${x} tcp 80\n    server 10.0.0.1\n}\n",
            Code::BadStatement,
        ),
    ] {
        let (faults, _) = errors(file);
        let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(codes, [code], "{faults:#?}");
    }
}
