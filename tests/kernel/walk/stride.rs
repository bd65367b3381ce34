//! The steps of a walk: what is done, and how flbc comes to know of it.

use std::thread::sleep;
use std::time::Instant;

use super::draft::wish;
use super::{FILE, Walk, foreign};
use crate::apply_host::states;

impl Walk {
    /// One step, which ends with an apply of the file as it is.
    pub(super) fn step(&mut self) {
        if self.story.step == 0 {
            self.count("beginning anew");
            self.set.clear();
            self.write();
            self.apply(true);
            return;
        }
        match self.dice.below(42) {
            0..=11 => self.edited(),
            12..=19 => self.foreign(),
            20..=24 => self.set_one(),
            25..=27 => self.note(),
            28..=32 => self.tried(),
            33 => self.unloaded(),
            34 => self.loaded(),
            35 | 36 => self.killed(),
            37 => self.refused(),
            38 => self.raced(),
            39 => self.restored(),
            40 => self.another_interface(),
            _ => self.another_table(),
        }
    }

    /// Changes the file in a few places, and writes it.
    fn edit(&mut self) {
        for _ in 0..=self.dice.below(3) {
            self.draft.edit(&mut self.dice);
        }
        self.write();
    }

    fn edited(&mut self) {
        self.edit();
        if !self.set.is_empty() && self.dice.below(3) > 0 {
            self.count("edits beside what was set");
            self.keep(false);
        } else {
            self.count("edits");
            self.compared();
        }
    }

    /// An apply that a dry run has foretold.
    fn compared(&mut self) {
        let before = self.host.state();
        let generation = self.host.generation();
        let dry = self.flbc(&["apply", "--force", "--dry-run", FILE]);
        assert_eq!(
            self.host.generation(),
            generation,
            "a dry run changes nothing"
        );
        let said = self.apply(false);
        let told = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let last = lines.pop().unwrap_or_default();
            let counts = last.split("; ").next().unwrap_or_default().to_owned();
            (lines, counts)
        };
        assert_eq!(told(&dry.out), told(&said), "what was foretold");
        let nothing = said.starts_with("no difference");
        assert_eq!(dry.code, Some(i32::from(!nothing)), "{dry:?}");
        // A server that no VIP leads to is in the file alone.
        let idle = said.contains(" in the kernel 0 elements added, 0 removed, 0 other changes");
        assert_eq!(self.host.state() == before, nothing || idle, "{said}");
    }

    /// Applies the file, which ends what was set; returns what is said.
    pub(super) fn apply(&mut self, touched: bool) -> String {
        self.applied(&["apply", "--force", FILE], touched)
    }

    fn applied(&mut self, arguments: &[&str], touched: bool) -> String {
        let start = Instant::now();
        let ran = self.done(arguments);
        self.usual = start.elapsed();
        let warned = self.oracle.warnings();
        let rest = ran.err.strip_prefix(&*warned);
        let rest = rest.unwrap_or_else(|| panic!("{:?} without {warned:?}", ran.err));
        for line in rest.lines() {
            let drift = line.starts_with("warning: changed by somebody else: ")
                || line.contains(" is another interface than at the last apply");
            // What was set ends with its server, or where the tables that had it are gone.
            let kept = line.starts_with("warning: what was set on ");
            assert!(
                drift && touched || kept || line.contains("would move"),
                "{touched}: {line}"
            );
        }
        if !arguments.contains(&"--keep") {
            self.set.clear();
        }
        ran.out
    }

    /// Applies the file, and what was set beside it.
    fn keep(&mut self, touched: bool) {
        self.set = self.draft.kept(&self.set, &mut self.addresses);
        self.applied(&["apply", "--force", "--keep", FILE], touched);
    }

    fn foreign(&mut self) {
        let mut flushed = false;
        for _ in 0..=self.dice.below(3) {
            let deed = foreign::change(&self.host, &mut self.dice);
            let words: Vec<&str> = deed.told.split(' ').take(3).collect();
            let taken = if deed.taken { "" } else { ", not taken" };
            self.count(&format!("{}{taken}", words.join(" ")));
            self.tell(format!("{}{taken}", deed.told));
            flushed |= deed.told.contains("delete table") || deed.told.contains("flush ruleset");
        }
        if self.dice.below(3) == 0 {
            self.edit();
        }
        // What was set is known by the tables.
        if flushed || self.dice.below(3) == 0 {
            self.apply(true);
        } else {
            self.keep(true);
        }
    }

    fn set_one(&mut self) {
        let (service, server, file) = self.draft.any_server(&mut self.dice);
        let what = match self.dice.below(8) {
            0 => vec!["up".to_owned()],
            1 | 2 => vec!["down".to_owned()],
            3 | 4 => vec!["drain".to_owned()],
            5 => vec!["backup".to_owned()],
            _ => vec!["weight".to_owned(), self.dice.below(5).to_string()],
        };
        let words: Vec<&str> = what.iter().map(String::as_str).collect();
        let arguments = [&["set", &service, &server], &words[..]].concat();
        let ran = self.flbc(&arguments);
        if let Some(set) = wish(&self.set, &server, file, &what) {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            self.set = set;
            let address = self.draft.written_address_of(&server);
            self.addresses.insert(server, address);
            self.count("set");
        } else {
            assert_eq!(ran.code, Some(2), "{ran:?}");
            self.count("set, refused");
        }
    }

    /// Loses, damages, or makes old what is remembered.
    fn note(&mut self) {
        let kind = self.dice.below(6);
        let place = self.dice.below(1 << 30) as usize;
        let edits = self.dice.below(2) == 0;
        let state = states(&self.host.folder().join("flbc")).pop();
        let whole = state
            .as_ref()
            .map(|path| std::fs::read(path).expect("a file"));
        let (Some(state), Some(mut whole)) = (state, whole) else {
            panic!("nothing is remembered");
        };
        let told = match kind {
            0 => {
                self.host.forget();
                "the folder of notes is lost"
            }
            1 => {
                std::fs::remove_file(state).expect("it is there");
                "the note is lost"
            }
            2 => {
                let at = place % whole.len();
                whole[at] ^= 1 << (place % 8);
                std::fs::write(state, whole).expect("writes");
                "a bit of the note is turned"
            }
            3 => {
                whole.truncate(place % whole.len());
                std::fs::write(state, whole).expect("writes");
                "the note is cut"
            }
            4 => {
                self.host.kill_after_transaction();
                "a run was killed before it wrote its note"
            }
            _ => {
                // An older note comes back, as from a backup.
                self.edit();
                self.apply(false);
                std::fs::write(state, whole).expect("writes");
                "an older note is back"
            }
        };
        self.count(told);
        self.tell(told);
        if edits {
            self.edit();
        }
        if kind == 4 {
            self.keep(false);
        } else {
            // What an older note does not say, others seem to have done.
            self.apply(kind == 5);
        }
    }

    /// A trial that ends in one way or the other.
    fn tried(&mut self) {
        let before = self.host.state();
        let (draft, set) = (self.draft.clone(), self.set.clone());
        self.edit();
        let by_itself = self.dice.below(12) == 0;
        let end = self.dice.below(4);
        let meanwhile = self.dice.below(3) == 0;
        let timeout = if by_itself { "1s" } else { "1h" };
        let ran = self.done(&["try", "--timeout", timeout, FILE]);
        if ran.out.ends_with("nothing to try\n") {
            self.count("trials of nothing");
            self.keep(false);
            return;
        }
        if by_itself {
            let start = Instant::now();
            while self.host.state() != before {
                assert!(start.elapsed().as_secs() < 30, "never back");
                sleep(std::time::Duration::from_millis(50));
            }
            // The one that goes back has yet to write it down.
            let start = Instant::now();
            while self.host.flbc(&["status"], "").out.starts_with("on trial") {
                assert!(start.elapsed().as_secs() < 30, "never over");
            }
            self.count("trials that went back by themselves");
        } else {
            let refused = self.flbc(&["apply", "--force", FILE]);
            assert_eq!(refused.code, Some(5), "a trial is open: {refused:?}");
            let mut dropped = false;
            if meanwhile {
                let deed = foreign::change(&self.host, &mut self.dice);
                dropped = deed.taken;
                self.tell(deed.told);
            }
            if end == 0 {
                self.done(&["confirm"]);
                self.count("trials confirmed");
                self.apply(dropped);
                return;
            }
            self.done(&["try", "--back"]);
            self.count("trials taken back");
            // What another program did to its own tables stays.
            let ours = |object: &str| {
                object.starts_with("table inet flbc ") || object.starts_with("table netdev flbc ")
            };
            let mut before = before;
            let mut now = self.host.state();
            before.retain(|object| ours(object));
            now.retain(|object| ours(object));
            let differs: Vec<&String> = now.symmetric_difference(&before).collect();
            assert!(differs.is_empty(), "not as before the trial: {differs:#?}");
        }
        self.draft = draft;
        self.set = set;
        self.write();
        let kept = self.flbc(&["apply", "--force", "--keep", FILE]);
        assert_eq!(
            (kept.code, &*kept.out),
            (Some(0), "no difference\n"),
            "{}",
            kept.err
        );
    }

    fn unloaded(&mut self) {
        self.count("unloaded");
        self.open.clear();
        self.done(&["unload"]);
        self.apply(false);
    }

    /// The rules come by nft.
    fn loaded(&mut self) {
        self.edit();
        let rules = self.done(&["compile", FILE]).out;
        self.host.namespace.nft(&rules);
        self.count("loaded by nft");
        let said = self.apply(true);
        self.tell(said);
    }

    /// A run that is killed at any moment.
    fn killed(&mut self) {
        let edited = self.dice.below(4) > 0;
        if edited {
            self.edit();
        }
        let usual = self.usual * self.dice.below(110) as u32 / 100;
        let mut child = self.host.start(&["apply", "--force", FILE]);
        sleep(usual);
        child.kill().expect("a child");
        child.wait().expect("a child");
        self.count("killed");
        self.tell(format!("a run was killed after {usual:?}"));
        self.apply(false);
    }

    /// Files that are at fault, and a service that is left out.
    fn refused(&mut self) {
        let [text, _] = self.draft.texts();
        let before = self.host.state();
        let generation = self.host.generation();
        for (fault, code) in [
            ("service { }\n", 2),
            (
                "service none { vip 192.0.2.98 tcp 1; mode dr on eth7; server 10.20.0.11 }\n",
                6,
            ),
        ] {
            self.host.write("faulty.flb", &format!("{text}{fault}"));
            let ran = self.flbc(&["apply", "--keep", "/run/faulty.flb"]);
            assert_eq!(ran.code, Some(code), "{ran:?}");
            assert_eq!(self.host.state(), before, "{ran:?}");
            assert_eq!(self.host.generation(), generation, "{ran:?}");
        }
        self.count("faulty files and interfaces that are not there");
        self.keep(false);
    }

    /// Two runs at once, with the same file and an older one.
    fn raced(&mut self) {
        let [text, pools] = self.draft.texts();
        self.host
            .write("older.flb", &text.replace("pools.flb", "older-pools.flb"));
        self.host.write("older-pools.flb", &pools);
        self.edit();
        let children = [FILE, "/run/older.flb"].map(|file| self.host.start(&["apply", file]));
        for child in children {
            let ran = crate::apply_host::finish(child, "");
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        self.count("two at once");
        self.apply(false);
    }

    /// Another program saves all rules, and restores them some steps later.
    fn restored(&mut self) {
        if self.saved.is_empty() {
            self.saved = self.host.list();
            self.count("listing saved");
        } else {
            let deed = foreign::restore(&self.host, &std::mem::take(&mut self.saved));
            assert!(deed.taken, "{}", deed.told);
            self.tell(deed.told);
            self.count("listing restored");
        }
        self.apply(true);
    }

    /// An interface that rules name is made anew.
    fn another_interface(&mut self) {
        self.host.namespace.ip("link del eth2
            link add eth2 type veth peer name eth2p
            link set eth2 up");
        self.count("an interface made anew");
        self.tell("eth2 is made anew");
        self.keep(true);
    }

    /// Tables of another name are no business of these.
    fn another_table(&mut self) {
        let text = "service other { vip 192.0.2.77 tcp 80; server 10.20.0.11 }\n";
        let file = self.host.write("other.flb", text);
        self.done(&["apply", "--table", "other", &file]);
        self.count("tables of another name");
        self.keep(false);
        self.done(&["unload", "--table", "other"]);
    }
}
