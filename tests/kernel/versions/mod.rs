//! Two versions of nft on one kernel, this machine's and another: whichever loaded the rules, they do the same, and
//! `flbc apply` finds them right.
//!
//! `make test-nft` runs these tests. `FLBC_OTHER_NFT` names the other nft, `FLBC_WITNESS` the program of `witness/`.

mod by_hand;
mod errors;
mod rest;
mod witness;

use std::env;
use std::process::Command;

use crate::lab::namespace::{Finished, Namespace};
use crate::namespace::sorted;

/// One nft.
#[derive(Debug)]
struct Nft {
    program: String,
    version: String,
}

/// A form that nft reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// What the environment must say.
fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test-nft`"))
}

/// This machine's nft, and the other.
fn both() -> [Nft; 2] {
    let both = [Nft::new("nft"), Nft::new(&given("FLBC_OTHER_NFT"))];
    let [this, other] = &both;
    assert_ne!(this.version, other.version, "one nft twice proves nothing");
    both
}

impl Nft {
    fn new(program: &str) -> Self {
        let output = Command::new(program).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let version = String::from_utf8(output.stdout).unwrap();
        assert!(version.starts_with("nftables v"), "{program}: {version}");
        Self {
            program: program.to_owned(),
            version: version.trim_end().to_owned(),
        }
    }

    fn run(&self, machine: &Namespace, arguments: &[&str], stdin: &str) -> Finished {
        let finished = machine.command(&self.program, arguments, stdin);
        assert!(
            finished.success && finished.stderr.is_empty(),
            "{}, {arguments:?}: {}about:\n{stdin}",
            self.version,
            finished.stderr
        );
        finished
    }

    fn load(&self, machine: &Namespace, form: Form, rules: &str) {
        let arguments: &[&str] = match form {
            Form::Text => &["-f", "-"],
            Form::Json => &["-j", "-f", "-"],
        };
        self.run(machine, arguments, rules);
    }

    /// All that there is.
    fn list(&self, machine: &Namespace) -> String {
        self.run(machine, &["list", "ruleset"], "").stdout
    }

    /// The same with elements in order and without the text by which flbc knows its tables.
    fn state(&self, machine: &Namespace) -> String {
        sorted(&self.list(machine))
    }

    /// Takes all rules away and brings back what was saved, as a restart of the service `nftables` does.
    fn restore(&self, machine: &Namespace, saved: &str) {
        self.load(machine, Form::Text, &format!("flush ruleset\n{saved}"));
    }
}
