//! Nothing that a file says, nor how it is called, becomes a rule or drives a terminal.

use std::fs;

use super::{GOOD, Run, flbc_fed, flbc_in, folder};

/// The rules without their comments: what nft obeys.
fn rules(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split(" # ").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect()
}

/// The same rules come from a file of whatever name; only comments know it.
#[test]
fn names_of_files_stay_in_comments() {
    let folder = folder(&[("lb.flb", GOOD)]);
    let plain = flbc_in(folder.path(), ["compile", "lb.flb"]);
    let plain_json = flbc_in(folder.path(), ["compile", "--format", "json", "lb.flb"]);
    for name in [
        "new\nadd table ip owned\n.flb",
        "return\radd table ip owned.flb",
        "\"quoted\".flb",
        "}; add table ip owned; #.flb",
        "back\\",
        "$(reboot)`reboot`.flb",
        "\u{1b}[2J\u{7}\u{9b}31m.flb",
        "\u{202e}\u{2028}add table ip owned.flb",
        "# comment.flb",
    ] {
        fs::create_dir_all(folder.path().join("d")).unwrap();
        let path = folder.path().join("d").join(name);
        fs::write(&path, GOOD).unwrap();
        fs::write(folder.path().join("main.flb"), "include \"d/*\"\n").unwrap();
        for file in [format!("d/{name}").as_str(), "main.flb"] {
            let run = flbc_in(folder.path(), ["compile", file]);
            assert_eq!(run.status, 0, "{name:?}: {}", run.stderr);
            assert_eq!(rules(&run.stdout), rules(&plain.stdout), "{name:?}");
            assert_harmless(&run.stdout);
            let json = flbc_in(folder.path(), ["compile", "--format", "json", file]);
            assert_eq!(json.stdout, plain_json.stdout);
        }
        assert_loads(&flbc_in(folder.path(), ["compile", "main.flb"]).stdout);
        // And in messages.
        fs::write(&path, "servce x\n").unwrap();
        let direct = format!("d/{name}");
        for arguments in [
            &["check", "main.flb"][..],
            &["check", "--format", "json", "main.flb"],
            &["check", "--color", "never", &direct],
            &["fmt", "--check", &direct],
            &["compile", &direct],
        ] {
            let run: Run = flbc_in(folder.path(), arguments);
            assert_eq!(run.status, 2);
            assert_harmless(&run.stdout);
            assert_harmless(&run.stderr);
        }
        fs::remove_dir_all(folder.path().join("d")).unwrap();
    }
}

#[track_caller]
fn assert_harmless(text: &str) {
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!text.contains(is_obeyed), "{text:?}");
}

/// nft reads these rules, and they make no table but flbc's.
#[track_caller]
fn assert_loads(rules: &str) {
    let listed = super::table::load(rules);
    assert!(
        listed.lines().all(|line| line.ends_with(" flbc")),
        "{listed}"
    );
}

/// A command to copy from a message is one command, whatever the name of the file.
#[test]
fn a_suggested_command_quotes_the_name() {
    use std::os::unix::fs::PermissionsExt as _;
    let name = "a'; touch owned; '.flb";
    let folder = folder(&[
        (name, "# all may write\n"),
        ("main.flb", "include \"*;*\"\n"),
    ]);
    let everybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(folder.path().join(name), everybody).unwrap();
    let run = flbc_in(folder.path(), ["check", "main.flb"]);
    run.assert_bad("world-writable");
    let (_, command) = run.stderr.split_once("chmod").unwrap();
    let command = format!("chmod{}", command.lines().next().unwrap());
    let status = std::process::Command::new("sh")
        .args(["-c", &command])
        .current_dir(folder.path())
        .status();
    assert!(status.unwrap().success(), "{command}");
    assert!(!folder.path().join("owned").exists());
    assert_eq!(flbc_in(folder.path(), ["check", "main.flb"]).status, 0);
}

/// What nft would take for its own is refused where a name stands, and left behind where a comment does.
#[test]
fn words_of_nft_in_a_file() {
    for (statement, is_fine) in [
        ("server \"}; add table ip owned\" 10.20.0.13", false),
        ("server a\"b 10.20.0.13", false),
        ("server a}b 10.20.0.13", false),
        ("server web}\nadd table ip owned\n10.20.0.13", false),
        ("server a/b 10.20.0.13", false),
        ("server web\\ 10.20.0.13", false),
        ("server drop 10.20.0.13 # }; add table ip owned", true),
        ("# \"; } add table ip owned", true),
        ("server counter 10.20.0.13", true),
    ] {
        let file = GOOD.replace(
            "    server web2",
            &format!("    {statement}\n    server web2"),
        );
        let run = flbc_fed(&["compile", "-"], file.as_bytes());
        assert_eq!(run.status == 0, is_fine, "{statement}: {}", run.stderr);
        assert!(!run.stdout.contains("owned"), "{statement}");
        if is_fine {
            assert_loads(&run.stdout);
        } else {
            assert_eq!(run.stdout, "", "{statement}");
        }
    }
}

/// The longest names, and names that are words of nft's language, everywhere that a name can stand.
#[test]
fn the_most_unusual_names_load() {
    let long = "w".repeat(64);
    let file = format!(
        "pool {long} {{\n    server {long} [2001:db8:1111:2222:3333:4444:5555:6666]:65535 weight 65535 backup\n    server drop [2001:db8::2]:80\n}}\n\
         service {long} {{\n    vip 2001:db8::1 tcp 80\n    pool {long}\n}}\n\
         service table {{\n    vip 2001:db8::1 tcp 81\n    pool {long}\n    server _.-  [2001:db8::3]:80\n}}\n"
    );
    let run = flbc_fed(&["compile", "-"], file.as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
    for comment in run.stdout.split("comment \"").skip(1) {
        let comment = comment.split('"').next().unwrap();
        assert!(comment.len() <= flbc::ruleset::MAX_COMMENT, "{comment}");
    }
    assert_loads(&run.stdout);
}

/// Control characters in a file are refused, and shown without being obeyed.
#[test]
fn control_characters_in_a_file_never_reach_the_terminal() {
    for nasty in [
        "\u{1b}[2J",
        "\u{7}",
        "\u{8}",
        "\u{9b}31m",
        "\u{202e}",
        "\u{200b}",
        "\r",
        "\u{2028}",
    ] {
        for file in [
            GOOD.replace("web1", &format!("we{nasty}b1")),
            GOOD.replace("tcp", &format!("t{nasty}cp")),
            GOOD.replace("service", &format!("serv{nasty}ice")),
            format!("include \"{nasty}.flb\"\n"),
            format!("define {nasty}x = 1\n{GOOD}"),
        ] {
            for arguments in [
                &["compile", "-"][..],
                &["check", "--format", "json", "-"],
                &["fmt", "-"],
            ] {
                let run = flbc_fed(arguments, file.as_bytes());
                assert_eq!(run.status, 2, "{nasty:?} in {file:?}");
                assert_harmless(&run.stdout);
                assert_harmless(&run.stderr);
            }
        }
    }
}
