//! Files that flbc wrote for itself: who may have written them, and which boot and network namespace they are of.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::diagnostic::argument;

/// Opens a file that flbc wrote. It is a file and no link or pipe, and nobody but root can have written it.
pub(crate) fn open_note(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    // Whoever opens a pipe waits for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .read(true)
        .custom_flags(flag_bits(flags))
        .open(path)?;
    secure(path, &file.metadata()?, false)?;
    Ok(file)
}

pub(crate) fn flag_bits(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Whether nobody but this user, who is root, can have written here.
pub(crate) fn secure(path: &Path, metadata: &Metadata, directory: bool) -> io::Result<()> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    let right_kind = if directory {
        metadata.is_dir()
    } else {
        metadata.is_file()
    };
    // Root's own where root works here; without root, that of whoever does.
    let (owner, here) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let place = path.display();
    let name = argument(&path.to_string_lossy());
    let why = if !right_kind {
        let kind = if directory { "folder" } else { "file" };
        format!("{place} is no {kind}: `mv {name} {name}.old` makes room for one")
    } else if owner != here {
        format!(
            "{place} belongs to user {owner}, and this is user {here}: `chown {here} {name}` mends it where that is right"
        )
    } else if metadata.mode() & OTHERS_MAY_WRITE != 0 {
        format!("others may write to {place}: `chmod go-w {name}` mends it")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// What no other boot of any machine has.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// The network namespace of the calling thread: device and inode.
pub(crate) fn network_namespace() -> io::Result<(u64, u64)> {
    let namespace = fs::metadata(Path::new("/proc/thread-self/ns/net"))?;
    Ok((namespace.dev(), namespace.ino()))
}

/// What no other network namespace of this boot has, be it one that is gone: a new one often gets the inode of an old
/// one. It is the number of the socket by which this namespace's kernel talks of nf_tables, which counts on with every
/// socket, pipe and the like of the whole machine.
pub(crate) fn lifetime() -> io::Result<u32> {
    lifetime_in(Path::new("/proc/thread-self"))
}

/// The same of the namespace that a process is in, by its folder in `/proc`.
pub(crate) fn lifetime_in(process: &Path) -> io::Result<u32> {
    const NETFILTER: &str = "12";
    const KERNEL: &str = "0";
    let sockets = fs::read_to_string(process.join("net/netlink"))?;
    let number = sockets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.nth(1) == Some(NETFILTER) && words.next() == Some(KERNEL);
        words.last()?.parse().ok().filter(|_| is_it)
    });
    number.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// FNV-1a over words of 8 bytes: finds damage, not malice; the folder is root's own.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes
        .chunks(8)
        .fold(START ^ bytes.len() as u64, |sum, chunk| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
            // Without this the high bits of a word would never reach the low ones of the sum.
            mixed ^ (mixed >> 32)
        })
}
