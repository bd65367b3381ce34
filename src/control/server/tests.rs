use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::control::Said;

/// What a client does that nobody trusts.
#[derive(Debug, Clone)]
enum Deed {
    /// Comes, and says this.
    Come(Vec<u8>),
    /// Says more.
    Say(usize, Vec<u8>),
    /// Says no more, and listens.
    Finish(usize),
    /// Reads some of what it is told.
    Read(usize),
    /// Goes.
    Go(usize),
    /// So much time passes, in milliseconds.
    Wait(u64),
    /// Something happened that is told to all who follow: a text of so many bytes.
    Happen(usize),
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let good = [
        "{\"ask\":\"about\"}\n",
        "{\"ask\":\"events\",\"follow\":true}\n",
        "{\"ask\":\"events\",\"follow\":false}\n",
        "{\"ask\":\"reload\",\"looks\":{\"color\":false,\"unicode\":false,\"width\":null}}\n",
        "{\"ask\":\"quiet\"}\n",
        "{\"ask\":",
    ];
    prop_oneof![
        proptest::sample::select(good.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..64),
        (0..40_000_usize).prop_map(|many| vec![b'['; many]),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => words().prop_map(Deed::Come),
        2 => (any::<usize>(), words()).prop_map(|(at, text)| Deed::Say(at, text)),
        1 => any::<usize>().prop_map(Deed::Finish),
        2 => any::<usize>().prop_map(Deed::Read),
        1 => any::<usize>().prop_map(Deed::Go),
        1 => (0..8_000_u64).prop_map(Deed::Wait),
        1 => (0..200_000_usize).prop_map(Deed::Happen),
    ]
}

/// A server, and the time that it is told.
struct Bed {
    folder: TempDir,
    server: Server,
    now: Duration,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::listen(&folder.path().join("sock"), None).unwrap();
        Self {
            folder,
            server,
            now: Duration::ZERO,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path().join("sock")).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Goes on, and does what a daemon would.
    fn go_on(&mut self) {
        for (client, _, request) in self.server.go_on(self.now) {
            let now = self.now;
            match request {
                Request::Events { follow } => {
                    self.server.tell(client, std::iter::empty(), follow, now);
                }
                Request::About | Request::Quiet | Request::Reload { .. } | Request::Set { .. } => {
                    self.server
                        .answer(client, &Answer::Done(Said::default()), now);
                }
            }
        }
    }
}

fn read(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let many = stream.read(&mut bytes).unwrap_or_default();
    bytes.truncate(many);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever others do, there are never too many of them, what waits for them is bounded, and somebody who asks as one
    /// should is answered at once.
    #[test]
    fn nobody_keeps_another_waiting(deeds in proptest::collection::vec(deed(), 1..120)) {
        let mut bed = Bed::new();
        let mut strangers: Vec<UnixStream> = Vec::new();
        for deed in deeds {
            let some = |at: usize, all: &[UnixStream]| (!all.is_empty()).then(|| at % all.len());
            match deed {
                Deed::Come(text) => {
                    let mut stream = bed.connect();
                    let _ = stream.write(&text);
                    strangers.push(stream);
                }
                Deed::Say(at, text) => if let Some(at) = some(at, &strangers) {
                    let _ = strangers[at].write(&text);
                },
                Deed::Finish(at) => if let Some(at) = some(at, &strangers) {
                    let _ = strangers[at].shutdown(std::net::Shutdown::Write);
                },
                Deed::Read(at) => if let Some(at) = some(at, &strangers) {
                    read(&mut strangers[at]);
                },
                Deed::Go(at) => if let Some(at) = some(at, &strangers) {
                    strangers.swap_remove(at);
                },
                Deed::Wait(milliseconds) => bed.now += Duration::from_millis(milliseconds),
                Deed::Happen(many) => {
                    let why = "x".repeat(many);
                    bed.server.broadcast(&Answer::Refused { why }, bed.now);
                }
            }
            bed.go_on();
            prop_assert!(bed.server.clients() <= MOST_CLIENTS);
            for client in bed.server.clients.values() {
                prop_assert!(client.waiting.len() <= MOST_WAITING + 400_000);
                prop_assert!(client.said.len() <= LONGEST_REQUEST + 4_096);
            }
        }
        let mut honest = bed.connect();
        honest.write_all(b"{\"ask\":\"about\"}\n").unwrap();
        bed.go_on();
        bed.go_on();
        let answer = read(&mut honest);
        prop_assert!(answer.starts_with(b"{\"is\":\"done\""), "{}", String::from_utf8_lossy(&answer));
        // Whoever says nothing for long enough is gone.
        strangers.retain(|stream| stream.peer_addr().is_ok());
        bed.now += PATIENCE * 2;
        bed.go_on();
        let silent = bed.server.clients.values().filter(|client| client.stage == Stage::Asking);
        prop_assert_eq!(silent.count(), 0);
    }
}

#[test]
fn whoever_only_says_no_more_is_answered() {
    let mut bed = Bed::new();
    let mut stream = bed.connect();
    stream.write_all(b"{\"ask\":\"quiet\"}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    bed.go_on();
    assert!(read(&mut stream).starts_with(b"{\"is\":\"done\""));
    assert_eq!(bed.server.clients(), 0);
}

#[test]
fn others_than_root_may_only_look() {
    let line =
        b"{\"ask\":\"set\",\"service\":\"a\",\"server\":\"b\",\"demand\":{\"state\":\"up\"}}";
    let nobody = 65_534;
    assert!(understood(line, 0).is_ok());
    assert_eq!(
        understood(line, nobody).unwrap_err(),
        "only root may change anything"
    );
    assert!(
        understood(
            b"{\"ask\":\"reload\",\"looks\":{\"color\":false,\"unicode\":false,\"width\":null}}",
            nobody
        )
        .is_err()
    );
    assert!(understood(b"{\"ask\":\"quiet\"}", nobody).is_err());
    assert!(understood(b"{\"ask\":\"about\"}", nobody).is_ok());
    assert!(understood(b"{\"ask\":\"events\",\"follow\":true}", nobody).is_ok());
}
