//! Two balancers that are to do the same have the same digest.

use super::*;

fn digest(text: &str) -> String {
    model(text).digest()
}

const FILE: &str = "
    pool web { server a 10.20.0.11 weight 2; server b 10.20.0.12:8080 }
    service www { vip 192.0.2.10 tcp 80, 443; vip 2001:db8::10 tcp 80; mode nat masquerade; scheduler maglev; persist 5m
        allow from 198.51.100.0/24, 203.0.113.0/24; pool web; server six 2001:db8:1::1 }
    service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1 from 02:00:00:00:00:01; track 1m
        server 10.20.0.21 mac 02:00:00:00:00:21; server 10.20.0.22 }
    service turns { vip 192.0.2.54 tcp 80; scheduler round-robin; server x 10.20.0.31; server y 10.20.0.32 }";

#[test]
fn what_is_the_same_has_the_same_digest_and_what_differs_another() {
    let one = digest(FILE);
    assert_eq!(one.len(), 16);
    assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    let same = [
        ("tcp 80, 443", "tcp 443, 80"),
        ("on eth0 via eth1 from 02:00:00:00:00:01", "on bond7"),
        (" mac 02:00:00:00:00:21", ""),
        (
            "198.51.100.0/24, 203.0.113.0/24",
            "203.0.113.0/24, 198.51.100.0/24",
        ),
        (
            "server a 10.20.0.11 weight 2; server b 10.20.0.12:8080",
            "server b 10.20.0.12:8080; server a 10.20.0.11 weight 2",
        ),
    ];
    for (from, to) in same {
        assert!(FILE.contains(from), "{from}");
        let other = FILE.replace(from, to);
        assert_eq!(digest(&other), one, "{from} -> {to}");
    }
    // Constants and pools that nobody uses are ways to write.
    let written = FILE.replace("10.20.0.11", "$a");
    let written =
        format!("define a = 10.20.0.11\n{written}\npool unused {{ server z 10.20.0.99 }}");
    assert_eq!(digest(&written), one);
    let other = [
        ("tcp 80, 443", "tcp 80"),
        ("weight 2", "weight 3"),
        ("10.20.0.12:8080", "10.20.0.12"),
        ("masquerade", "snat 192.0.2.1"),
        ("maglev", "hash by source"),
        ("persist 5m", "persist 6m"),
        ("track 1m", "track 2m"),
        ("allow from", "deny from"),
        ("203.0.113.0/24", "203.0.113.0/25"),
        ("service dns", "service names"),
        ("server six", "server seven"),
        // Servers that take turns stand in the order of their turns.
        (
            "server x 10.20.0.31; server y 10.20.0.32",
            "server y 10.20.0.32; server x 10.20.0.31",
        ),
        ("server 10.20.0.22", "server 10.20.0.22 drain"),
        ("track 1m", "track 1m; on-empty reject"),
    ];
    for (from, to) in other {
        assert!(FILE.contains(from), "{from}");
        assert_ne!(digest(&FILE.replacen(from, to, 1)), one, "{from} -> {to}");
    }
}
