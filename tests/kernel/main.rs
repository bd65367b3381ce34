//! What flbc's rulesets do to real packets, in this machine's kernel: each test builds a network of
//! namespaces, writes a `.flb` file as its user would, loads what `flbc compile` makes of it with nft, and
//! sends traffic.
//!
//! Needs root. Without it every test fails and says so.

// A test that cannot do its work stops, with what it found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    missing_docs
)]

#[path = "../lab/mod.rs"]
mod lab;

mod access;
mod apply;
mod apply_binary;
mod apply_connections;
mod apply_drift;
mod apply_edits;
mod apply_host;
mod apply_race;
mod apply_refused;
mod cache;
mod connections;
mod counters;
mod daemon;
mod daemon_long;
mod direct_return;
mod doctor;
mod doctor_beside;
mod events;
mod everything;
mod fragments;
mod golden;
mod guard;
mod hops;
mod laboratory;
mod loaded;
mod mark_shift;
mod moved;
mod namespace;
mod nat;
mod numbering;
mod older;
mod operator;
mod persist;
mod ports;
mod prediction;
mod quoted;
mod random;
mod real_server;
mod refused;
mod renumbered;
mod replace;
mod rivals;
mod routed;
mod scheduler;
mod sctp;
mod set;
mod source_address;
mod source_mac;
mod state;
mod status;
mod strays;
mod three_ways;
mod timing;
mod track;
mod trial;
mod two_tables;
mod unit;
mod user_namespace;
mod versions;
mod walk;
