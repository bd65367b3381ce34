//! What happens in the kernel is told: by whom rules were changed, and what became of interfaces, addresses and neighbours.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flbc::emit::netlink::TableFamily;
use flbc::emit::netlink::change::{Change, Step};
use flbc::kernel::events::{
    Address, Event, Feed, Generation, Link, Neighbour, Process, Source, Watch,
};
use flbc::kernel::fake::Fake;
use flbc::kernel::{Kernel, KernelError, Linux};
use flbc::model::MacAddress;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::namespace::{self, interface, run};

/// Events of interfaces that are made in a moment are waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A feed that has told what there was when it was opened.
fn feed() -> Feed {
    let mut feed = Feed::open().unwrap();
    feed.events().unwrap();
    feed
}

fn is_readable(feed: &Feed) -> bool {
    let mut fds = [PollFd::new(feed, PollFlags::IN)];
    let now = Timespec::default();
    poll(&mut fds, Some(&now)).unwrap() == 1
}

fn ip(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    run("ip", &arguments, "");
}

/// Who made each generation that is told; nothing else may be.
fn committers(events: Vec<Event>) -> Vec<Process> {
    let process = |event| match event {
        Event::Generation(generation) => generation.process.expect("the kernel says who"),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(process).collect()
}

/// Makes a table, or deletes it: a transaction each.
fn commit(kernel: &mut Linux, add: bool) -> u32 {
    let step = if add {
        Step::AddTable {
            id: "flbc 0".into(),
        }
    } else {
        Step::DeleteTable
    };
    let family = TableFamily::Inet;
    let generation = kernel.generation().unwrap();
    let committed = kernel.commit("flbc", &[Change { family, step }], generation);
    committed.unwrap().generation
}

#[test]
fn who_changes_the_rules_is_told() {
    namespace::inside(|| {
        let mut feed = feed();
        assert!(!is_readable(&feed));
        let mut nft = |arguments: &[&str]| {
            let mut child = Command::new("nft").args(arguments).spawn().unwrap();
            assert!(child.wait().unwrap().success());
            assert!(is_readable(&feed));
            let by = committers(feed.events().unwrap());
            assert!(!is_readable(&feed));
            let [process] = by.as_slice() else {
                panic!("{by:?}");
            };
            assert_eq!(process.name, "nft");
            // The number is counted from where the machine's own processes are.
            if is_in_the_first_namespace_of_processes() {
                assert_eq!(process.id, child.id());
            }
        };
        nft(&["add table ip x; add chain ip x y"]);
        nft(&["flush", "ruleset"]);
        // What changes nothing is no generation.
        run("nft", &["list", "ruleset"], "");
        run("nft", &["-c", "add table ip x"], "");
        run("nft", &["flush", "ruleset"], "");
        assert_eq!(feed.events().unwrap(), []);
    });
}

fn is_in_the_first_namespace_of_processes() -> bool {
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    own.to_str() == Some("pid:[4026531836]")
}

#[test]
fn own_generations_are_known_by_their_numbers() {
    namespace::inside(|| {
        let mut kernel = Linux::open().unwrap();
        let mut feed = feed();
        for add in [true, false, true] {
            let made = commit(&mut kernel, add);
            let events = feed.events().unwrap();
            let numbers = |event: &Event| match event {
                Event::Generation(generation) => Some(generation.number),
                _ => None,
            };
            let told: Vec<_> = events.iter().map(numbers).collect();
            assert_eq!(told, [Some(made)]);
        }
    });
}

#[test]
fn however_large_a_transaction_is_it_is_one_event() {
    namespace::inside(|| {
        let mut feed = feed();
        let mut file = "add table inet x\nadd set inet x s { type ipv4_addr; }\n".to_owned();
        for start in (0_u32..100_000).step_by(1000) {
            let addresses =
                (start..start + 1000).map(|n| IpAddr::from((10 << 24 | n).to_be_bytes()));
            let all: Vec<String> = addresses.map(|address| address.to_string()).collect();
            writeln!(file, "add element inet x s {{ {} }}", all.join(", ")).unwrap();
        }
        run("nft", &["-f", "-"], &file);
        assert_eq!(committers(feed.events().unwrap()).len(), 1);
        run("nft", &["flush", "ruleset"], "");
        assert_eq!(committers(feed.events().unwrap()).len(), 1);
    });
}

#[test]
fn who_sleeps_is_told_that_something_was_missed() {
    namespace::inside(|| {
        let most = sleep_through(10_000);
        assert!(most >= 10_000, "only {most} generations are kept");
        assert!(
            sleep_through(40_000) < 40_000,
            "nothing was missed: nothing is tried"
        );
    });
}

/// A container's root gets no larger buffer than the machine lets everybody have.
#[test]
fn in_a_container_more_is_missed_and_told() {
    namespace::contained(|| {
        assert_eq!(sleep_through(100), 100);
        assert!(
            sleep_through(20_000) < 20_000,
            "nothing was missed: nothing is tried"
        );
        let mut feed = feed();
        run("nft", &["add", "table", "ip", "x"], "");
        assert_eq!(committers(feed.events().unwrap()).len(), 1);
        ip("link set lo up");
        assert_eq!(of_links(&feed.events().unwrap()), ["lo up carrier"]);
    });
}

/// Lets so many generations pass before the events are read; says how many were told.
fn sleep_through(happened: usize) -> usize {
    let mut kernel = Linux::open().unwrap();
    let mut feed = feed();
    for n in 0..happened {
        commit(&mut kernel, n % 2 == 0);
    }
    let mut told = Vec::new();
    loop {
        let events = feed.events().unwrap();
        assert!(events.len() <= 5_000, "a bounded part at a time");
        if events.is_empty() {
            break;
        }
        assert!(told.len() < happened, "without end");
        told.extend(events);
    }
    assert!(!is_readable(&feed));
    let missed = Event::Missed(Source::Rules);
    if told.len() < happened {
        assert_eq!(told.pop(), Some(missed.clone()));
    }
    assert!(!told.contains(&missed), "it is told once, and last");
    // From then on all is told again.
    commit(&mut kernel, true);
    commit(&mut kernel, false);
    assert_eq!(committers(feed.events().unwrap()).len(), 2);
    told.len()
}

#[test]
fn what_another_program_sends_is_no_event() {
    namespace::inside(|| {
        let mut feed = feed();
        // The first socket of a program that talks to nf_tables has its number.
        let mut forged = vec![28_u8, 0, 0, 0, 15, 10, 0, 0];
        forged.extend([0; 12]);
        forged.extend([8, 0, 1, 0, 0, 0, 0, 9]);
        let protocol = SockProtocol::NetlinkNetFilter;
        let flags = SockFlag::SOCK_CLOEXEC;
        let stranger = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
        let to = NetlinkAddr::new(id(), 0);
        let sent = sendto(stranger.as_raw_fd(), &forged, &to, MsgFlags::empty());
        assert_eq!(sent, Ok(forged.len()));
        assert!(is_readable(&feed), "it did not come: nothing is tried");
        assert_eq!(feed.events().unwrap(), []);
    });
}

/// What is told of interfaces, in the order in which it is: what became of which name.
fn of_links(events: &[Event]) -> Vec<String> {
    let changed = |before: &Link, after: &Link| {
        assert_eq!(before.index, after.index);
        let mut words = vec![after.name.clone()];
        if before.name != after.name {
            words.push(format!("was {}", before.name));
        }
        if before.mac != after.mac {
            words.push(format!("has {}", after.mac.unwrap()));
        }
        if before.up != after.up {
            words.push(if after.up { "up" } else { "down" }.to_owned());
        }
        if before.carrier != after.carrier {
            words.push(
                if after.carrier {
                    "carrier"
                } else {
                    "no carrier"
                }
                .to_owned(),
            );
        }
        words.join(" ")
    };
    let told = events.iter().filter_map(|event| match event {
        Event::LinkCame(link) => Some(format!("{} came", link.name)),
        Event::LinkGone(link) => Some(format!("{} gone", link.name)),
        Event::LinkChanged { before, after } => Some(changed(before, after)),
        Event::AddressCame(_) | Event::AddressGone(_) | Event::Neighbour(_) => None,
        Event::Generation(_) | Event::Missed(_) => panic!("{event:?}"),
    });
    told.collect()
}

/// Waits until what `wanted` takes has been told.
fn wait_for<T>(feed: &mut Feed, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for event in feed.events().unwrap() {
            if let Some(found) = wanted(event) {
                return found;
            }
        }
        sleep(Duration::from_millis(10));
    }
    panic!("it was not told");
}

#[test]
fn interfaces_come_change_and_go() {
    namespace::inside(|| {
        let mut first = Feed::open().unwrap();
        assert_eq!(of_links(&first.events().unwrap()), ["lo came"]);
        drop(first);
        // No address of IPv6 that comes when it likes.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let mut feed = feed();
        let mut after = |command: &str| {
            ip(command);
            of_links(&feed.events().unwrap())
        };
        let pair = "link add a0 type veth peer name b0";
        assert_eq!(after(pair), ["b0 came", "a0 came"]);
        assert_eq!(after("link set a0 up"), ["a0 up"]);
        assert_eq!(
            after("link set a0 address 02:00:00:00:00:01"),
            ["a0 has 02:00:00:00:00:01"]
        );
        assert_eq!(after("link set a0 down"), ["a0 down"]);
        assert_eq!(after("link set a0 name c0"), ["c0 was a0"]);
        assert_eq!(after("link set c0 mtu 1400"), [""; 0]);
        assert_eq!(after("link del c0"), ["c0 gone", "b0 gone"]);
        ip(pair);
        let index = |event: Event| match event {
            Event::LinkCame(link) | Event::LinkGone(link) if link.name == "a0" => Some(link.index),
            _ => None,
        };
        let made = wait_for(&mut feed, index);
        ip("link del a0");
        ip(pair);
        let events = feed.events().unwrap();
        assert_eq!(
            of_links(&events),
            ["a0 gone", "b0 gone", "b0 came", "a0 came"]
        );
        let numbers: Vec<u32> = events.into_iter().filter_map(index).collect();
        let [gone, came] = numbers.as_slice() else {
            panic!("{numbers:?}");
        };
        assert!(
            *gone == made && came > gone,
            "made anew, it has another number"
        );
    });
}

#[test]
fn carrier_comes_and_goes() {
    namespace::inside(|| {
        interface("eth0");
        let mut feed = feed();
        let carrier = |wanted: bool| {
            move |event| match event {
                Event::LinkChanged { after, .. } if after.name == "eth0" => {
                    (after.up && after.carrier == wanted).then_some(())
                }
                _ => None,
            }
        };
        ip("link set eth0p up");
        wait_for(&mut feed, carrier(true));
        ip("link set eth0p down");
        wait_for(&mut feed, carrier(false));
    });
}

#[test]
fn an_interface_that_is_taken_to_another_namespace_is_gone() {
    namespace::inside(|| {
        interface("eth0");
        let mut feed = feed();
        let elsewhere = namespace::Elsewhere::new();
        ip(&format!("link set eth0 netns {}", elsewhere.process()));
        let told = of_links(&feed.events().unwrap());
        assert!(told.contains(&"eth0 gone".to_owned()), "{told:?}");
    });
}

#[test]
fn addresses_come_and_go() {
    namespace::inside(|| {
        interface("eth0");
        ip("link set eth0p up");
        let mut feed = feed();
        for (text, address, prefix) in [
            ("10.0.0.1/24", IpAddr::from([10, 0, 0, 1]), 24),
            ("fd00::1/64", "fd00::1".parse().unwrap(), 64),
        ] {
            let is = |one: Address| one.address == address && one.prefix == prefix;
            ip(&format!("address add {text} dev eth0"));
            // The kernel first asks whether somebody else has it.
            let came = wait_for(&mut feed, |event| match event {
                Event::AddressCame(one) if is(one) => Some(one),
                _ => None,
            });
            ip(&format!("address del {text} dev eth0"));
            let gone = wait_for(&mut feed, |event| match event {
                Event::AddressGone(one) if is(one) => Some(one),
                _ => None,
            });
            assert_eq!(came, gone);
        }
    });
}

#[test]
fn neighbours_are_found_change_and_are_lost() {
    namespace::inside(|| {
        interface("eth0");
        ip("link set eth0p up");
        ip("address add 10.0.0.1/24 dev eth0");
        let mut feed = feed();
        let address = IpAddr::from([10, 0, 0, 7]);
        let of = |address: IpAddr| {
            move |event| match event {
                Event::Neighbour(Neighbour {
                    address: one, mac, ..
                }) if one == address => Some(mac.map(|mac| mac.to_string())),
                _ => None,
            }
        };
        for (command, mac) in [
            (
                "add 10.0.0.7 lladdr 02:00:00:00:00:09",
                Some("02:00:00:00:00:09"),
            ),
            (
                "change 10.0.0.7 lladdr 02:00:00:00:00:0a",
                Some("02:00:00:00:00:0a"),
            ),
            ("del 10.0.0.7", None),
        ] {
            ip(&format!("neighbour {command} dev eth0"));
            let told = wait_for(&mut feed, of(address));
            assert_eq!(told.as_deref(), mac, "{command}");
            feed.events().unwrap();
        }
        // Nobody answers.
        let client = UdpSocket::bind("10.0.0.1:0").unwrap();
        client.send_to(b"?", "10.0.0.8:9").unwrap();
        let lost = wait_for(&mut feed, of(IpAddr::from([10, 0, 0, 8])));
        assert_eq!(lost, None);
    });
}

#[test]
fn interfaces_that_changed_too_often_are_looked_at_again() {
    namespace::inside(|| {
        interface("eth0");
        let mut feed = feed();
        // What is down is told of less.
        ip("link set lo up");
        let mut batch = "link del eth0\nlink add eth0 type veth peer name eth0p\n".to_owned();
        for n in 0..20_000 {
            writeln!(batch, "link set lo alias {n}").unwrap();
        }
        batch += "link set eth0 name eth1\n";
        run("ip", &["-batch", "-"], &batch);
        let mut told = Vec::new();
        while is_readable(&feed) {
            told.extend(feed.events().unwrap());
        }
        assert_eq!(told.pop(), Some(Event::Missed(Source::Interfaces)));
        // The last of it was lost, and yet it is told.
        let links = of_links(&told);
        assert!(links.contains(&"eth0 gone".to_owned()), "{links:?}");
        assert_eq!(links.last().unwrap(), "eth1 was eth0");
        ip("link set eth1 down");
        ip("link set eth1 name eth2");
        assert_eq!(of_links(&feed.events().unwrap()), ["eth2 was eth1"]);
    });
}

#[test]
fn without_privilege_there_is_no_feed() {
    namespace::unprivileged(|| {
        assert_eq!(Feed::open().unwrap_err(), KernelError::NoPrivilege);
    });
}

/// A name that a stranger gives itself reaches nobody's terminal as it is.
#[test]
fn a_program_may_call_itself_anything() {
    namespace::inside(|| {
        let mut feed = feed();
        let mut kernel = Linux::open().unwrap();
        rustix::thread::set_name(c"\x1b[2J").unwrap();
        commit(&mut kernel, true);
        let events = feed.events().unwrap();
        let [Event::Generation(Generation { process, .. })] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(process.as_ref().unwrap().name, "\u{fffd}[2J");
    });
}

/// A step, as `ip` does it and as it happens in a kernel in memory.
type Happening = (&'static str, fn(&mut Fake));

/// Two ends of a cable: one has carrier when both are switched on.
const STEPS: [Happening; 15] = [
    (
        "link add a0 address 02:00:00:00:00:01 type veth peer name b0 address 02:00:00:00:00:02",
        |fake| {
            for (name, mac) in [("b0", [2, 0, 0, 0, 0, 2]), ("a0", [2, 0, 0, 0, 0, 1])] {
                fake.link_comes(name, Some(MacAddress(mac)));
                fake.plug(name, false);
            }
        },
    ),
    ("link set b0 up", |fake| fake.switch("b0", true)),
    ("link set a0 up", |fake| {
        fake.plug("a0", true);
        fake.switch("a0", true);
        fake.plug("b0", true);
    }),
    ("address add 10.0.0.1/24 dev a0", |fake| {
        fake.address_comes("a0", [10, 0, 0, 1].into(), 24);
    }),
    ("address add fd00::1/64 dev a0", |fake| {
        fake.address_comes("a0", "fd00::1".parse().unwrap(), 64);
    }),
    ("address add 10.0.0.2/32 dev a0", |fake| {
        fake.address_comes("a0", [10, 0, 0, 2].into(), 32);
    }),
    ("address del 10.0.0.2/32 dev a0", |fake| {
        fake.address_goes("a0", [10, 0, 0, 2].into());
    }),
    (
        "neighbour add 10.0.0.7 lladdr 02:00:00:00:00:09 dev a0",
        |fake| {
            fake.neighbour(
                "a0",
                [10, 0, 0, 7].into(),
                Some(MacAddress([2, 0, 0, 0, 0, 9])),
            );
        },
    ),
    ("link set a0 address 02:00:00:00:00:03", |fake| {
        fake.set_mac("a0", MacAddress([2, 0, 0, 0, 0, 3]));
    }),
    (
        "neighbour replace 10.0.0.7 lladdr 02:00:00:00:00:0a dev a0",
        |fake| {
            fake.neighbour(
                "a0",
                [10, 0, 0, 7].into(),
                Some(MacAddress([2, 0, 0, 0, 0, 10])),
            );
        },
    ),
    ("link set a0 mtu 1400", |_| {}),
    ("link set a0 down", |fake| {
        fake.switch("a0", false);
        fake.plug("b0", false);
    }),
    ("link set a0 name c0", |fake| fake.link_renamed("a0", "c0")),
    ("link set b0 down", |fake| fake.switch("b0", false)),
    ("link del c0", |fake| {
        fake.link_goes("c0");
        fake.link_goes("b0");
    }),
];

#[test]
fn a_kernel_in_memory_tells_what_linux_tells() {
    namespace::inside(|| {
        // No address that comes by itself, and none that waits until nobody else is found to have it.
        for (setting, value) in [("addr_gen_mode", "1"), ("accept_dad", "0")] {
            let path = format!("/proc/sys/net/ipv6/conf/default/{setting}");
            fs::write(path, value).unwrap();
        }
        let mut feed = Feed::open().unwrap();
        let mut fake = Fake {
            interfaces: [("lo".into(), 1)].into(),
            macs: [("lo".to_owned(), MacAddress([0; 6]))].into(),
            down: ["lo".to_owned()].into(),
            ..Fake::default()
        };
        assert_eq!(feed.events(), fake.events());
        for (command, step) in STEPS {
            ip(command);
            step(&mut fake);
            let expected = fake.events().unwrap();
            let start = Instant::now();
            let mut told = Vec::new();
            loop {
                let events = feed.events().unwrap();
                told.extend(events.into_iter().filter(|event| !is_of_a_group(event)));
                // A deletion of a neighbour is told twice.
                told.dedup();
                if told.len() >= expected.len() || start.elapsed() > PATIENCE {
                    break;
                }
                sleep(Duration::from_millis(10));
            }
            // Carrier comes and goes a moment later; what is told of another source in between has no order to it.
            told.sort_by_key(Event::source);
            assert_eq!(told, expected, "after {command}");
        }
    });
}

/// Linux keeps the addresses of groups among its neighbours.
fn is_of_a_group(event: &Event) -> bool {
    matches!(event, Event::Neighbour(neighbour) if neighbour.address.is_multicast())
}
