//! What is remembered counts only where it is true.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;
use std::time::Duration;

use flbc::diff::{Identities, Observed, diff, drift};
use flbc::emit::netlink::desired;
use flbc::kernel::{Kernel, Linux};
use flbc::notes::Notes;

use crate::apply_host::{Host, states};
use crate::everything;
use crate::lab::namespace::Namespace;
use crate::namespace::{Elsewhere, inside, run};

#[test]
fn a_state_is_remembered_until_something_changes() {
    inside(|| {
        let (mut kernel, desired) = everything::wanted();
        let changes = diff(
            &Observed::default(),
            desired.clone(),
            &Arc::from("flbc 1234"),
        );
        let generation = kernel.generation().expect("a generation");
        let committed = kernel.commit("flbc", &changes, generation).expect("loads");
        let mut state = Observed::default();
        state.apply(&changes).expect("the changes fit");
        state.generation = committed.generation;
        kernel.read_handles("flbc", &mut state).expect("handles");
        let ids = Identities::of(&state).expect("both are marked");
        // What was made and what the kernel gave are all there is.
        let remade = Observed::made(desired, &ids);
        assert_eq!(drift(&remade, &state), []);
        assert_eq!(Identities::of(&remade).as_ref(), Some(&ids));

        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("run");
        let cache = Notes::new(&place);
        assert_eq!(cache.recall(&mut kernel, "flbc"), None, "nothing is there");
        cache
            .remember(&mut kernel, "flbc", (state.generation, ids.each()), b"note")
            .expect("remembers");
        let mode = fs::metadata(&place).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let recalled = cache.recall(&mut kernel, "flbc").expect("recalls");
        assert_eq!(recalled.note.whole, b"note");
        assert!(recalled.current);
        assert_eq!(recalled.generation, state.generation);
        let read = kernel.observe("flbc").expect("the kernel's tables");
        assert_eq!(drift(&state, &read), []);

        // Damage, wherever it is.
        let file = states(&place).pop().expect("it is remembered");
        let whole = fs::read(&file).expect("a file");
        for at in (0..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&file, &damaged).expect("writes");
            assert_eq!(cache.recall(&mut kernel, "flbc"), None, "byte {at}");
            fs::write(&file, &whole[..at]).expect("writes");
            assert_eq!(cache.recall(&mut kernel, "flbc"), None, "cut at {at}");
        }
        fs::write(&file, &whole).expect("writes");
        assert!(cache.recall(&mut kernel, "flbc").is_some());

        // Somebody else's folder or file.
        for path in [&place, &file] {
            let before = fs::metadata(path).expect("there").permissions();
            let mut open = before.clone();
            open.set_mode(before.mode() | 0o020);
            fs::set_permissions(path, open).expect("chmod");
            assert_eq!(cache.recall(&mut kernel, "flbc"), None, "{path:?}");
            fs::set_permissions(path, before).expect("chmod");
            chown(path, Some(1000), None).expect("chown");
            assert_eq!(cache.recall(&mut kernel, "flbc"), None, "{path:?}");
            chown(path, Some(0), None).expect("chown");
            assert!(cache.recall(&mut kernel, "flbc").is_some());
        }
        chown(&place, Some(1000), None).expect("chown");
        assert!(
            cache
                .remember(&mut kernel, "flbc", (state.generation, ids.each()), b"note")
                .is_err()
        );
        chown(&place, Some(0), None).expect("chown");

        // Another table, another tool.
        assert_eq!(cache.recall(&mut kernel, "other"), None);
        run("nft", &["add", "table", "ip", "somebody"], "");
        let earlier = cache.recall(&mut kernel, "flbc").expect("the same tables");
        assert!(!earlier.current, "somebody committed");
        assert_eq!(earlier.note.whole, b"note");
        cache
            .remember(&mut kernel, "flbc", (state.generation, ids.each()), b"note")
            .expect("remembers");
        let later = cache.recall(&mut kernel, "flbc").expect("the same tables");
        assert_eq!(later, earlier, "it is true of that generation alone");
        cache
            .remember(
                &mut kernel,
                "flbc",
                (state.generation, [Some("others"), None]),
                b"note",
            )
            .expect("forgets");
        assert!(!file.exists(), "a state of other tables is not kept");
    });
}

#[test]
fn another_namespace_is_another_kernel() {
    inside(|| {
        let (_, span) = everything::source();
        let mut ruleset = everything::ruleset(span, "lo", "lo");
        ruleset.netdev = None;
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Notes::new(folder.path().join("run"));
        let load = || {
            let mut kernel = Linux::open().expect("a socket");
            let interfaces = kernel.interfaces().expect("interfaces");
            let desired = desired(ruleset.clone(), &interfaces).expect("no interfaces");
            let changes = diff(
                &Observed::default(),
                desired.clone(),
                &Arc::from("flbc 1234"),
            );
            let generation = kernel.generation().expect("a generation");
            kernel.commit("flbc", &changes, generation).expect("loads");
            kernel
        };
        let mut kernel = load();
        let state = kernel.observe("flbc").expect("the kernel's tables");
        let ids = Identities::of(&state).expect("both are marked");
        cache
            .remember(&mut kernel, "flbc", (state.generation, ids.each()), b"note")
            .expect("remembers");
        assert!(cache.recall(&mut kernel, "flbc").is_some());
        let other = Elsewhere::new();
        let elsewhere = std::thread::spawn(move || {
            // The thread moves; the socket stays, so that generation and tables are the same.
            other.enter();
            cache.recall(&mut kernel, "flbc")
        });
        assert_eq!(elsewhere.join().expect("no panic"), None);
    });
}

/// `ip netns del`, and somebody makes another one: it gets the number of the first, and must not find its notes. As long as
/// the first may live they stay.
#[test]
fn notes_of_a_namespace_that_is_gone_go_once_another_has_its_number() {
    const FILE: &str =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }\n";
    let number = |namespace: &Namespace| {
        let namespace = fs::metadata(namespace.path()).expect("it is open");
        std::os::unix::fs::MetadataExt::ino(&namespace)
    };
    let host = Host::alone();
    host.apply(FILE);
    let first = Namespace::new("first");
    let old = number(&first);
    let notes = || {
        let entries = fs::read_dir(host.folder().join("flbc")).expect("notes");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
        let names = names.map(|name| name.expect("a name"));
        let of_it = names.filter(|name| name.starts_with(&format!("flbc.{old}.")));
        let mut of_it: Vec<String> = of_it
            .filter(|name| *name != format!("flbc.{old}.lock"))
            .collect();
        of_it.sort();
        of_it
    };
    let there = host.beside(&first);
    there.apply(FILE);
    assert_eq!(there.flbc(&["set", "www", "a", "drain"], "").code, Some(0));
    let all = notes();
    assert_eq!(all.len(), 2, "{all:?}");
    // Nobody is in it, but it lives: this test has it open.
    host.apply(&FILE.replace(":80", ":81"));
    assert_eq!(notes(), all);
    drop((there, first));
    let start = std::time::Instant::now();
    let second = loop {
        let second = Namespace::new("second");
        if number(&second) == old {
            break second;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "no namespace got the number"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    host.apply(FILE);
    assert_eq!(
        notes(),
        all,
        "nobody is in it, so that nobody knows which it is"
    );
    let mut someone = second.run(|| {
        std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat")
    });
    host.apply(FILE);
    assert!(notes().is_empty(), "{:?}", notes());
    assert!(host.remembers());
    someone.kill().expect("it runs");
    someone.wait().expect("it ends");
    let there = host.beside(&second);
    there.apply(FILE);
    assert!(!there.flbc(&["status"], "").out.contains("drain"));
    assert_eq!(notes().len(), 1);
}
