use rustix::io::Errno;

use crate::emit::netlink::TableFamily;
use crate::emit::netlink::change::{Change, Step};
use crate::kernel::Kernel;
use crate::kernel::events::Generation;

use super::*;

fn process(name: &str) -> Process {
    Process {
        id: 4711,
        name: name.to_owned(),
    }
}

fn listened() -> Fake {
    let mut fake = Fake {
        process: Some(process("flbc")),
        stranger: Some(process("nft")),
        ..Fake::default()
    };
    assert_eq!(fake.events(), Ok(vec![]));
    fake
}

fn add_table(fake: &mut Fake, generation: u32) -> Result<u32, KernelError> {
    let step = Step::AddTable { id: "".into() };
    let family = TableFamily::Inet;
    let committed = fake.commit("flbc", &[Change { family, step }], generation)?;
    Ok(committed.generation)
}

fn generation(number: u32, by: &str) -> Event {
    Event::Generation(Generation {
        number,
        process: Some(process(by)),
    })
}

#[test]
fn every_transaction_is_told_with_who_made_it() {
    let mut fake = listened();
    fake.behind.push(|_| {});
    assert_eq!(add_table(&mut fake, 0), Ok(1));
    let told = [generation(1, "flbc"), generation(2, "nft")];
    assert_eq!(fake.events().unwrap(), told);
    fake.foreign(process("dockerd"), |observed| observed.inet = None);
    assert!(fake.observed.inet.is_none());
    assert_eq!(fake.events().unwrap(), [generation(3, "dockerd")]);
    fake.before.push(|_| {});
    assert_eq!(add_table(&mut fake, 3), Err(KernelError::Changed));
    assert_eq!(fake.events().unwrap(), [generation(4, "nft")]);
    fake.refuse = Some((fake.asked, Errno::NOMEM));
    assert!(add_table(&mut fake, 4).is_err());
    assert_eq!(fake.commit("flbc", &[], 4).unwrap().generation, 4);
    assert_eq!(fake.events(), Ok(vec![]));
}

#[test]
fn nothing_is_told_of_what_was_before() {
    let mut fake = Fake::default();
    fake.link_comes("eth0", None);
    assert_eq!(add_table(&mut fake, 0), Ok(1));
    let events = fake.events().unwrap();
    assert!(
        matches!(events.as_slice(), [Event::LinkCame(_)]),
        "{events:?}"
    );
    assert_eq!(fake.events(), Ok(vec![]));
}

#[test]
fn who_may_not_administer_is_told_nothing() {
    let mut fake = Fake {
        powerless: true,
        ..Fake::default()
    };
    assert_eq!(fake.events(), Err(KernelError::NoPrivilege));
}

/// An interface made anew has the old one's name and another number, also if it had the highest.
#[test]
fn no_number_is_given_twice() {
    let mut fake = listened();
    let first = fake.link_comes("eth0", Some(MacAddress([2; 6])));
    let second = fake.link_made_anew("eth0");
    fake.link_goes("eth0");
    let third = fake.link_comes("eth0", None);
    assert!(first < second && second < third);
    let told: Vec<(bool, u32)> = fake
        .events()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::LinkCame(link) => Some((true, link.index)),
            Event::LinkGone(link) => Some((false, link.index)),
            _ => None,
        })
        .collect();
    let expected = [
        (true, first),
        (false, first),
        (true, second),
        (false, second),
        (true, third),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_there_is_no_room_for_is_missed_and_no_more_than_that() {
    let mut fake = listened();
    fake.link_comes("eth0", None);
    for n in 0..20_000 {
        fake.foreign(process("nft"), |_| {});
        fake.switch("eth0", n % 2 == 0);
    }
    fake.neighbour("eth0", [192, 0, 2, 1].into(), Some(MacAddress([2; 6])));
    fake.link_renamed("eth0", "lan");
    let events = fake.events().unwrap();
    let missed = |event: &&Event| matches!(event, Event::Missed(_));
    let missed: Vec<&Event> = events.iter().filter(missed).collect();
    assert_eq!(
        missed,
        [
            &Event::Missed(Source::Rules),
            &Event::Missed(Source::Interfaces)
        ]
    );
    // The last of an interface is told all the same, and so is what nothing is missed of.
    let [
        ..,
        Event::LinkChanged { after, .. },
        Event::Missed(_),
        Event::Neighbour(_),
    ] = events.as_slice()
    else {
        panic!("{:?}", events.last());
    };
    assert_eq!(after.name, "lan");
    fake.miss(Source::Neighbours);
    fake.neighbour("lan", [192, 0, 2, 1].into(), None);
    fake.foreign(process("nft"), |_| {});
    let generation = generation(fake.observed.generation, "nft");
    assert_eq!(
        fake.events().unwrap(),
        [generation, Event::Missed(Source::Neighbours)]
    );
}
