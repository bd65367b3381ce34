//! The systemd unit: what it runs at boot works with what it leaves the program.

use crate::apply_host::Host;

const UNIT: &str = include_str!("../../systemd/flbc.service");

const FILE: &str = "
service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server 10.20.0.11; server 10.20.0.12 }
";

/// The values of a setting, in order.
fn settings(name: &str) -> Vec<&'static str> {
    let values: Vec<_> = UNIT
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect();
    assert!(!values.is_empty(), "the unit says nothing of {name}");
    values
}

/// The arguments of a command of the unit's, with the file where the test has it.
fn arguments(name: &str, file: &'static str) -> Vec<&'static str> {
    let [command] = *settings(name) else {
        panic!("{name} more than once")
    };
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/flbc"));
    words
        .map(|word| {
            if word == "/etc/flbc/lb.flb" {
                file
            } else {
                word
            }
        })
        .collect()
}

#[test]
fn what_the_unit_leaves_the_program_is_enough_to_apply_and_to_reload() {
    let host = Host::alone();
    host.write("lb.flb", FILE);
    let [capabilities] = *settings("CapabilityBoundingSet") else {
        panic!("capabilities more than once")
    };
    let capabilities: Vec<String> = capabilities
        .split(' ')
        .map(|name| format!("+{}", name.to_lowercase().replace("cap_", "")))
        .collect();
    let start = arguments("ExecStart", "/run/lb.flb");
    let ran = host.confined(&capabilities.join(","), &start);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    assert!(
        ran.out.starts_with("+ service www\n+ service dns\n"),
        "{}",
        ran.out
    );
    assert!(host.list().contains("table netdev flbc"));
    assert!(host.remembers(), "the next apply must not have to read all");

    host.write(
        "lb.flb",
        &FILE.replace("10.20.0.12 }", "10.20.0.12 drain }"),
    );
    let reload = arguments("ExecReload", "/run/lb.flb");
    let ran = host.confined(&capabilities.join(","), &reload);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.contains("up -> drain"), "{}", ran.out);
}

#[test]
fn a_fault_in_the_file_is_not_tried_again_but_a_missing_interface_is() {
    let host = Host::alone();
    let prevented = settings("RestartPreventExitStatus");
    host.write("lb.flb", "service {");
    let faulty = host.flbc(&arguments("ExecStart", "/run/lb.flb"), "");
    assert_eq!(
        prevented,
        [faulty.code.expect("it ended by itself").to_string()]
    );
    host.write("lb.flb", &FILE.replace("eth1", "vlan7"));
    let early = host.flbc(&arguments("ExecStart", "/run/lb.flb"), "");
    assert!(early.err.contains("vlan7"), "{}", early.err);
    let code = early.code.expect("it ended by itself").to_string();
    assert!(code != "0" && !prevented.contains(&&*code), "{code}");
}
