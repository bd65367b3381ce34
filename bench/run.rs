//! Running commands and reading what they cost.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::generate::Shape;

/// What one run of a command cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) seconds: f64,
    /// Peak resident memory.
    pub(crate) megabytes: f64,
    /// Of the time, what the kernel took for the transaction, in milliseconds; 0 where that is not told.
    pub(crate) transaction: f64,
}

impl Cost {
    /// The median of each figure.
    pub(crate) fn median(costs: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut all: Vec<f64> = costs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            seconds: middle(|cost| cost.seconds),
            megabytes: middle(|cost| cost.megabytes),
            transaction: middle(|cost| cost.transaction),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} s {:6.0} MB", self.seconds, self.megabytes)
    }
}

/// Where files of one run lie, and the program under test.
pub(crate) struct Workshop {
    directory: tempfile::TempDir,
    flbc: PathBuf,
}

impl Workshop {
    pub(crate) fn new() -> Result<Self, String> {
        let flbc = std::env::var_os("FLBC")
            .map_or_else(|| PathBuf::from("target/release/flbc"), PathBuf::from);
        if !flbc.is_file() {
            return Err(format!(
                "{} is not there: run `cargo build --release`",
                flbc.display()
            ));
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self { directory, flbc })
    }

    fn new_file(&self, kind: &str) -> PathBuf {
        let count = fs::read_dir(self.directory.path()).map_or(0, Iterator::count);
        self.directory.path().join(format!("{count}.{kind}"))
    }

    /// Writes a source file.
    pub(crate) fn source(&self, shape: &Shape) -> Result<PathBuf, String> {
        self.source_text(&shape.text())
    }

    /// The program under test.
    pub(crate) fn flbc(&self) -> &Path {
        &self.flbc
    }

    /// Writes a source file.
    pub(crate) fn source_text(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.new_file("flb");
        fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path)
    }

    /// Compiles a source file and keeps the rules.
    pub(crate) fn compile(&self, source: &Path) -> Result<PathBuf, String> {
        let path = self.new_file("nft");
        let mut command = Command::new(&self.flbc);
        command.arg("compile").arg("-o").arg(&path).arg(source);
        let status = command.status().map_err(|error| error.to_string())?;
        status
            .success()
            .then_some(path)
            .ok_or_else(|| format!("{command:?} failed"))
    }

    /// `flbc compile FILE`, its output thrown away.
    pub(crate) fn time_compile(&self, source: &Path) -> Result<Cost, String> {
        let mut command = Command::new("bash");
        let script = format!("{TIMED}timed \"$@\"");
        command.args(["-ec", &script, "bash"]);
        command.arg(&self.flbc).arg("compile").arg(source);
        cost(&mut command)
    }
}

/// `nft -c -f FILE` in a namespace of its own.
pub(crate) fn time_nft_check(rules: &Path) -> Result<Cost, String> {
    nft(&["-c", "-f"], rules)
}

/// `nft -f FILE` in a namespace of its own.
pub(crate) fn time_nft_load(rules: &Path) -> Result<Cost, String> {
    nft(&["-f"], rules)
}

fn nft(arguments: &[&str], rules: &Path) -> Result<Cost, String> {
    let mut command = Command::new("unshare");
    let script = format!("{TIMED}timed nft \"$@\"");
    command.args(["--net", "--mount", "bash", "-ec", &script, "bash"]);
    command.args(arguments).arg(rules);
    cost(&mut command)
}

/// A function of the shell: `timed COMMAND` tells seconds and kilobytes, which [`costs`] reads. The seconds of `time`
/// itself are too coarse.
pub(crate) const TIMED: &str = r#"
timed() {
    folder=$(mktemp -d)
    start=$(date +%s%N)
    # Not the shell's own `time`.
    command time -o "$folder/kilobytes" -f %M "$@"
    end=$(date +%s%N)
    printf 'cost %d.%09d %s\n' $(((end - start) / 1000000000)) $(((end - start) % 1000000000)) "$(cat "$folder/kilobytes")" >&2
    rm -r "$folder"
}
"#;

fn cost(command: &mut Command) -> Result<Cost, String> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?} failed: {messages}"));
    }
    costs(&messages)
        .next()
        .ok_or_else(|| format!("{command:?}: no figures"))
}

/// All that `timed` told, and before each, perhaps, the kernel's part.
pub(crate) fn costs(messages: &str) -> impl Iterator<Item = Cost> {
    let mut transaction = 0.0;
    messages.lines().filter_map(move |line| {
        if let Some(told) = line.strip_prefix("kernel transaction ") {
            transaction = told.strip_suffix(" ms")?.parse().ok()?;
            return None;
        }
        let (seconds, kilobytes) = line.strip_prefix("cost ")?.split_once(' ')?;
        Some(Cost {
            seconds: seconds.parse().ok()?,
            megabytes: kilobytes.parse::<f64>().ok()? / 1024.0,
            transaction: std::mem::take(&mut transaction),
        })
    })
}

/// The size of a file.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn megabytes(path: &Path) -> Result<f64, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    Ok(metadata.len() as f64 / 1e6)
}

/// How many elements the slot map of some rules gets.
pub(crate) fn slots(rules: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(rules).map_err(|error| error.to_string())?;
    let after = text.split(" slot {\n").nth(1).unwrap_or_default();
    let block = after.split("\n}").next().unwrap_or_default();
    Ok(block.matches(" : ").count())
}

/// Cores, memory and kernel.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let series: Vec<&str> = release.trim().split('.').take(2).collect();
    format!(
        "{cores} core{}, {} GB of memory, Linux {}",
        if cores == 1 { "" } else { "s" },
        kilobytes / 1_000_000,
        series.join(".")
    )
}
