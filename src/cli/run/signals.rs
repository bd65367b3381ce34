//! What is told by signals.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// A pipe for each thing that a signal says.
pub(super) struct Signals {
    /// To end.
    pub(super) stop: UnixStream,
    /// To read the file again.
    pub(super) reload: UnixStream,
    /// To let another program take this one's place.
    pub(super) renew: UnixStream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
        let pipe = |signals: &[i32]| {
            let (here, there) = UnixStream::pair()?;
            here.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, there.try_clone()?)?;
            }
            Ok::<_, io::Error>(here)
        };
        Ok(Self {
            stop: pipe(&[SIGTERM, SIGINT])?,
            reload: pipe(&[SIGHUP])?,
            renew: pipe(&[SIGUSR2])?,
        })
    }
}

/// Whether a signal came.
pub(super) fn came(signal: &mut UnixStream) -> bool {
    let mut came = false;
    while signal.read(&mut [0; 64]).is_ok_and(|many| many > 0) {
        came = true;
    }
    came
}
