//! `mode nat [masquerade | snat ADDR, ...]` and `mode dr on IFACE, ... [via IFACE [from MAC]]`

use crate::check::reader::Reader;
use crate::check::values::{address, impossible_snat, interface, mac};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{DirectReturn, Family, Interface, Mode, SourceNat, Via};
use crate::source::Span;
use crate::syntax::tree::{ModeDecl, ViaDecl, Word};

/// A `mode` that was read.
#[derive(Debug, Clone)]
pub(in crate::check) struct ModeSetting {
    pub(in crate::check) mode: Mode,
    /// The whole `mode` statement.
    pub(in crate::check) span: Span,
    /// Where the source addresses of `snat` stand.
    pub(in crate::check) snat: Vec<(Family, Span)>,
    /// A part could not be read.
    pub(in crate::check) damaged: bool,
}

/// Reads a `mode` statement.
pub(super) fn read(decl: &ModeDecl, span: Span, reader: &mut Reader<'_>) -> ModeSetting {
    let mut setting = ModeSetting {
        mode: Mode::Nat(SourceNat::Keep),
        span,
        snat: Vec::new(),
        damaged: false,
    };
    match decl {
        ModeDecl::Nat => {}
        ModeDecl::Masquerade => setting.mode = Mode::Nat(SourceNat::Masquerade),
        ModeDecl::Snat { addresses } => read_snat(addresses, &mut setting, reader),
        ModeDecl::Dr { on, via } => {
            let (on, on_damaged) = read_interfaces(on, reader);
            let (via, via_damaged) = via.map_or((None, false), |via| read_via(via, reader));
            setting.mode = Mode::Dr(DirectReturn { on, via });
            setting.damaged = on_damaged || via_damaged;
        }
    }
    setting
}

fn read_snat(words: &[Word], setting: &mut ModeSetting, reader: &mut Reader<'_>) {
    let read = reader.read_all(words, address);
    setting.damaged = read.damaged;
    let (mut ipv4, mut ipv6) = (None, None);
    for (address, value) in read.values {
        let family = Family::of(address);
        let fault = |message: String| Diagnostic::new(Code::BadSnat, value.place(), message);
        let first = setting.snat.iter().find(|(seen, _)| *seen == family);
        if let Some((_, first)) = first {
            let fault = fault(format!("This is a second {family} source address"))
                .related(*first, "the first")
                .help("`snat` takes one address per family");
            reader.report(fault);
            setting.damaged = true;
        } else if let Some((why, help)) = impossible_snat(address) {
            let mut fault = fault(format!(
                "{} cannot be a source address: it {why}",
                quote(value.text)
            ));
            fault.help = help;
            reader.report(fault);
            setting.damaged = true;
        } else {
            setting.snat.push((family, value.place()));
            match address {
                std::net::IpAddr::V4(v4) => ipv4 = Some(v4),
                std::net::IpAddr::V6(v6) => ipv6 = Some(v6),
            }
        }
    }
    if ipv4.is_some() || ipv6.is_some() {
        setting.mode = Mode::Nat(SourceNat::Fixed { ipv4, ipv6 });
    }
}

fn read_interfaces(words: &[Word], reader: &mut Reader<'_>) -> (Vec<Interface>, bool) {
    let read = reader.read_all(words, interface);
    let mut damaged = read.damaged;
    let mut interfaces: Vec<(Interface, Span)> = Vec::with_capacity(read.values.len());
    for (interface, value) in read.values {
        if let Some((_, first)) = interfaces.iter().find(|(seen, _)| *seen == interface) {
            let message = format!("The interface {} is named twice", quote(&interface));
            let fault = Diagnostic::new(Code::BadInterface, value.place(), message)
                .related(*first, "first named here")
                .help("name each interface once");
            reader.report(fault);
            damaged = true;
        } else {
            interfaces.push((interface, value.place()));
        }
    }
    let interfaces = interfaces.into_iter().map(|(interface, _)| interface);
    (interfaces.collect(), damaged)
}

/// `via IFACE [from MAC]`, and whether a part of it could not be read.
pub(in crate::check) fn read_via(decl: ViaDecl, reader: &mut Reader<'_>) -> (Option<Via>, bool) {
    let interface = reader.read(decl.interface, interface);
    let from = decl.from.map(|word| reader.read(word, mac));
    let damaged = interface.is_none() || matches!(from, Some(None));
    let via = interface.map(|interface| Via {
        interface,
        from: from.flatten(),
        looked_up: false,
    });
    (via, damaged)
}
