//! flbc compiles a small load-balancer language into nftables rulesets.
//!
//! ```text
//! source ──syntax──▶ tree ──check──▶ model ──schedule──▶ plan ──lower──▶ ruleset ──emit──▶ text, JSON, netlink
//!                                      │                                                            │
//!                    doctor, explain, real_server                                     diff ──apply──▶ kernel
//!                                                                                            ▲  ▲         │
//!                                                                             engine, operate notes    view ──▶ status
//! ```
//!
//! Data flows one way. Each stage is a module that knows only those before it, and all report to one
//! [`diagnostic::Diagnostics`], so that one run tells every fault. Up to `emit` and `diff` nothing touches Linux but
//! reading the files; [`kernel`] alone does, and [`notes`] keeps files in `/run`. [`view`] reads tables back. [`operate`] is what operators ask for, [`status`] what they are told of the
//! tables, and `cli` the face of it.
//!
//! This library is flbc's own: the program, its tests, its benchmarks and its fuzz targets are made of it, and everything
//! is public for them. It keeps no promise to other programs: names and types change with any version. What is kept is
//! the language, the codes of faults, the options and the exit statuses of the program.

// For what pest generates without its `std`.
extern crate alloc;

/// Says that a place is never reached, and why: a build for tests stops there, a release goes on with the harmless value
/// that follows.
macro_rules! impossible {
    ($why:literal) => {
        debug_assert!(false, $why)
    };
}

// In the rooms that work on statements, a new variant of flbc's own enums is a question to every `match`: the compiler
// asks it, and a wildcard would answer in the dark.
pub mod apply;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod check;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod diagnostic;
pub mod diff;
pub mod doctor;
pub mod emit;
pub mod engine;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod explain;
pub mod foreign;
pub mod kernel;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod lower;
pub mod model;
pub mod notes;
pub mod operate;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod outline;
pub mod real_server;
pub mod ruleset;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod schedule;
pub mod source;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod status;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod syntax;
pub mod view;

use diagnostic::Diagnostics;
use lower::layout::Layout;
use model::Model;
use ruleset::Ruleset;
use source::Sources;
use syntax::Input;

/// Reads and checks one file set.
///
/// Every fault goes to `sink`; with an error among them there is no model.
pub fn read(input: Input, sources: &mut Sources, sink: &mut Diagnostics) -> Option<Model> {
    let tree = syntax::parse_program(input, sources, sink)?;
    let model = check::check(&tree, sources, sink);
    // Weights of a damaged model would be complained of in vain.
    (sink.errors() == 0).then_some(model)
}

/// Compiles one file set, for an empty kernel.
///
/// Every fault goes to `sink`; with an error among them there is no ruleset. `table` is the name of the
/// tables, as [`ruleset::name::check_table`] allows it; `layout` says which bits of marks their numbers are in.
pub fn compile(
    input: Input,
    (table, layout): (&str, Layout),
    sources: &mut Sources,
    sink: &mut Diagnostics,
) -> Option<Ruleset> {
    let model = read(input, sources, sink)?;
    rules(&model, (table, layout), sink)
}

/// The same for a file set that was read.
pub fn rules(
    model: &Model,
    (table, layout): (&str, Layout),
    sink: &mut Diagnostics,
) -> Option<Ruleset> {
    check::require_source_macs(model, sink);
    let plan = schedule::schedule(model, sink);
    let numbers = lower::number::fresh(&plan, table, layout, sink);
    // Millions of servers without a number would be lowered in vain.
    (sink.errors() == 0).then(|| lower::lower(model, &plan, &numbers, table))
}
