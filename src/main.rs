//! Parse arguments, run, exit code.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Compiling makes and drops millions of small things: a fifth of its time with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether standard output was closed when the program started.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Rust's runtime opens `/dev/null` in the place of a standard output that is closed, before `main`: all would seem to be
/// written. Afterwards nobody can tell, since others hand over a `/dev/null` that is opened in the same way. What stands in
/// this section the C library runs before that.
#[expect(unsafe_code, reason = "a function in this section is run as it is")]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = {
    extern "C" fn look() {
        let flags = rustix::io::fcntl_getfd(rustix::stdio::stdout());
        CLOSED.store(flags == Err(rustix::io::Errno::BADF), Ordering::Relaxed);
    }
    look
};

fn main() -> ExitCode {
    flbc::cli::run(CLOSED.load(Ordering::Relaxed))
}
