//! What an empty kernel has after the same file.

use std::collections::BTreeSet;

use super::FILE;
use super::draft::{Overrides, commands};
use crate::apply_host::{Host, unnumbered};

/// Another machine, that knows of one file at a time.
pub(super) struct Oracle {
    host: Host,
    /// The rules of the file, and what is said against it.
    compiled: Option<[String; 2]>,
    /// What these rules and what was set leave.
    known: Option<(Overrides, BTreeSet<String>)>,
    turn: u64,
}

/// The objects of flbc's tables, equal where only slots and sizes differ. The numbers of servers are in it.
pub(super) fn essence(listing: &str) -> BTreeSet<String> {
    let mut text = String::new();
    for line in listing.lines() {
        if !line.trim_start().starts_with("size ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    let mut all = unnumbered(&text);
    all.retain(|object| {
        ["table inet flbc ", "table netdev flbc "]
            .iter()
            .any(|table| object.starts_with(table))
    });
    all
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            host: machine(),
            compiled: None,
            known: None,
            turn: 0,
        }
    }

    /// A kernel that never had anything.
    pub(super) fn renew(&mut self) {
        *self = Self::new();
    }

    pub(super) fn write(&mut self, texts: &[String; 2]) {
        self.host.write("lb.flb", &texts[0]);
        self.host.write("pools.flb", &texts[1]);
        self.compiled = None;
        self.known = None;
    }

    fn compiled(&mut self) -> &[String; 2] {
        self.compiled.get_or_insert_with(|| {
            let ran = self.host.flbc(&["compile", FILE], "");
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            [ran.out, ran.err]
        })
    }

    /// What flbc says against the file whenever it reads it.
    pub(super) fn warnings(&mut self) -> String {
        self.compiled()[1].clone()
    }

    /// What an empty kernel has, after nft loaded the rules or flbc applied them.
    pub(super) fn wanted(&mut self, set: &Overrides) -> &BTreeSet<String> {
        if self.known.as_ref().is_none_or(|(known, _)| known != set) {
            let wanted = self.anew(set);
            self.known = Some((set.clone(), wanted));
        }
        &self.known.as_ref().expect("it was made").1
    }

    fn anew(&mut self, set: &Overrides) -> BTreeSet<String> {
        self.host.namespace.nft("flush ruleset\n");
        let notes = self.host.folder().join("flbc");
        if notes.exists() {
            self.host.forget();
        }
        self.turn += 1;
        if set.is_empty() && !self.turn.is_multiple_of(3) {
            let rules = self.compiled()[0].clone();
            self.host.namespace.nft(&rules);
        } else {
            let ran = self.host.flbc(&["apply", "--force", FILE], "");
            assert_eq!(ran.code, Some(0), "{}", ran.err);
        }
        for command in commands(set) {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let ran = self.host.flbc(&words, "");
            assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.err);
        }
        essence(&self.host.list())
    }
}

fn machine() -> Host {
    let host = Host::alone();
    host.namespace.ip("link add eth2 type veth peer name eth2p
        link set eth2 up");
    host
}
