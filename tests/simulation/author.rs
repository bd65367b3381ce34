//! What chance says, and the files that it writes: up to six services, in nat and direct return, on three interfaces.

use std::fmt::Write as _;
use std::rc::Rc;

use flbc::diagnostic::Diagnostics;
use flbc::model::Model;
use flbc::source::Sources;
use flbc::syntax::Input;

/// xorshift64*: the same numbers for the same seed everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for place in (1..all.len()).rev() {
            all.swap(place, self.index(place + 1));
        }
    }
}

/// The interfaces that files name.
pub(crate) const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// A file that can be applied.
pub(crate) fn file(dice: &mut Dice) -> Rc<str> {
    let mut text = String::new();
    let pool = dice.one_in(2);
    if pool {
        text.push_str("pool farm {\n");
        servers(&mut text, 90, false, dice);
        text.push_str("}\n");
    }
    let mut numbers = [0, 1, 2, 3, 4, 5, 6, 7];
    dice.shuffle(&mut numbers);
    let count = 1 + dice.index(6);
    for number in &numbers[..count] {
        service(&mut text, *number, pool, dice);
    }
    text.into()
}

fn service(text: &mut String, number: u8, pool: bool, dice: &mut Dice) {
    let direct = dice.one_in(3);
    let ports = dice.pick(&["80", "443", "80, 443", "5000-5999"]);
    let protocol = dice.pick(&["tcp", "udp", "tcp, udp"]);
    let six = if dice.one_in(3) {
        format!(", 2001:db8::{number}")
    } else {
        String::new()
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "service s{number} {{\n  vip 192.0.2.{number}{six} {protocol} {ports}\n  on-empty reject"
    );
    let mode = if direct {
        dice.pick(&[
            "dr on eth0",
            "dr on eth0 via eth1",
            "dr on eth1",
            "dr on eth0, eth2 via eth1",
            "dr on eth2 via eth1 from 02:00:00:00:01:01",
        ])
    } else {
        dice.pick(&["nat", "nat", "nat masquerade"])
    };
    let scheduler = dice.pick(&[
        "rr",
        "rr",
        "random",
        "hash by source",
        "maglev by source table 13",
    ]);
    let _ = writeln!(text, "  mode {mode}\n  scheduler {scheduler}");
    if !direct && pool && dice.one_in(2) {
        text.push_str("  pool farm\n");
    } else {
        servers(text, number, direct, dice);
    }
    text.push_str("}\n");
}

fn servers(text: &mut String, net: u8, direct: bool, dice: &mut Dice) {
    for host in 0..=dice.below(4) {
        let port = if direct || dice.one_in(2) {
            ""
        } else {
            ":8080"
        };
        let state = dice.pick(&["", "", "", "drain", "down", "backup"]);
        let weight = 1 + dice.below(3);
        let mac = if direct && dice.one_in(4) {
            format!(" mac 02:00:00:00:{net:02}:{host:02}")
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "  server w{host} 10.20.{net}.{}{port} weight {weight} {state}{mac}",
            host + 1
        );
    }
}

/// A file that cannot be read, or says nothing.
pub(crate) fn faulty(dice: &mut Dice) -> Rc<str> {
    let text = dice.pick(&[
        "service s1 {",
        "service s1 { vip 192.0.2.1 tcp 80; mode dr; server 10.20.1.1 }",
        "servce s1 { }",
    ]);
    text.into()
}

/// What a text says.
pub(crate) fn read(text: &str, sources: &mut Sources, sink: &mut Diagnostics) -> Option<Model> {
    flbc::read(Input::Stdin(text.as_bytes().to_vec()), sources, sink)
}

/// What a text says that has no fault.
pub(crate) fn model(text: &str) -> Model {
    let mut sink = Diagnostics::new();
    let model = read(text, &mut Sources::new(), &mut sink);
    model.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()))
}

/// Whether a text can be applied.
pub(crate) fn is_sound(text: &str) -> bool {
    let model = read(text, &mut Sources::new(), &mut Diagnostics::new());
    model.is_some_and(|model| !model.services.is_empty())
}
