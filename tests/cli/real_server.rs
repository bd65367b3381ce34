//! `flbc real-server`: what it cannot know, it asks for in one sentence.

use crate::flbc_fed;

const FILE: &str = "
pool web { server web1 10.20.0.11:80; server web2 10.20.0.12:80 }
service www { vip 192.0.2.10 tcp 80; pool web }
service mail { vip 192.0.2.25 tcp 25; mode nat masquerade; server mx 10.20.0.30 }
service dns { vip 192.0.2.53 udp 53; vip 2001:db8::53 udp 53; mode dr on eth0; server web1 10.20.0.99; server ns6 2001:db8:1::53 }
";

fn refused(arguments: &[&str]) -> String {
    let all = [&["real-server"], arguments, &["-"]].concat();
    let run = flbc_fed(&all, FILE.as_bytes());
    assert_eq!((run.status, &*run.stdout), (2, ""), "{run:?}");
    run.stderr
}

fn written(arguments: &[&str]) -> String {
    let all = [&["real-server"], arguments, &["-"]].concat();
    let run = flbc_fed(&all, FILE.as_bytes());
    assert_eq!((run.status, &*run.stderr), (0, ""), "{run:?}");
    run.stdout
}

#[test]
fn what_cannot_be_told_is_asked_for() {
    for (arguments, message) in [
        (
            vec!["--server", "web3"],
            "error: no service has a server `web3`; did you mean `web1`?\n",
        ),
        (
            vec!["--server", "mx", "--service", "mali"],
            "error: the file has no service `mali`; did you mean `mail`?\n",
        ),
        (
            vec!["--server", "ns7", "--service", "dns"],
            "error: service `dns` has no server `ns7`; did you mean `ns6`?\n",
        ),
        (
            vec!["--server", "web1"],
            "error: `web1` is not the same server everywhere: 10.20.0.11 in `www`, 10.20.0.99 in `dns`; choose one with `--service`\n",
        ),
        (
            vec!["--server", "web2"],
            "error: in service `www` the server's IPv4 answers must come back through the balancer, and the file does not tell where that is; give the balancer's IPv4 address in the servers' network with `--gateway`\n",
        ),
        (
            vec!["--server", "ns6", "--gateway", "10.20.0.1"],
            "error: no IPv4 answer of this server has to come back through the balancer: leave out `--gateway 10.20.0.1`\n",
        ),
    ] {
        assert_eq!(refused(&arguments), message);
    }
    let err = refused(&["--server", "web2", "--gateway", "10.20.0"]);
    assert!(err.contains("it is no IPv4 or IPv6 address"), "{err}");
    let err = refused(&["--server", "x\u{1b}[31m"]);
    assert!(!err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn where_nothing_is_needed_the_script_says_so_and_does_nothing() {
    let out = written(&["--server", "mx"]);
    assert!(
        out.contains("nothing is needed.\n") && out.ends_with("\nexit 0\n"),
        "{out}"
    );
}

#[test]
fn a_service_chooses_among_servers_of_one_name() {
    let out = written(&["--server", "web1", "--service", "dns"]);
    assert!(
        out.contains("10.20.0.99") && !out.contains("10.20.0.11"),
        "{out}"
    );
    let out = written(&["--server", "web2", "--gateway", "10.20.0.1"]);
    assert!(
        out.contains("\nip -4 route replace 0.0.0.0/1 via 10.20.0.1\n"),
        "{out}"
    );
}

#[test]
fn the_label_names_all_that_is_made() {
    let out = written(&["--server", "ns6", "--label", "second"]);
    assert!(
        out.contains("/run/second.held") && !out.contains("flbc-real-server"),
        "{out}"
    );
}
