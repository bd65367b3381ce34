//! Errors of ICMP about packets of direct return find their server, whichever nft loaded the rules, and how.

use crate::operator::{compile, flbc};
use crate::quoted::{SCHEDULERS, WAYS, follow_all};

use super::{Form, both};

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn they_find_the_server_whichever_nft_loaded_the_text() {
    for nft in both() {
        follow_all(WAYS[1], &SCHEDULERS, |machine, file| {
            nft.load(machine, Form::Text, &compile(file));
        });
    }
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn they_find_the_server_whichever_nft_loaded_the_json() {
    // Those whose flows are remembered have no JSON.
    for nft in both() {
        follow_all(WAYS[0], &SCHEDULERS[..2], |machine, file| {
            let output = flbc(&["compile", "--format", "json", "-"], file);
            assert!(output.status.success(), "{file}: {output:?}");
            let json = String::from_utf8(output.stdout).unwrap();
            nft.load(machine, Form::Json, &json);
        });
    }
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn they_find_the_server_after_rules_were_saved_and_restored() {
    let [this, other] = both();
    for (saves, restores) in [(&this, &this), (&this, &other), (&other, &other)] {
        follow_all(WAYS[0], &SCHEDULERS[..3], |machine, file| {
            // The older one cannot look at what the newer one loaded, and does before it loads.
            restores.load(machine, Form::Text, "flush ruleset");
            saves.load(machine, Form::Text, &compile(file));
            let saved = saves.list(machine);
            restores.restore(machine, &saved);
        });
    }
}
