//! What the kernel tells, as far as it is about what is kept in force.

use crate::control::{Kind, Level, Record};
use crate::daemon::order::Heard;
use crate::kernel::Kernel;
use crate::kernel::events::{Event, Link, Source};

use super::{Files, Hands};

impl<K: Kernel, F: Files> Hands<K, F> {
    /// What of this the core is to hear, and what there is to say of it.
    pub fn hear<C>(&mut self, event: Event) -> (Option<Heard<C>>, Vec<Record>) {
        match event {
            Event::Generation(generation) => {
                let heard = Heard::Generation {
                    number: generation.number,
                    by: generation.process,
                };
                (Some(heard), Vec::new())
            }
            Event::LinkCame(link) => self.of_interfaces([(&link.name, "is there".to_owned())]),
            Event::LinkGone(link) => self.of_interfaces([(&link.name, "is gone".to_owned())]),
            Event::LinkChanged { before, after } => self.of_link(&before, &after),
            Event::Missed(Source::Rules | Source::Interfaces) => (Some(Heard::Missed), Vec::new()),
            // The kernel asks neighbours itself, and no rule has an address of this machine's.
            Event::AddressCame(_)
            | Event::AddressGone(_)
            | Event::Neighbour(_)
            | Event::Missed(Source::Neighbours) => (None, Vec::new()),
        }
    }

    fn of_link<C>(&mut self, before: &Link, after: &Link) -> (Option<Heard<C>>, Vec<Record>) {
        if before.name != after.name {
            let to = format!("is called `{}` now", after.name);
            self.of_interfaces([(&before.name, to), (&after.name, "is there".to_owned())])
        } else if before.mac != after.mac {
            self.of_interfaces([(&after.name, "has another MAC address".to_owned())])
        } else if (before.up, before.carrier) != (after.up, after.carrier) {
            let is = match (after.up, after.carrier) {
                (false, _) => "is switched off",
                (true, false) => "has nobody at its other end",
                (true, true) => "works again",
            };
            // Rules are bound to it all the same.
            let (_, records) = self.of_interfaces::<C, 1>([(&after.name, is.to_owned())]);
            (None, records)
        } else {
            (None, Vec::new())
        }
    }

    /// What happened to interfaces, as far as what is kept in force names them.
    fn of_interfaces<C, const N: usize>(
        &mut self,
        all: [(&String, String); N],
    ) -> (Option<Heard<C>>, Vec<Record>) {
        let mut records = Vec::new();
        for (interface, what) in all {
            if self.names_interface(interface) {
                let text = format!("interface `{interface}` {what}");
                let mut record = self.event(Level::Info, Kind::Interface, text);
                record.interface = Some(interface.clone());
                records.push(record);
            }
        }
        ((!records.is_empty()).then_some(Heard::Interfaces), records)
    }
}
