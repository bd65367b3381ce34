//! One netlink socket to nf_tables: requests, dumps, batches.
//!
//! The kernel works on a request while it is sent, so that every answer but the later parts of a dump is there when
//! `send` returns: nothing here waits.

use std::io;
use std::ops::ControlFlow;

use netlink_sys::Socket as Raw;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use crate::emit::netlink::attribute::{Attributes, Writer};
use crate::emit::netlink::batch::Batch;
use crate::emit::netlink::constant::conntrack;
use crate::emit::netlink::header::{acknowledged, of_rules, request};

use super::KernelError;
use super::message::{DONE, ERROR, INTERRUPTED, Message};

/// What asks for tables, chains, rules and sets does.
const RULES: &str = "read the kernel's rules";

/// A dump comes in parts no longer than this.
const RECEIVE: usize = 64 << 10;

/// Room for the answers to a batch of which everything is refused.
const ANSWERS: usize = 8 << 20;

/// What the kernel needs beside the batch itself, in its accounting.
const SLACK: usize = 64 << 10;

/// The kernel makes a send buffer twice as large as it is asked to.
const TWICE: usize = 2;

/// The length of `nfgenmsg`.
const NFGENMSG: usize = 4;

/// A socket, and room to receive.
pub(super) struct Socket {
    raw: Raw,
    buffer: Vec<u8>,
    sequence: u32,
    /// The size of the send buffer that was last asked for.
    sendable: usize,
}

/// What the kernel says to one message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// The message.
    pub(super) sequence: u32,
    /// Why it is refused, if it is.
    pub(super) errno: Option<Errno>,
    /// The byte of the message that is to blame.
    pub(super) offset: Option<u32>,
}

fn failed(doing: &'static str) -> impl Fn(Errno) -> KernelError {
    move |errno| KernelError::Failed { doing, errno }
}

fn failed_io(doing: &'static str) -> impl Fn(io::Error) -> KernelError {
    move |error| KernelError::Failed {
        doing,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    }
}

impl Socket {
    /// A socket in the namespace of the calling thread.
    pub(super) fn open() -> Result<Self, KernelError> {
        let doing = "open a netlink socket";
        let raw = Raw::new(NETLINK_NETFILTER).map_err(failed_io(doing))?;
        raw.set_ext_ack(true).map_err(failed_io(doing))?;
        raw.set_cap_ack(true).map_err(failed_io(doing))?;
        // In a user namespace the kernel gives no more than `net.core.rmem_max`. With less room some answers to a large
        // batch are lost where much of it is refused; the first are enough.
        let forced = sockopt::set_socket_recv_buffer_size_force(&raw, ANSWERS);
        let _ = forced.or_else(|_| sockopt::set_socket_recv_buffer_size(&raw, ANSWERS));
        Ok(Self {
            raw,
            buffer: vec![0; RECEIVE],
            sequence: 1 << 30,
            sendable: 0,
        })
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8], doing: &'static str) -> Result<(), KernelError> {
        match send(&self.raw, bytes, SendFlags::empty()) {
            Ok(_) => Ok(()),
            Err(Errno::PERM | Errno::ACCESS) => Err(KernelError::NoPrivilege),
            Err(errno) => Err(failed(doing)(errno)),
        }
    }

    /// Asks for a list; `each` gets the family and the attributes of each member.
    ///
    /// # Errors
    ///
    /// [`KernelError::Changed`] if something changed meanwhile, so that the list may be wrong.
    pub(super) fn dump(
        &mut self,
        kind: u8,
        family: u8,
        attributes: impl FnOnce(&mut Writer),
        each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<(), KernelError> {
        self.ask(RULES, of_rules(kind), family, true, attributes, each)
    }

    /// Asks for what connection tracking follows; `attributes` are a filter.
    pub(super) fn dump_connections(
        &mut self,
        family: u8,
        attributes: impl FnOnce(&mut Writer),
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<(), KernelError> {
        let each = |_, attributes: Attributes<'_>| each(attributes);
        let doing = "list connections";
        self.ask(doing, conntrack::GET, family, true, attributes, each)
    }

    /// Asks for one thing; `each` gets its attributes, if it is there.
    pub(super) fn get(
        &mut self,
        kind: u8,
        family: u8,
        attributes: impl FnOnce(&mut Writer),
        each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<(), KernelError> {
        self.ask(RULES, of_rules(kind), family, false, attributes, each)
    }

    /// Asks for several things in one message; `each` gets the attributes of each that is there, in the order in which they
    /// are asked for, up to the first that is not. Says whether all are there.
    pub(super) fn get_each(
        &mut self,
        kind: u8,
        family: u8,
        attributes: impl FnOnce(&mut Writer),
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<bool, KernelError> {
        let sequence = self.next_sequence();
        self.send(
            &acknowledged(of_rules(kind), family, sequence, attributes),
            RULES,
        )?;
        loop {
            let end = self.receive(RULES, |message| {
                if message.sequence != sequence {
                    return ControlFlow::Continue(());
                }
                if message.kind == ERROR {
                    return ControlFlow::Break(message.errno());
                }
                if let Some((_, rest)) = message.payload.split_at_checked(NFGENMSG) {
                    each(Attributes::new(rest));
                }
                ControlFlow::Continue(())
            })?;
            match end {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(None) => return Ok(true),
                ControlFlow::Break(Some(Errno::NOENT)) => return Ok(false),
                ControlFlow::Break(Some(Errno::PERM | Errno::ACCESS)) => {
                    return Err(KernelError::NoPrivilege);
                }
                ControlFlow::Break(Some(errno)) => return Err(failed(RULES)(errno)),
            }
        }
    }

    fn ask(
        &mut self,
        doing: &'static str,
        kind: u16,
        family: u8,
        dump: bool,
        attributes: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<(), KernelError> {
        let sequence = self.next_sequence();
        self.send(&request(kind, family, dump, sequence, attributes), doing)?;
        let mut whole = true;
        loop {
            let end = self.receive(doing, |message| {
                if message.sequence != sequence {
                    return ControlFlow::Continue(());
                }
                whole &= message.flags & INTERRUPTED == 0;
                match message.kind {
                    ERROR | DONE => ControlFlow::Break(message.errno()),
                    _ => {
                        if let Some((head, rest)) = message.payload.split_at_checked(NFGENMSG) {
                            each(
                                head.first().copied().unwrap_or_default(),
                                Attributes::new(rest),
                            );
                        }
                        if dump {
                            ControlFlow::Continue(())
                        } else {
                            ControlFlow::Break(None)
                        }
                    }
                }
            })?;
            match end {
                ControlFlow::Continue(()) => {}
                // What is asked for is not there.
                ControlFlow::Break(None | Some(Errno::NOENT)) if whole => return Ok(()),
                ControlFlow::Break(None | Some(Errno::NOENT | Errno::INTR | Errno::AGAIN)) => {
                    return Err(KernelError::Changed);
                }
                ControlFlow::Break(Some(Errno::PERM | Errno::ACCESS)) => {
                    return Err(KernelError::NoPrivilege);
                }
                ControlFlow::Break(Some(errno)) => return Err(failed(doing)(errno)),
            }
        }
    }

    /// Sends a batch and reads what the kernel says to its messages.
    pub(super) fn transact(&mut self, batch: &Batch) -> Result<Vec<Answer>, KernelError> {
        const DOING: &str = "send the changes to the kernel";
        let bytes = batch.bytes.len();
        self.make_room(bytes)?;
        self.send(&batch.bytes, DOING)
            .map_err(|error| match error {
                KernelError::Failed { errno, .. } if errno == Errno::MSGSIZE => {
                    KernelError::NoRoom {
                        bytes,
                        setting: bytes
                            .saturating_add(SLACK)
                            .div_ceil(TWICE)
                            .next_power_of_two(),
                    }
                }
                error => error,
            })?;
        let mut answers = Vec::new();
        loop {
            let received = self.receive(DOING, |message| {
                let mine = (Batch::begin()..=batch.last()).contains(&message.sequence);
                if mine && message.kind == ERROR {
                    answers.push(Answer {
                        sequence: message.sequence,
                        errno: message.errno(),
                        offset: message.offset(),
                    });
                }
                ControlFlow::<()>::Continue(())
            });
            if let Err(error) = received {
                match error {
                    KernelError::Failed { errno, .. } if errno == Errno::AGAIN => {
                        return Ok(answers);
                    }
                    // More answers than there is room for; those that came are still to be read.
                    KernelError::Failed { errno, .. } if errno == Errno::NOBUFS => {}
                    error => return Err(error),
                }
            }
        }
    }

    /// The kernel takes a batch only whole, and only as large as the send buffer.
    ///
    /// To go beyond `net.core.wmem_max` takes a privilege outside of user namespaces, which a container's root has not,
    /// though it may change the rules of its own network: there the kernel makes the buffer as large as that allows.
    fn make_room(&mut self, bytes: usize) -> Result<(), KernelError> {
        let wanted = bytes.saturating_add(SLACK);
        if wanted <= self.sendable {
            return Ok(());
        }
        let forced = sockopt::set_socket_send_buffer_size_force(&self.raw, wanted);
        forced
            .or_else(|_| sockopt::set_socket_send_buffer_size(&self.raw, wanted))
            .map_err(failed("make room for the changes"))?;
        self.sendable = wanted;
        Ok(())
    }

    /// Reads one datagram that is there and shows its messages.
    fn receive<B>(
        &mut self,
        doing: &'static str,
        mut each: impl FnMut(Message<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, KernelError> {
        let (length, _) = recv(&self.raw, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)
            .map_err(failed(doing))?;
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while let Some((message, after)) = Message::read(rest) {
            rest = after;
            if let ControlFlow::Break(end) = each(message) {
                return Ok(ControlFlow::Break(end));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
