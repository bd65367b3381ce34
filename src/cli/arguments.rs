//! What can be asked of flbc: commands, options and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::lower::layout::Layout;

use super::{
    check, compile, daemon, doctor, explain, mark_shift, real_server, set, status, tables, trial,
};

pub(super) const EXIT_CODES: &str = "\
Exit status:
  0  all well
  1  there is a difference (diff, fmt --check, apply --dry-run), nobody takes the flow (explain), something is to be mended (doctor), or what was applied is not in force (status)
  2  bad input or usage, or the output could not be written
  3  the kernel refused, and has what it had
  4  the privilege is missing: root, or the capability CAP_NET_ADMIN
  5  another flbc changes the same tables, or a trial is open; nothing was changed
  6  applied in part: services whose interface is missing were left out as a whole, and named";

pub(super) const EXAMPLES: &str = "\
Examples:
  flbc compile lb.flb | nft -f -
  flbc compile --format json lb.flb | nft -j -f -
  flbc apply --dry-run lb.flb
  flbc apply lb.flb
  flbc try --timeout 2m lb.flb
  flbc confirm
  flbc set www web1 drain
  flbc run --follow lb.flb
  flbc status
  flbc check lb.flb
  flbc fmt --check conf.d/*.flb

The language is in flb(5).";

/// Compiles load-balancer files (.flb) into nftables rulesets
///
/// flbc reads a small language that names virtual services, real servers, weights and modes, checks it, and
/// writes rules that balance TCP, UDP and SCTP in the Linux kernel: by NAT or by direct return.
#[derive(Debug, Parser)]
#[command(name = "flbc", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    /// When to colour messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `--table`, of every command that makes tables, changes them or looks at them.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The name of both tables
    #[arg(long, value_name = "NAME", default_value = crate::ruleset::name::DEFAULT_TABLE, value_parser = compile::table_name)]
    table: String,
}

impl std::ops::Deref for Named {
    type Target = str;

    fn deref(&self) -> &str {
        &self.table
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Writes the nftables ruleset of a file
    ///
    /// The output replaces flbc's own two tables (inet and netdev) in one transaction and touches no other.
    /// With any error in the file, nothing is written.
    Compile {
        /// What to write: `nft` for `nft -f`, `json` for `nft -j -f`
        #[arg(long, value_name = "FORMAT", default_value = "nft")]
        format: compile::Format,
        /// Where to write: replaced as a whole, or not at all; standard output if not given
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        table: Named,
        #[arg(long, value_name = "N", default_value = "0", value_parser = mark_shift::layout, help = mark_shift::HELP, long_help = mark_shift::made())]
        mark_shift: Layout,
        /// The .flb file, `-` for standard input
        file: PathBuf,
    },
    /// Makes the kernel have what a file says, changing only what differs
    ///
    /// Reads what the kernel has in flbc's own two tables, and commits the difference as one transaction: at every
    /// instant the kernel has the old configuration or the new one, whole. What did not change is not touched:
    /// counters go on, and so do connections and turns. Prints what changed in the file's own words, and of services
    /// with `hash` and `maglev` how many clients get another server, as diff does. Connections to servers that are gone
    /// or down are forgotten.
    Apply {
        /// Change nothing: print the difference and let the kernel check it
        #[arg(long)]
        dry_run: bool,
        /// Compare with these rules instead of the kernel's: what `flbc compile` wrote earlier. Needs no privilege
        #[arg(long, value_name = "RULES", requires = "dry_run", conflicts_with_all = ["keep", "timing"])]
        against: Option<PathBuf>,
        /// Keep what `flbc set` changed, where the file still has the server
        #[arg(long)]
        keep: bool,
        /// Tell on standard error how long the kernel's transaction took
        #[arg(long)]
        timing: bool,
        /// Apply a file without any service too, which removes all that is there
        #[arg(long)]
        allow_empty: bool,
        /// Take over a table of this name that another program made; what is in it is lost
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        table: Named,
        #[arg(long, value_name = "N", value_parser = mark_shift::layout, help = mark_shift::HELP, long_help = mark_shift::kept())]
        mark_shift: Option<Layout>,
        /// The .flb file, `-` for standard input
        file: PathBuf,
    },
    /// Applies a file, and goes back by itself unless `flbc confirm` comes in time
    ///
    /// For a change that may cut you off. Before anything is applied, a process of its own session is started that
    /// keeps what is there now, waits, and puts it back when the time is over: also when the terminal or the
    /// connection to it dies, or flbc is killed. The command itself ends at once. Going back is one transaction;
    /// it forgets the connections to servers that only the tried file had. While a trial is open, apply, set, unload
    /// and another try are refused. If something kills the process that waits, the next flbc command starts another one, or
    /// goes back first where the time is over. Time that the machine sleeps counts. Where the system kills all processes of a
    /// user who logs out (`KillUserProcesses=yes` in logind.conf), run it by `systemd-run --scope`.
    Try {
        /// How long to wait for `flbc confirm`: `90s`, `5m`
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = trial::timeout)]
        timeout: std::time::Duration,
        /// Go back at once from the trial that is open
        #[arg(long, conflicts_with_all = ["file", "timeout", "allow_empty"])]
        back: bool,
        /// Try a file without any service too, which removes all that is there
        #[arg(long)]
        allow_empty: bool,
        #[command(flatten)]
        table: Named,
        #[arg(long, value_name = "N", value_parser = mark_shift::layout, conflicts_with = "back", help = mark_shift::HELP, long_help = mark_shift::kept())]
        mark_shift: Option<Layout>,
        /// The .flb file, `-` for standard input
        #[arg(required_unless_present = "back")]
        file: Option<PathBuf>,
    },
    /// Changes one real server in the kernel at once, without editing the file
    ///
    /// As if the server's line in the file said so: a server of a pool is one server, so that the change holds for all
    /// services that use the pool, which are then named. `down` forgets its connections, `drain` keeps them. `flbc
    /// status` shows what was set. The next `flbc apply` ends it and says so; `flbc apply --keep` keeps it. Setting what
    /// the file says anyway ends it too. It goes with a server that is renamed and keeps its address. It is kept in a file
    /// under /run/flbc, outlives a flush of the rules, and is gone after a reboot, as they are.
    Set {
        /// The service
        service: String,
        /// One of its servers, by its name
        server: String,
        /// What it is to be
        what: set::What,
        /// The weight, 0 to 65535
        #[arg(value_name = "N", required_if_eq("what", "weight"), value_parser = set::weight)]
        weight: Option<u16>,
        /// The file that the tables are made from, where that is no longer remembered: it is applied too
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        table: Named,
    },
    /// Keeps in force what a file says, whatever others do: the daemon
    ///
    /// Applies the file as `flbc apply --keep` does, and stays, in the foreground. It watches the kernel: when another
    /// program flushes the ruleset, deletes a table of flbc's, switches it off or changes what is in it, it is put right at
    /// once, and who did it is told. Whoever does that again and again is let have it for a while: after three repairs
    /// within a minute the next comes a minute later, then two, four, eight and fifteen. Interfaces are followed: services
    /// whose interface is missing are left out, and come in when it comes.
    ///
    /// All other commands work beside it. `flbc apply FILE` replaces what is kept in force, until the next reload; `flbc
    /// unload` has it keep nothing until then. While a trial is open only `flbc set` is done.
    ///
    /// Nothing depends on it: rules, connections and counters stay when it ends, however it ends. SIGHUP has it read its
    /// file again, SIGTERM ends it, and SIGUSR2 lets the program that lies in its place by then go on as the same process.
    ///
    /// What happens is told on standard error, and by `flbc events`.
    Run {
        /// Read the file again whenever it, or a file that it includes, has changed; with a fault in it, what is in force stays
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        table: Named,
        #[arg(long, value_name = "N", value_parser = mark_shift::layout, help = mark_shift::HELP, long_help = mark_shift::kept())]
        mark_shift: Option<Layout>,
        /// The .flb file
        file: PathBuf,
    },
    /// Has the daemon read its file again
    ///
    /// Prints what `flbc apply` would print, faults too, and ends as it would. What was in force stays where the file has a
    /// fault, or says no service.
    Reload {
        #[command(flatten)]
        table: Named,
    },
    /// Tells what happened, when, why and by whom, as far as a daemon remembers
    ///
    /// The last 10,000 events, the oldest first. They are lost when the daemon ends; its log has them too.
    Events {
        /// Go on with what happens from now on
        #[arg(long)]
        follow: bool,
        /// For people, or one object a line
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: daemon::Format,
        #[command(flatten)]
        table: Named,
    },
    /// Keeps what `flbc try` applied
    Confirm {
        #[command(flatten)]
        table: Named,
    },
    /// Waits for the end of a trial, for `flbc try`
    #[command(name = tables::WATCH, hide = true)]
    WatchTrial {
        #[command(flatten)]
        table: Named,
    },
    /// Prints what differs between two files, in their own words
    ///
    /// Compares what the files mean: comments, order of statements and formatting do not count. Of services with `hash`
    /// and `maglev` it tells how many clients get another server, and the least that could be: the clients of
    /// servers that go, and the shares of those that come. Warns where the scheduler that a service had would move far fewer.
    Diff {
        /// The file to start from, `-` for standard input
        old: PathBuf,
        /// The file to go to, `-` for standard input
        new: PathBuf,
    },
    /// Shows services and real servers as the kernel has them
    ///
    /// Weights, states, shares of slots, and what was counted: in nat new connections, and packets and bytes both ways;
    /// in direct return packets and bytes to the servers, which answer past the balancer (`-`). A packet is what the
    /// kernel treats as one: segments that it has put together count once. Servers that services share have the figures
    /// of all of them together. Counters go on when something else is applied. What a flowtable of another
    /// program takes around the rules is not counted. Tells how many clients and flows are remembered. Where
    /// the kernel has not what was applied, it warns with each reason (`not-in-force`) and ends with 1: tables that somebody
    /// removed, replaced, switched off or changed, interfaces that are gone or others, services that were left out. Warns of
    /// servers in nat that are sent to and do not answer, of maps that are nearly full, and of chains of others that may drop what is balanced.
    Status {
        /// How to show it
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: status::Format,
        /// The same as `--format json`
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// Look again every so many seconds, and show rates: connections, packets and bits a second
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = status::interval)]
        watch: Option<std::time::Duration>,
        #[command(flatten)]
        table: Named,
    },
    /// Removes flbc's own tables from the kernel, in one transaction
    Unload {
        /// Remove a table of this name that another program made, too
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        table: Named,
    },
    /// Says where a client's new flow goes, and why
    ///
    /// Takes the steps that the rules take: which service, which line matches, whether the client may come, which key
    /// is hashed to which slot, and whose that is; for round-robin and random the shares instead. Works from the
    /// file alone and needs no privilege. Exit status 0: a server takes it; 1: nobody does, or, with `--live`, the kernel
    /// follows this very flow from before the service.
    Explain {
        /// The client: `198.51.100.7:4000`, `[2001:db8::7]:4000`
        #[arg(long, value_name = "ADDR:PORT", value_parser = explain::endpoint)]
        from: std::net::SocketAddr,
        /// What it connects to
        #[arg(long, value_name = "VIP:PORT", value_parser = explain::endpoint)]
        to: std::net::SocketAddr,
        /// By which protocol
        #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
        protocol: explain::Transport,
        /// Also look on this machine: what `flbc set` changed beside the file, whether this very connection exists, and what `persist` and `track` remember
        #[arg(long)]
        live: bool,
        /// The name of both tables, for `--live`
        #[arg(long, value_name = "NAME", default_value = crate::ruleset::name::DEFAULT_TABLE, value_parser = compile::table_name)]
        table: String,
        /// How to say it
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: explain::Format,
        /// The .flb file, `-` for standard input
        file: PathBuf,
    },
    /// Says what on this machine would stop a file from working, and how to mend it
    ///
    /// For the balancer, before or after the file is applied. Looks at interfaces and what they stand on, VIPs and what circles around them,
    /// forwarding, reverse path filters, routes to servers and back to clients, rules that choose routes by marks, neighbours, lengths of
    /// packets, the table of connections, chains of other programs, and `nft`, lets the kernel check the rules, and, where it has them,
    /// looks for flows that pass their service by. What was set with `flbc set` counts as if the file said it. Changes nothing; asks servers and
    /// routers for their MAC addresses (1,024 at most), and waits for them for two and a half seconds. A way
    /// back to clients is looked for by the routes to the first 256 prefixes of `allow from`, or without it to root name
    /// servers; nothing is sent to them. Of rules of other programs it is read whether they refuse, translate or take packets away from
    /// connection tracking, not for which packets. Each finding comes
    /// with commands that mend it, or that show more where a person has to decide; words in capitals are to be filled in. At the end
    /// stands what was not looked at, and the commands that write what the servers need.
    /// Exit status 0: all well; 1: something is to be mended; 4: without the privilege, only a part was looked at.
    Doctor {
        /// Leave out findings of this kind: what is known, and meant to be so; may be given again
        #[arg(long = "except", value_name = "CODE", value_parser = doctor::code())]
        except: Vec<crate::doctor::FindingCode>,
        /// How to say it
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: doctor::Format,
        #[command(flatten)]
        table: Named,
        /// The .flb file, `-` for standard input
        file: PathBuf,
    },
    /// Writes what the machine of a real server needs
    ///
    /// For direct return: the VIP is taken, and nobody on the server's network may learn that the server has it. For
    /// nat: answers go back through the balancer. The output is to be run on that machine; it may run again at any
    /// time, and takes itself back when it is given `undo`. It touches nothing but what it made.
    RealServer {
        /// The server's name in the file; again for its other family, as `--server web1 --server web1-v6`
        #[arg(long = "server", value_name = "NAME", required = true)]
        servers: Vec<String>,
        /// Only what this service asks; all services that the server is in if not given
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
        /// The balancer's address in the servers' network, for nat without `masquerade` or `snat`; one for each family
        #[arg(long = "gateway", value_name = "ADDRESS", value_parser = real_server::gateway)]
        gateways: Vec<std::net::IpAddr>,
        /// What to write
        #[arg(long, value_name = "FORMAT", default_value = "sh")]
        format: real_server::Format,
        /// What to call tables, files and units on that machine, where more than one balancer uses it
        #[arg(long, value_name = "NAME", default_value = "flbc-real-server", value_parser = compile::table_name)]
        label: String,
        /// The .flb file, `-` for standard input
        file: PathBuf,
    },
    /// Reports the faults of files, and nothing else
    ///
    /// Each file is checked by itself, with all that it includes.
    Check {
        /// How to report: `human` to standard error, `json` to standard output
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: check::Format,
        /// The .flb files, `-` for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Rewrites files in the one canonical form
    ///
    /// Keeps every comment and never changes what a file means. Included files are not touched: name them.
    /// Standard input (`-`) is written to standard output.
    Fmt {
        /// Change nothing; list the files that are not in canonical form
        #[arg(long)]
        check: bool,
        /// The .flb files, `-` for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Writes a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes the man pages of section 1 into a folder
    Man {
        /// The folder; made if it does not exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}
