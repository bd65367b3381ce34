//! What is in the kernel's tables of a name, as rustables reads it: somebody who has nothing to do with flbc or with nft.
//!
//! `flbc-witness NAME` writes a line for each table, chain, set and rule, and for whatever rustables cannot read a line
//! that says so: what is not seen is never taken for what is not there.

mod count;
mod seen;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: flbc-witness NAME");
        return ExitCode::from(2);
    };
    match seen::lines(&name) {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("flbc-witness: {error}");
            ExitCode::FAILURE
        }
    }
}
