//! Tables in Markdown, as docs/benchmarks.md has them.

use std::fmt;

/// Rows of as many cells as the head.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: Vec<String>) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// The median, and how far the smallest and the largest are from it: `1.20 (-3% +8%)`.
pub(crate) fn median_and_spread(figures: &[f64], decimals: usize) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = median(figures);
    // What is too short for the clock has no parts.
    if median <= 0.0 {
        let largest = sorted.last().copied().unwrap_or_default();
        return format!("{median:.decimals$} (largest {largest:.decimals$})");
    }
    let part = |figure: Option<&f64>| (figure.unwrap_or(&median) / median - 1.0) * 100.0;
    format!(
        "{median:.decimals$} ({:+.0}% {:+.0}%)",
        part(sorted.first()),
        part(sorted.last())
    )
}

/// The median.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
