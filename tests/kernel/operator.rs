//! What an operator does: `flbc compile - | nft -f -`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::lab::client::{self, Protocol};
use crate::lab::namespace::Namespace;
use crate::lab::{Answer, PATIENCE};

/// Runs `flbc`, feeding it `stdin`.
pub(crate) fn flbc(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flbc"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin.as_bytes()));
        child.wait_with_output().unwrap()
    })
}

/// The rules of a file that has no fault.
pub(crate) fn compile(file: &str) -> String {
    let output = flbc(&["compile", "-"], file);
    assert!(
        output.status.success(),
        "{}\nabout:\n{file}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles a file and loads its rules.
pub(crate) fn load(namespace: &Namespace, file: &str) {
    namespace.nft(&compile(file));
}

/// An address and port as an operator writes it.
pub(crate) fn at(address: &str) -> SocketAddr {
    address
        .parse()
        .unwrap_or_else(|_| panic!("not an address and port: {address}"))
}

/// Who answers a flow that must be answered.
pub(crate) fn asked(
    namespace: &Namespace,
    protocol: Protocol,
    from: Option<SocketAddr>,
    to: &str,
) -> Answer {
    client::ask(namespace, protocol, from, at(to), PATIENCE)
        .unwrap_or_else(|error| panic!("{}: {protocol:?} to {to}: {error}", namespace.name))
}

/// The name of the server that answers a flow that must be answered.
pub(crate) fn who(namespace: &Namespace, protocol: Protocol, to: &str) -> String {
    asked(namespace, protocol, None, to).server
}

/// Whether this is the long run of `make soak`, or the sample of `make test`.
pub(crate) fn sampled(sample: u32, whole: u32) -> u32 {
    if std::env::var_os("FLBC_SOAK").is_some() {
        whole
    } else {
        sample
    }
}
