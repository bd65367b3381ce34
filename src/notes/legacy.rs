//! What was set, in the notes of flbc up to 0.1: an upgrade loses none of it.
//!
//! Those notes ended with the random texts of the tables and, behind them, what was set. What came before had another form in
//! each version. Since then [`crate::kernel::wishes`] keeps it.

use std::sync::Arc;

use serde::Deserialize;

use super::Foreign;
use super::wishes::Wishes;
use crate::model::{Place, ServerKey, Standing, State, Wanted, Wish};

/// The last form that ended so.
const LAST: u32 = 10;

/// What was set on one real server.
#[derive(Deserialize)]
struct Set {
    place: Place,
    server: Arc<str>,
    state: Option<State>,
    weight: Option<u16>,
    #[expect(dead_code, reason = "it was written")]
    file: Standing,
}

/// What was set; when is not known, so that it is taken for `now`.
pub(crate) fn wishes(foreign: &Foreign, now: u64) -> Option<Wishes> {
    if foreign.form > LAST {
        return None;
    }
    let ids = postcard::to_stdvec(&foreign.identities).ok()?;
    let windows = foreign.note.windows(ids.len()).rev();
    let place = windows.enumerate().find(|(_, window)| *window == ids)?.0;
    let start = foreign.note.len().checked_sub(place)?;
    let all: Vec<Set> = postcard::from_bytes(foreign.note.get(start..)?).ok()?;
    let wishes = all.into_iter().map(|set| {
        let Set {
            place,
            server,
            state,
            weight,
            file: _,
        } = set;
        let wish = Wish {
            state: state.map(|value| Wanted { value, since: now }),
            weight: weight.map(|value| Wanted { value, since: now }),
            address: None,
            port: None,
        };
        (ServerKey { place, server }, wish)
    });
    Some(wishes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read_from_the_end_of_an_old_note() {
        let identities = [Some("0123".to_owned()), Some("4567".to_owned())];
        // As those versions wrote it: place, name, state, weight, and what the file said.
        let file = (State::Up, 3_u16);
        let set = vec![
            (
                Place::Pool("web".into()),
                "a",
                Some(State::Down),
                None::<u16>,
                file,
            ),
            (Place::Service("www".into()), "b", None, Some(7), file),
        ];
        let ids = postcard::to_stdvec(&identities).unwrap_or_default();
        let mut note = b"what came before".to_vec();
        note.extend(&ids);
        note.extend(postcard::to_stdvec(&set).unwrap_or_default());
        let foreign = |form, note: &[u8]| Foreign {
            form,
            note: note.to_vec(),
            identities: identities.clone(),
        };
        let read = wishes(&foreign(LAST, &note), 99).unwrap_or_default();
        let told: Vec<String> = read
            .iter()
            .map(|(key, wish)| {
                let state = wish.state.map(|state| (state.value, state.since));
                let weight = wish.weight.map(|weight| (weight.value, weight.since));
                format!("{key} {state:?} {weight:?}")
            })
            .collect();
        assert_eq!(
            told,
            [
                "a of pool web Some((Down, 99)) None",
                "b of www None Some((7, 99))"
            ]
        );
        assert_eq!(wishes(&foreign(LAST + 1, &note), 99), None);
        for end in 0..note.len() {
            // Cut off anywhere, it is no note, and no reason to stop.
            let _ = wishes(&foreign(LAST, note.get(..end).unwrap_or_default()), 99);
        }
    }
}
