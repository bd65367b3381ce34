//! `flbc explain`: where a flow goes, and why.

use crate::flbc_fed;

const FILE: &str = "pool web {
    server web1 10.20.0.11:8080 weight 3
    server web2 10.20.0.12:8080
    server web3 10.20.0.13:8080 drain
    server sorry 10.20.0.99:8080 backup
}
service www {
    vip 192.0.2.10 tcp 80, 1000-2000
    scheduler maglev
    pool web
    allow from 198.51.100.0/24, 10.0.0.0/8
    deny from 198.51.100.66
}
service rest { vip 192.0.2.10 tcp any; server x 10.20.0.9; server y 10.20.0.8 weight 2; mode nat masquerade }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server 10.20.0.21 }
service gone { vip 192.0.2.54 udp 54; on-empty drop; server 10.20.0.21 down }
";

/// What is said of a flow, and whether anybody takes it.
fn explain(from: &str, to: &str, protocol: &str) -> (i32, String) {
    let arguments = [
        "explain",
        "--from",
        from,
        "--to",
        to,
        "--protocol",
        protocol,
        "-",
    ];
    let run = flbc_fed(&arguments, FILE.as_bytes());
    assert_eq!(run.stderr, "", "{}", run.stdout);
    (run.status, run.stdout)
}

#[test]
fn a_hashed_flow_is_followed_step_by_step() {
    let (status, said) = explain("198.51.100.7:4000", "192.0.2.10:80", "tcp");
    assert_eq!(status, 0);
    assert_eq!(
        said,
        "198.51.100.7:4000 to 192.0.2.10:80 by tcp

service   www (<stdin>:7)
matches   vip 192.0.2.10 tcp 80 (<stdin>:8)
          before 192.0.2.10 tcp any of rest (<stdin>:14): an exact port beats a range and any
access    allowed by 198.51.100.0/24 (<stdin>:11)
scheduler maglev by source-port, 512 slots
key       c6 33 64 07 0f a0 00 00 (the client's address and port, to whole words of 4 bytes)
hash      jhash(key, seed 0x666c6263) = 0xb0186834
slot      352 = hash * 512 >> 32
server    web1 10.20.0.11:8080 weight 3 (<stdin>:2)
leaves    to 10.20.0.11:8080, from 198.51.100.7:4000, the source as it was
not       web3 10.20.0.13:8080 (<stdin>:4): drain: no new clients
not       sorry 10.20.0.99:8080 (<stdin>:5): backup: another server is up
unless    the connection exists: then it stays with its server
"
    );
}

#[test]
fn a_client_that_may_not_come_is_told_by_which_line() {
    let (status, said) = explain("198.51.100.66:4000", "192.0.2.10:1500", "tcp");
    assert_eq!(status, 1);
    assert!(
        said.contains("\naccess    denied by 198.51.100.66/32 (<stdin>:12)\n"),
        "{said}"
    );
    assert!(said.contains("a range beats any"), "{said}");
    let (status, said) = explain("203.0.113.1:4000", "192.0.2.10:80", "tcp");
    assert_eq!(status, 1);
    assert!(said.contains("\naccess    inside no allow\n"), "{said}");
    assert!(
        said.contains("\nserver    none: the client may not come; the client gets a TCP reset or ICMP port unreachable\n"),
        "{said}"
    );
}

#[test]
fn turns_have_shares_instead_of_a_server() {
    let (status, said) = explain("198.51.100.7:4000", "192.0.2.10:81", "tcp");
    assert_eq!(status, 0);
    assert!(
        said.contains("\nshare     1 of 3: x 10.20.0.9 (<stdin>:14)\nshare     2 of 3: y "),
        "{said}"
    );
    assert!(!said.contains("\nserver "), "{said}");
}

#[test]
fn what_nobody_has_names_its_neighbours() {
    let (status, said) = explain("198.51.100.7:4000", "192.0.2.53:54", "udp");
    assert_eq!(status, 1);
    assert!(
        said.contains("none has port 54 of 192.0.2.53 by udp")
            && said.contains("\nnear      192.0.2.53 udp 53 belongs to dns (<stdin>:15)\n"),
        "{said}"
    );
}

#[test]
fn a_service_without_servers_and_one_by_direct_return() {
    let (status, said) = explain("198.51.100.7:4000", "192.0.2.54:54", "udp");
    assert_eq!(status, 1);
    assert!(
        said.contains("none: no server takes new clients; the client gets no answer"),
        "{said}"
    );
    let (status, said) = explain("198.51.100.7:4000", "192.0.2.53:53", "udp");
    assert_eq!(status, 0);
    assert!(
        said.contains("\nleaves    by eth1 to the MAC address of 10.20.0.21 (neighbour table)"),
        "{said}"
    );
}

#[test]
fn a_real_server_as_a_client_is_answered_through_the_balancer() {
    let (_, said) = explain("10.20.0.12:4000", "192.0.2.10:80", "tcp");
    assert!(
        said.contains("the client is a real server itself"),
        "{said}"
    );
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    for (from, to, words) in [
        (
            "198.51.100.7",
            "192.0.2.10:80",
            "a port is missing: write `198.51.100.7:80`",
        ),
        (
            "2001:db8::1",
            "192.0.2.10:80",
            "a port is missing: write `[2001:db8::1]:80`",
        ),
        ("198.51.100.7:4", "www:80", "write an address and a port"),
        ("[2001:db8::1]:4", "192.0.2.10:80", "not of the same family"),
    ] {
        let run = flbc_fed(
            &["explain", "--from", from, "--to", to, "-"],
            FILE.as_bytes(),
        );
        run.assert_bad(words);
    }
}
