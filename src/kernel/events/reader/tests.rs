use proptest::prelude::*;

use crate::emit::netlink::attribute::Writer;
use crate::kernel::events::Source;

use super::*;

/// A message: its header, what stands before the attributes, and these.
fn message(kind: u16, head: &[u8], attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.raw(&[0; 16]);
    writer.raw(head);
    attributes(&mut writer);
    let length = u32::try_from(writer.len()).unwrap();
    writer.patch(0, &length.to_ne_bytes());
    writer.patch(4, &kind.to_ne_bytes());
    writer.into_bytes()
}

fn new_generation(number: u32, process: Option<(u32, &[u8])>) -> Vec<u8> {
    message(NEW_GENERATION, &[0; NFGENMSG], |w| {
        w.u32(1, number);
        if let Some((id, name)) = process {
            w.u32(2, id);
            w.bytes(3, name);
        }
    })
}

fn of_link(kind: u16, family: u8, index: u32, flags: u32, name: &[u8], mac: &[u8]) -> Vec<u8> {
    let mut head = vec![family, 0, 1, 0];
    head.extend(index.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head.extend([0; 4]);
    message(kind, &head, |w| {
        w.bytes(3, name);
        w.bytes(1, mac);
    })
}

fn of_address(kind: u16, family: u8, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut head = vec![family, 24, flags, 0];
    head.extend(7_u32.to_ne_bytes());
    message(kind, &head, |w| {
        for (kind, value) in attributes {
            w.bytes(*kind, value);
        }
    })
}

fn of_neighbour(kind: u16, family: u8, state: u16, flags: u8) -> Vec<u8> {
    let mut head = vec![family, 0, 0, 0];
    head.extend(7_u32.to_ne_bytes());
    head.extend(state.to_ne_bytes());
    head.extend([flags, 0]);
    message(kind, &head, |w| {
        w.bytes(1, &[192, 0, 2, 1]);
        w.bytes(2, &MAC);
    })
}

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const UP: u32 = 1;

fn eth0(name: &str, up: bool) -> Link {
    Link {
        index: 5,
        name: name.to_owned(),
        mac: Some(MacAddress(MAC)),
        up,
        carrier: false,
    }
}

fn told(reader: &mut Reader, datagram: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    reader.read(datagram, &mut events);
    events
}

fn alone(datagram: &[u8]) -> Vec<Event> {
    told(&mut Reader::default(), datagram)
}

fn process(name: &[u8]) -> Option<String> {
    match alone(&new_generation(1, Some((2, name)))).pop()? {
        Event::Generation(generation) => Some(generation.process?.name),
        _ => None,
    }
}

#[test]
fn a_generation_and_who_made_it() {
    let mut both = new_generation(8, Some((4711, b"nft\0")));
    both.extend(new_generation(9, None));
    let by = Process {
        id: 4711,
        name: "nft".to_owned(),
    };
    let generation = |number, process| Event::Generation(Generation { number, process });
    assert_eq!(alone(&both), [generation(8, Some(by)), generation(9, None)]);
}

#[test]
fn a_program_may_call_itself_anything() {
    assert_eq!(process(b"a b\0rest").as_deref(), Some("a b"));
    assert_eq!(
        process(b"\x1b[2J\n\0").as_deref(),
        Some("\u{fffd}[2J\u{fffd}")
    );
    assert_eq!(process(b"\xff\xfe\0").as_deref(), Some("\u{fffd}\u{fffd}"));
    assert_eq!(process(b"").as_deref(), Some(""));
}

#[test]
fn of_an_interface_only_what_is_new_is_told() {
    let mut reader = Reader::default();
    let new = |name: &[u8], flags| of_link(NEW_LINK, ANY, 5, flags, name, &MAC);
    let came = [Event::LinkCame(eth0("eth0", false))];
    assert_eq!(told(&mut reader, &new(b"eth0\0", 0)), came);
    assert_eq!(told(&mut reader, &new(b"eth0\0", 0x1002)), []);
    let changed = |before, after| [Event::LinkChanged { before, after }];
    assert_eq!(
        told(&mut reader, &new(b"eth0\0", UP)),
        changed(eth0("eth0", false), eth0("eth0", true))
    );
    assert_eq!(
        told(&mut reader, &new(b"lan\0", UP)),
        changed(eth0("eth0", true), eth0("lan", true))
    );
    // A port that leaves a bridge is told like an interface that goes.
    let left = of_link(DELETE_LINK, 7, 5, UP, b"lan\0", &MAC);
    assert_eq!(told(&mut reader, &left), []);
    let deleted = of_link(DELETE_LINK, ANY, 5, 0, b"lan\0", &MAC);
    let gone = [Event::LinkGone(eth0("lan", true))];
    assert_eq!(told(&mut reader, &deleted), gone);
    assert_eq!(told(&mut reader, &deleted), []);
}

#[test]
fn a_mac_address_has_six_bytes() {
    for mac in [&MAC[..5], &[], &[0; 20]] {
        let events = alone(&of_link(NEW_LINK, ANY, 5, 0, b"tunl0\0", mac));
        let [Event::LinkCame(link)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(link.mac, None);
    }
}

#[test]
fn after_a_gap_the_difference_is_told() {
    let mut reader = Reader::default();
    let link = |index, name: &str| Link {
        index,
        ..eth0(name, true)
    };
    for one in [link(1, "a"), link(2, "b"), link(3, "c")] {
        reader.link(one);
    }
    let now = [link(1, "a"), link(3, "d"), link(9, "b")];
    let events = reader.replace(now.into_iter().map(|link| (link.index, link)).collect());
    let changed = Event::LinkChanged {
        before: link(3, "c"),
        after: link(3, "d"),
    };
    assert_eq!(
        events,
        [
            Event::LinkGone(link(2, "b")),
            changed,
            Event::LinkCame(link(9, "b"))
        ]
    );
}

#[test]
fn an_address_is_told_once_it_can_be_used() {
    let v4 = Address {
        interface: 7,
        address: IpAddr::from([192, 0, 2, 1]),
        prefix: 24,
    };
    let local: (u16, &[u8]) = (2, &[192, 0, 2, 1]);
    let other_end: (u16, &[u8]) = (1, &[192, 0, 2, 2]);
    for attributes in [&[other_end, local][..], &[local], &[(1, local.1)]] {
        let new = of_address(NEW_ADDRESS, INET, 0, attributes);
        assert_eq!(alone(&new), [Event::AddressCame(v4)]);
        let gone = of_address(DELETE_ADDRESS, INET, 0, attributes);
        assert_eq!(alone(&gone), [Event::AddressGone(v4)]);
    }
    let v6: (u16, &[u8]) = (1, &[0x20; 16]);
    let tentative = 0x40_u32.to_ne_bytes();
    let wide: (u16, &[u8]) = (8, &tentative);
    for (flags, attributes) in [(0x40, &[v6][..]), (0, &[v6, wide])] {
        assert_eq!(
            alone(&of_address(NEW_ADDRESS, INET6, flags, attributes)),
            []
        );
        let gone = alone(&of_address(DELETE_ADDRESS, INET6, flags, attributes));
        assert!(matches!(gone.as_slice(), [Event::AddressGone(_)]));
    }
    // One of another family, and one as long as no other.
    assert_eq!(alone(&of_address(NEW_ADDRESS, 4, 0, &[local])), []);
    assert_eq!(alone(&of_address(NEW_ADDRESS, INET6, 0, &[local])), []);
}

#[test]
fn a_neighbour_has_a_mac_address_or_none() {
    const REACHABLE: u16 = 0x2;
    let is = |mac: Option<[u8; 6]>| {
        [Event::Neighbour(Neighbour {
            interface: 7,
            address: IpAddr::from([192, 0, 2, 1]),
            mac: mac.map(MacAddress),
        })]
    };
    assert_eq!(
        alone(&of_neighbour(NEW_NEIGHBOUR, INET, REACHABLE, 0)),
        is(Some(MAC))
    );
    assert_eq!(alone(&of_neighbour(NEW_NEIGHBOUR, INET, 0x20, 0)), is(None));
    assert_eq!(
        alone(&of_neighbour(DELETE_NEIGHBOUR, INET, REACHABLE, 0)),
        is(None)
    );
    // It is being asked for; this machine answers for it; it is behind a port of a bridge.
    for (family, state, flags) in [(INET, 1, 0), (INET, REACHABLE, 8), (7, REACHABLE, 0)] {
        let message = of_neighbour(NEW_NEIGHBOUR, family, state, flags);
        assert_eq!(alone(&message), []);
    }
}

fn one_of_each() -> Vec<Vec<u8>> {
    vec![
        new_generation(8, Some((4711, b"nft\0"))),
        of_link(NEW_LINK, ANY, 5, UP, b"eth0\0", &MAC),
        of_link(DELETE_LINK, ANY, 5, UP, b"eth0\0", &MAC),
        of_address(NEW_ADDRESS, INET, 0, &[(2, &[192, 0, 2, 1])]),
        of_address(DELETE_ADDRESS, INET6, 0, &[(1, &[0x20; 16])]),
        of_neighbour(NEW_NEIGHBOUR, INET, 2, 0),
        of_neighbour(DELETE_NEIGHBOUR, INET, 2, 0),
    ]
}

#[test]
fn what_is_cut_off_says_nothing() {
    let whole: Vec<u8> = one_of_each().concat();
    let mut ends = 0;
    let ends: Vec<usize> = one_of_each()
        .iter()
        .map(|message| {
            ends += message.len();
            ends
        })
        .collect();
    for cut in 0..=whole.len() {
        let complete = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(alone(&whole[..cut]).len(), complete, "cut at {cut}");
    }
}

/// Neither the header's length nor a shorter one than it leads back to where the reading was.
#[test]
fn a_length_of_nothing_ends_the_reading() {
    for length in [0_u32, 1, 15, u32::MAX, u32::MAX - 2] {
        let mut message = new_generation(8, None);
        message[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(alone(&message), [], "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        alone(&bytes);
    }

    /// Bytes of true messages are changed; no more is told than there is room for.
    #[test]
    fn damaged_messages_are_read_to_their_end(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = one_of_each().concat();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let events = alone(&bytes);
        prop_assert!(events.len() <= bytes.len() / 16);
        prop_assert!(events.iter().all(|event| *event != Event::Missed(Source::Rules)));
        for event in events {
            if let Event::Generation(Generation { process: Some(process), .. }) = event {
                prop_assert!(!process.name.contains(char::is_control));
            }
        }
    }
}
