//! A random walk of applies: edits of the file, other programs' changes, lost and damaged notes, servers that are set,
//! trials, killed runs. After each step the kernel has what the same file loaded into an empty kernel has.
//!
//! `FLBC_WALK_SEED=N` chooses the walk and `FLBC_WALK_STEPS=N` its length. The file, what was set and the dice begin anew
//! every hundred steps, each such leg with the next seed; the kernel and the notes go on.

mod author;
mod draft;
mod foreign;
mod open;
mod oracle;
mod probe;
mod stride;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use crate::apply_host::{Host, Ran};
use crate::lab::real_server::RealServer;
use crate::lab::topology::Topology;
use crate::operator::sampled;
use crate::random::Dice;

use draft::{Draft, Overrides};
use open::OpenOnes;
use oracle::Oracle;
use probe::Seen;

/// The main file, as flbc sees it.
const FILE: &str = "/run/lb.flb";

/// So many steps one seed is good for.
const LEG: u64 = 100;

/// So many steps are told of a walk that failed.
const TOLD: usize = 12;

/// All that a walk has.
struct Walk {
    topology: Topology,
    #[expect(dead_code, reason = "they answer until the walk is over")]
    serving: Vec<RealServer>,
    host: Host,
    oracle: Oracle,
    dice: Dice,
    draft: Draft,
    set: Overrides,
    /// The addresses of the servers that were set, as the file had them at the last apply.
    addresses: BTreeMap<String, String>,
    open: OpenOnes,
    /// A listing that was saved some time ago.
    saved: String,
    /// How the last apply that changed something took.
    usual: Duration,
    story: Story,
    /// How often each thing came about.
    counts: BTreeMap<String, u32>,
}

/// What happened, told when a walk fails.
#[derive(Default)]
struct Story {
    seed: u64,
    step: u64,
    deeds: VecDeque<(u64, String)>,
    files: VecDeque<(u64, [String; 2])>,
}

impl Story {
    fn tell(&mut self, deed: String) {
        self.deeds.push_back((self.step, deed));
        while let Some((step, _)) = self.deeds.front()
            && *step + (TOLD as u64) < self.step
        {
            self.deeds.pop_front();
        }
    }

    fn file(&mut self, texts: [String; 2]) {
        self.files.push_back((self.step, texts));
        if self.files.len() > 3 {
            self.files.pop_front();
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "the walk stopped at step {} of a leg; again: FLBC_WALK_SEED={} FLBC_WALK_STEPS={}; its last steps:",
            self.step,
            self.seed,
            self.step + 1
        );
        for (step, deed) in &self.deeds {
            eprintln!("  {step}: {deed}");
        }
        for (step, [main, pools]) in &self.files {
            eprintln!("written in step {step}:\n{main}and pools.flb:\n{pools}");
        }
    }
}

impl Walk {
    fn new() -> Self {
        let (topology, serving) = probe::network();
        let host = Host::new(&topology.balancer);
        Self {
            host,
            topology,
            serving,
            oracle: Oracle::new(),
            dice: Dice::new(0),
            draft: Draft::default(),
            set: Overrides::new(),
            addresses: BTreeMap::new(),
            open: OpenOnes::default(),
            saved: String::new(),
            usual: Duration::from_millis(50),
            story: Story::default(),
            counts: BTreeMap::new(),
        }
    }

    /// Another seed: a file that has nothing to do with the one before.
    fn turn(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
        self.draft = Draft::new(&mut self.dice);
        self.story.seed = seed;
        self.oracle.renew();
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn tell(&mut self, deed: impl Into<String>) {
        self.story.tell(deed.into());
    }

    /// Writes the files that the draft is.
    fn write(&mut self) {
        let texts = self.draft.texts();
        self.host.write("lb.flb", &texts[0]);
        self.host.write("pools.flb", &texts[1]);
        self.oracle.write(&texts);
        self.story.file(texts);
        self.open.judge(&self.draft, &self.set);
        // The next apply may end what was set.
        self.open.judge(&self.draft, &Overrides::new());
    }

    /// Runs flbc.
    fn flbc(&mut self, arguments: &[&str]) -> Ran {
        let ran = self.host.flbc(arguments, "");
        // What it says against the file is as long as the file.
        let said = ran.err.lines().filter(|line| line.contains(": "));
        let said: Vec<&str> = said.filter(|line| !line.starts_with(' ')).collect();
        self.tell(format!(
            "flbc {}: {:?} {} {}",
            arguments.join(" "),
            ran.code,
            said.join("; "),
            ran.out.lines().last().unwrap_or_default()
        ));
        ran
    }

    /// Runs flbc, which must succeed.
    #[track_caller]
    fn done(&mut self, arguments: &[&str]) -> Ran {
        let ran = self.flbc(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran
    }

    /// What must hold after a step.
    fn check(&mut self) {
        let warned = self.oracle.warnings();
        let dry = self.host.flbc(
            if self.set.is_empty() {
                &["apply", "--force", "--dry-run", FILE]
            } else {
                &["apply", "--force", "--dry-run", "--keep", FILE]
            },
            "",
        );
        assert_eq!(
            (dry.code, &*dry.out, &*dry.err),
            (Some(0), "no difference\n", &*warned),
            "at rest"
        );
        self.status();
        let wanted = self.oracle.wanted(&self.set);
        let has = oracle::essence(&self.host.list());
        let differs: Vec<&String> = has.symmetric_difference(wanted).collect();
        assert!(
            differs.is_empty(),
            "not as in an empty kernel, of {} and {} objects: {differs:#?}",
            has.len(),
            wanted.len()
        );
        let left: Vec<_> = std::fs::read_dir(self.host.folder().join("flbc"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        // Of its own table a state, a lock, wishes and how the last trial ended; of the other one a lock, and that it was unloaded.
        assert!(
            left.len() <= 6
                && left
                    .iter()
                    .all(|name| !name.to_string_lossy().contains(".new.")),
            "files are left behind: {left:?}"
        );
    }

    /// `status` tells of no drift, and how servers stand.
    fn status(&mut self) {
        let ran = self.host.flbc(&["status", "--json"], "");
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "status");
        let said: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        let mut shown = BTreeMap::new();
        for service in said["services"].as_array().into_iter().flatten() {
            let mut servers = BTreeMap::new();
            for server in service["servers"].as_array().into_iter().flatten() {
                let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
                servers.insert(text("name"), (text("state"), server["weight"].as_u64()));
            }
            shown.insert(
                service["name"].as_str().expect("a name").to_owned(),
                servers,
            );
        }
        let wanted = self.draft.standings(&self.set);
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(service, servers)| {
                let servers = servers.into_iter().map(|(name, standing)| {
                    (
                        name,
                        (standing.state.to_owned(), Some(standing.weight.into())),
                    )
                });
                (service, servers.collect::<BTreeMap<_, _>>())
            })
            .collect();
        assert_eq!(shown, wanted, "status");
    }

    /// Connections that are open live on, and others are opened.
    fn converse(&mut self) {
        self.open.judge(&self.draft, &self.set);
        let asked = self.open.ask();
        *self
            .counts
            .entry("connections that lived on".to_owned())
            .or_default() += asked;
        let targets = self.draft.targets();
        // Drawn in any case: the dice know nothing of the kernel.
        let which = self.dice.below(1 << 30) as usize;
        if self.open.are_few() && !targets.is_empty() {
            let target = &targets[which % targets.len()];
            self.open
                .add(&self.topology, (&self.draft, &self.set), target);
        }
    }

    /// Sends a few flows, and sees whether they go where `explain` says.
    fn probe(&mut self) {
        // `explain` tells of the file.
        if !self.set.is_empty() {
            return;
        }
        let targets = self.draft.targets();
        for _ in 0..3 {
            if targets.is_empty() {
                return;
            }
            let target = &targets[self.dice.below(targets.len() as u64) as usize];
            match probe::flow(&self.topology, &self.host, &self.draft, target) {
                Seen::Answered => self.count("flows answered as explained"),
                Seen::TurnedAway => self.count("flows turned away as explained"),
                Seen::Nothing => self.count("flows to nobody's address"),
            }
        }
    }
}

/// A number that the environment gives.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// How many KiB a process has in memory, or the kernel for its own data that it cannot give back.
fn kibibytes(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).expect("/proc");
    let line = text.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("a number")
}

#[test]
fn a_random_walk_always_ends_where_the_last_file_alone_does() {
    let steps = given("FLBC_WALK_STEPS").unwrap_or_else(|| sampled(40, 10_000).into());
    let first = given("FLBC_WALK_SEED").unwrap_or_else(|| {
        let clock = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        // Another walk each time where there is time for it.
        u64::from(sampled(0, 1)) * clock.as_secs()
    });
    println!("a walk of {steps} steps from FLBC_WALK_SEED={first}");
    let mut walk = Walk::new();
    let memory = || {
        (
            kibibytes("/proc/self/status", "VmRSS:"),
            kibibytes("/proc/meminfo", "SUnreclaim:"),
        )
    };
    let start = Instant::now();
    for step in 0..steps {
        if step % LEG == 0 {
            walk.turn(first + step / LEG);
            println!(
                "{step} steps, {:?}, {:?} KiB of the test and the kernel",
                start.elapsed(),
                memory()
            );
        }
        walk.story.step = step % LEG;
        walk.step();
        walk.check();
        walk.converse();
        if walk.dice.below(3) == 0 {
            walk.probe();
        }
    }
    println!(
        "{steps} steps, {:?}, {:?} KiB of the test and the kernel",
        start.elapsed(),
        memory()
    );
    println!("{:#?}", walk.counts);
    assert!(walk.counts.get("flows answered as explained") > Some(&0));
}
