//! Connections are found, forgotten and marked by mark, translation and VIP together.

use std::net::{IpAddr, UdpSocket};

use flbc::kernel::{Balanced, Connection, Judged, Kernel, Linux, Verdict};

use crate::namespace::{inside, run};

#[test]
fn only_translated_connections_of_mark_and_vip_are_forgotten_or_marked() {
    inside(|| {
        run("ip", &["link", "set", "lo", "up"], "");
        run("ip", &["route", "add", "192.0.2.0/24", "dev", "lo"], "");
        run("ip", &["route", "add", "2001:db8::/64", "dev", "lo"], "");
        let rules = "table inet t {
            chain out {
                type nat hook output priority -100;
                ip daddr 192.0.2.1 ct mark set 7 dnat ip to 127.0.0.1
                ip daddr 192.0.2.2 ct mark set 7 dnat ip to 127.0.0.1
                ip daddr 192.0.2.3 ct mark set 8 dnat ip to 127.0.0.1
                ip6 daddr 2001:db8::1 ct mark set 7 dnat ip6 to ::1
                ip daddr 127.0.0.9 ct mark set 7
            }
        }\n";
        run("nft", &["-f", "-"], rules);
        let four = UdpSocket::bind("0.0.0.0:0").expect("binds");
        for to in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "127.0.0.9"] {
            four.send_to(b"x", (to, 53)).expect("sends");
        }
        let six = UdpSocket::bind("[::]:0").expect("binds");
        six.send_to(b"x", ("2001:db8::1", 53)).expect("sends");
        let mut kernel = Linux::open().expect("a socket");
        let any = Balanced {
            mark: None,
            vip: None,
        };
        let vips = |kernel: &mut Linux, filter: &Balanced| -> Vec<IpAddr> {
            let found = kernel.connections(filter).expect("connections");
            let mut vips: Vec<IpAddr> = found.iter().map(|c| c.vip).collect();
            vips.sort_unstable();
            vips
        };
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].map(address);
        assert_eq!(vips(&mut kernel, &any), all, "127.0.0.9 was not translated");
        let one = Balanced {
            mark: Some(7),
            vip: Some(all[0]),
        };
        let found = kernel.connections(&one).expect("connections");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].mark, found[0].vip_port), (7, Some(53)));
        assert_eq!(found[0].server, address("127.0.0.1"));
        let mut judged = |mark, vip, verdict| {
            let judge = move |c: &Connection| {
                if (c.mark, c.vip) == (mark, vip) {
                    verdict
                } else {
                    Verdict::Keep
                }
            };
            let Judged { forgotten, marked } = kernel.judge(&judge).expect("judges");
            (forgotten, marked)
        };
        assert_eq!(judged(7, all[0], Verdict::Forget), (1, 0));
        assert_eq!(judged(7, all[3], Verdict::Forget), (1, 0));
        assert_eq!(judged(9, all[1], Verdict::Forget), (0, 0));
        assert_eq!(judged(7, all[1], Verdict::Mark(0x7fff_0001)), (0, 1));
        assert_eq!(judged(7, all[1], Verdict::Mark(1)), (0, 0));
        assert_eq!(vips(&mut kernel, &any), all[1..3]);
        let now = kernel.connections(&any).expect("connections");
        let marks: Vec<(IpAddr, u32)> = now.iter().map(|c| (c.vip, c.mark)).collect();
        assert!(marks.contains(&(all[1], 0x7fff_0001)), "{marks:?}");
        assert!(marks.contains(&(all[2], 8)), "{marks:?}");
    });
}
