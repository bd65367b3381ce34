//! Faults that are planted into the daemon: the simulation must find each of them.

use flbc::apply::Failure;
use flbc::daemon::hands::{Caller, Hands, Performed};
use flbc::daemon::order::{Order, Outcome, Why};
use flbc::diagnostic::Diagnostics;
use flbc::kernel::events::{Event, Process};
use flbc::model::Layers;
use flbc::operate::{Job, Refused};

use super::author::model;
use super::daemon::{Paper, is_coming};
use super::mortal::Mortal;

/// What is wrong with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// It does not look after something was missed.
    DeafAfterMissed,
    /// It takes others' transactions for its own.
    TakesOthersForItself,
    /// It does not see that an interface came.
    BlindToInterfaces,
    /// It repairs during a trial.
    MeddlesWithTrials,
    /// It forgets those who wait while another flbc is at work.
    ForgetsWhoWaits,
    /// It applies its file where an operator unloaded.
    UndoesUnload,
    /// It repairs as often as others break.
    Fights,
    /// It names nobody.
    NamesNobody,
    /// It does not try again what failed.
    GivesUp,
}

impl Planted {
    pub(crate) const ALL: [Self; 9] = [
        Self::DeafAfterMissed,
        Self::TakesOthersForItself,
        Self::BlindToInterfaces,
        Self::MeddlesWithTrials,
        Self::ForgetsWhoWaits,
        Self::UndoesUnload,
        Self::Fights,
        Self::NamesNobody,
        Self::GivesUp,
    ];

    /// Whether it does not hear this.
    pub(crate) fn is_deaf_to(self, event: &Event) -> bool {
        match self {
            Self::DeafAfterMissed => matches!(event, Event::Missed(_)),
            Self::TakesOthersForItself => matches!(event, Event::Generation(_)),
            Self::BlindToInterfaces => is_coming(event),
            _ => false,
        }
    }

    /// What it makes of what should have come of an order.
    pub(crate) fn spoil(
        self,
        mut performed: Performed<u64>,
        hands: &mut Hands<Mortal, Paper>,
        others: &[Process],
    ) -> Performed<u64> {
        performed.outcome = match (self, performed.outcome) {
            (Self::MeddlesWithTrials, Outcome::OnTrial(order)) => {
                let _ = meddle(hands);
                Outcome::OnTrial(order)
            }
            (Self::ForgetsWhoWaits, Outcome::Busy(Order::Set(_))) => {
                Outcome::Busy(Order::Set(Vec::new()))
            }
            (Self::UndoesUnload, Outcome::Unloaded) => {
                let order: Order<Caller<u64>> = Order::Reload(None);
                return hands.perform(order, others);
            }
            (Self::Fights, Outcome::Broken) => {
                let order: Order<Caller<u64>> = Order::Enforce(Why::Repair);
                let mut next = hands.perform(order, others);
                next.events.splice(..0, performed.events);
                return next;
            }
            (Self::GivesUp, Outcome::Failed) => Outcome::Waits,
            (_, outcome) => outcome,
        };
        if self == Self::NamesNobody {
            for event in &mut performed.events {
                event.processes.clear();
            }
        }
        performed
    }
}

/// Applies the file, whoever has the turn.
fn meddle(hands: &mut Hands<Mortal, Paper>) -> Result<(), Refused> {
    let Some(text) = hands.files.read.clone() else {
        return Ok(());
    };
    let mut sink = Diagnostics::new();
    let tables = &mut hands.tables;
    let job = Job::beside(
        tables,
        model(&text),
        Layers::default(),
        (None, Vec::new()),
        &mut sink,
    )?;
    job.commit(tables, &mut sink).map(drop).map_err(|refused| {
        if let Refused::Failed(Failure::Crowded) = refused {
            return Refused::Faulty;
        }
        refused
    })
}
