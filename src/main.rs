//! Parse arguments, run, exit code.

use std::process::ExitCode;

/// Compiling makes and drops millions of small things: a fifth of its time with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flbc::cli::run()
}
