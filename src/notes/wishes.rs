//! What an operator wants of real servers beside the file, in a file of its own.
//!
//! ```json
//! {
//!   "flbc-wishes": 1,
//!   "boot": "…", "namespace": [4, 4026531840, 1234], "table": "flbc",
//!   "wishes": [
//!     { "pool": "web", "server": "web1", "address": "10.20.0.11", "port": 8080,
//!       "state": { "value": "drain", "since": 1764300000 } }
//!   ],
//!   "checksum": "0123456789abcdef"
//! }
//! ```
//!
//! Its format has a number and outlives versions of flbc, the tables, and the notes on them. It is of one boot and one
//! network namespace, as the tables are. It is written before the tables change: what was asked for is known, also of a run
//! that was killed.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Notes;
use crate::kernel::files::{boot_id, checksum, lifetime, network_namespace, open_note};
use crate::model::{Place, ServerKey, State, Wanted, Wish};

/// The number of the format.
const FORMAT: u32 = 1;

/// What an operator wants, by server.
pub type Wishes = BTreeMap<ServerKey, Wish>;

/// Adds what is wanted since to what was.
pub(crate) fn add(wishes: &mut Wishes, since: Wishes) {
    for (key, more) in since {
        let wish = wishes.entry(key).or_insert(more);
        wish.state = more.state.or(wish.state);
        wish.weight = more.weight.or(wish.weight);
    }
}

/// Why it is not known what an operator wants.
#[derive(Debug)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Whether what it held is lost, and not only closed to whoever looks.
    pub is_lost: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(rename = "flbc-wishes")]
    format: u32,
    boot: String,
    /// Device, inode, and what no other namespace of this boot has.
    namespace: (u64, u64, u32),
    table: String,
    wishes: Vec<One>,
    checksum: String,
}

/// One wish.
#[derive(Debug, Serialize, Deserialize)]
struct One {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Wanted<State>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<Wanted<u16>>,
}

impl Notes {
    /// What an operator wants beside the file, as it was written last; `None`: nothing was.
    ///
    /// # Errors
    ///
    /// The file is damaged, somebody else's, or of a newer flbc.
    pub fn wishes(&self, table: &str) -> Result<Option<Wishes>, Unreadable> {
        let path = self.file(table, WISHES).unwrap_or_default();
        let closed = |why: String| Unreadable {
            path: path.clone(),
            why,
            is_lost: false,
        };
        let unreadable = |why: String| Unreadable {
            is_lost: true,
            ..closed(why)
        };
        let bytes = match self.read_wishes(table) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(closed(error.to_string())),
        };
        let damaged = || unreadable("it is damaged".to_owned());
        // Of a later format no more than its number is known.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let format = value.get("flbc-wishes").and_then(serde_json::Value::as_u64);
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(unreadable("a newer flbc wrote it".to_owned()));
        }
        let written: Written = serde_json::from_value(value).map_err(|_| damaged())?;
        if sum(&written) != written.checksum {
            return Err(damaged());
        }
        let failed = |error: io::Error| closed(error.to_string());
        let (_, here) = place_and_time().map_err(failed)?;
        let is_now = self.is_of_this_boot(&written.boot).map_err(failed)?;
        // Those of another boot, or of a namespace that is gone, are about tables that are gone with it.
        if !is_now || here != written.namespace || written.table != table {
            return Ok(None);
        }
        let wishes: Option<Wishes> = written.wishes.into_iter().map(One::read).collect();
        wishes.map(Some).ok_or_else(damaged)
    }

    fn read_wishes(&self, table: &str) -> io::Result<Vec<u8>> {
        match self.check() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => return Err(io::ErrorKind::NotFound.into()),
            Ok(()) => {}
        }
        let mut bytes = Vec::new();
        open_note(&self.file(table, WISHES)?)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes down what an operator wants, as a whole and to the disk, or not at all.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn write_wishes(&self, table: &str, wishes: &Wishes) -> io::Result<()> {
        if wishes.is_empty() {
            return self.remove_wishes(table);
        }
        self.prepare()?;
        let (boot, namespace) = place_and_time()?;
        let mut written = Written {
            format: FORMAT,
            boot,
            namespace,
            table: table.to_owned(),
            wishes: wishes.iter().map(One::of).collect(),
            checksum: String::new(),
        };
        written.checksum = sum(&written);
        let mut bytes = serde_json::to_vec_pretty(&written)?;
        bytes.push(b'\n');
        let mut file = self.temporary(table)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.file(table, WISHES)?)?;
        fs::File::open(self.directory())?.sync_all()
    }

    fn remove_wishes(&self, table: &str) -> io::Result<()> {
        match fs::remove_file(self.file(table, WISHES)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The file that holds them.
const WISHES: &str = "wishes.json";

impl One {
    fn of((key, wish): (&ServerKey, &Wish)) -> Self {
        let (pool, service) = match &key.place {
            Place::Pool(name) => (Some(name.to_string()), None),
            Place::Service(name) => (None, Some(name.to_string())),
        };
        let Wish {
            state,
            weight,
            address,
            port,
        } = *wish;
        Self {
            pool,
            service,
            server: key.server.to_string(),
            address,
            port,
            state,
            weight,
        }
    }

    fn read(self) -> Option<(ServerKey, Wish)> {
        let place = match (self.pool, self.service) {
            (Some(pool), None) => Place::Pool(pool.into()),
            (None, Some(service)) => Place::Service(service.into()),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let server = Arc::from(self.server);
        let wish = Wish {
            state: self.state,
            weight: self.weight,
            address: self.address,
            port: self.port,
        };
        Some((ServerKey { place, server }, wish))
    }
}

/// The checksum of all but itself, without spaces between.
fn sum(written: &Written) -> String {
    let Written {
        format,
        boot,
        namespace,
        table,
        wishes,
        checksum: _,
    } = written;
    let all = (format, boot, namespace, table, wishes);
    // Plain data: serialization cannot fail.
    let bytes = serde_json::to_vec(&all).unwrap_or_default();
    format!("{:016x}", checksum(&bytes))
}

fn place_and_time() -> io::Result<(String, (u64, u64, u32))> {
    let (device, inode) = network_namespace()?;
    Ok((boot_id()?, (device, inode, lifetime()?)))
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "what was set is not known: {}: {}",
            self.path.display(),
            self.why
        )
    }
}

impl Error for Unreadable {}
