//! `scheduler NAME [by KEY] [table N]`

use crate::check::reader::Reader;
use crate::check::values::{Algorithm, KEYS, algorithm, choice, decimal, is_prime, primes_around};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{HashKey, Mode, Scheduler};
use crate::source::Span;
use crate::syntax::tree::Word;

/// The largest Maglev table: the largest prime below 2^20. A slot costs the kernel about 100 bytes.
pub(in crate::check) const LARGEST_TABLE: u32 = 1_048_573;

/// A `scheduler` that was read.
#[derive(Debug, Clone, Copy)]
pub(in crate::check) struct SchedulerSetting {
    /// The scheduler; `None` where a fault in it has been reported.
    pub(in crate::check) scheduler: Option<Scheduler>,
    /// The whole `scheduler` statement.
    pub(in crate::check) span: Span,
    /// The N of `table N`, and where it stands.
    pub(in crate::check) table: Option<(u32, Span)>,
}

/// Reads a `scheduler` statement.
pub(super) fn read(
    name: Word,
    by: Option<Word>,
    table: Option<Word>,
    span: Span,
    reader: &mut Reader<'_>,
) -> SchedulerSetting {
    let algorithm = reader.read_value(name, algorithm);
    let (mut key, mut size) = (None, None);
    let mut damaged = false;
    if let Some(by) = by {
        key = reader.read(by, |text| choice(text, "a key", &KEYS));
        damaged |= key.is_none();
    }
    if let Some(table) = table {
        size = read_table(table, reader);
        damaged |= size.is_none();
    }
    let scheduler = algorithm.and_then(|((algorithm, implied), value)| {
        let fits = match algorithm {
            Algorithm::RoundRobin | Algorithm::Random => {
                let why = "hashes nothing";
                let by = refuse_option("by", by, value.text, why, reader);
                let table = refuse_option("table", table, value.text, why, reader);
                by && table
            }
            Algorithm::Hash => {
                let why = "has no table of a size to choose";
                refuse_option("table", table, value.text, why, reader)
            }
            Algorithm::Maglev => true,
        };
        let key = key.or(implied).unwrap_or(HashKey::SourcePort);
        (fits && !damaged).then(|| match algorithm {
            Algorithm::RoundRobin => Scheduler::RoundRobin,
            Algorithm::Random => Scheduler::Random,
            Algorithm::Hash => Scheduler::Hash(key),
            Algorithm::Maglev => Scheduler::Maglev {
                key,
                table: size.map(|(size, _)| size),
            },
        })
    });
    SchedulerSetting {
        scheduler,
        span,
        table: size,
    }
}

/// How a service chooses where nothing is said.
pub(in crate::check) fn default_for(mode: &Mode) -> Scheduler {
    match mode {
        Mode::Nat(_) => Scheduler::RoundRobin,
        Mode::Dr(_) => Scheduler::Maglev {
            key: HashKey::SourcePort,
            table: None,
        },
    }
}

/// Whether an option is not there; it is refused where it is.
fn refuse_option(
    option: &str,
    word: Option<Word>,
    scheduler: &str,
    why: &str,
    reader: &mut Reader<'_>,
) -> bool {
    let Some(word) = word else { return true };
    let scheduler = quote(scheduler);
    let message = format!("{scheduler} takes no `{option}`: it {why}");
    let help = match option {
        "by" => "`hash` and `maglev` take `by`",
        _ => "`maglev` takes `table`",
    };
    reader.report(Diagnostic::new(Code::SchedulerOption, word.span, message).help(help));
    false
}

fn read_table(word: Word, reader: &mut Reader<'_>) -> Option<(u32, Span)> {
    let range = 2..=LARGEST_TABLE;
    let parse = |text| decimal(text, Code::BadTableSize, "table size", &range);
    let (size, value) = reader.read_value(word, parse)?;
    if !is_prime(size) {
        let message = format!("The table size {size} is not a prime");
        let help = match primes_around(size, *range.start(), *range.end()) {
            (Some(below), Some(above)) => {
                format!("write {above}; the nearest primes are {below} and {above}")
            }
            (Some(prime), None) | (None, Some(prime)) => {
                format!("write {prime}; it is the nearest prime")
            }
            (None, None) => String::new(),
        };
        let mut fault = Diagnostic::new(Code::TableNotPrime, value.written, message).help(help);
        if let Some(used) = value.used {
            fault = fault.related(used, "used here");
        }
        reader.report_once(fault);
    }
    Some((size, value.place()))
}
