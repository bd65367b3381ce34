//! Whatever the kernel's messages were: reading them ends, tells no more than there is room for, and of interfaces nothing
//! that does not follow from what it told before.
//!
//! Runs on the stable toolchain: `RUSTC_BOOTSTRAP=1 cargo fuzz run events`.

#![no_main]

use std::collections::BTreeMap;

use flbc::kernel::events::{Event, Generation, Link, Reader};
use libfuzzer_sys::fuzz_target;

/// The length of a message that says nothing.
const HEADER: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::default();
    let mut links = BTreeMap::new();
    // What comes in two datagrams.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for datagram in [bytes, first, second] {
        let mut events = Vec::new();
        reader.read(datagram, &mut events);
        assert!(events.len() <= datagram.len() / HEADER);
        for event in events {
            follows(event, &mut links);
        }
    }
});

fn follows(event: Event, links: &mut BTreeMap<u32, Link>) {
    match event {
        Event::LinkCame(link) => assert_eq!(links.insert(link.index, link), None),
        Event::LinkChanged { before, after } => {
            assert_ne!(before, after);
            assert_eq!(before.index, after.index);
            assert_eq!(links.insert(after.index, after), Some(before));
        }
        Event::LinkGone(link) => assert_eq!(links.remove(&link.index), Some(link)),
        Event::Generation(Generation { process, .. }) => {
            assert!(process.is_none_or(|process| !process.name.contains(char::is_control)));
        }
        Event::AddressCame(_) | Event::AddressGone(_) | Event::Neighbour(_) => {}
        Event::Missed(_) => panic!("no message says so"),
    }
}
