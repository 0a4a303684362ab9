//! What commands print: tables, bars of progress, figures.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Columns, as wide as their widest entry. The last is not padded.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [impl ToString; N]) {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  ", width = *width));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A bar of progress on the standard error, if that is a terminal; it shows itself after a moment.
pub fn progress(length: u64, what: &str, bytes: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let count = if bytes { "{bytes}/{total_bytes}, {bytes_per_sec}" } else { "{pos}/{len}" };
    let style = ProgressStyle::with_template(&format!("{{msg}} {{bar:30}} {count}, {{eta}} left"));
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A mark that something of unknown length goes on, if the standard error is a terminal.
pub fn spinner(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Milliseconds with as many digits as mean something, for JSON.
pub fn rounded_ms(time: Duration) -> f64 {
    (ms(time) * 1e4).round() / 1e4
}

/// A count with its thousands apart.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Operations as people read them.
pub fn operations(n: f64) -> String {
    match n {
        // Of loops and branches nobody knows before they run.
        n if !n.is_finite() => "known at run time only".to_owned(),
        n if n >= 1e9 => format!("{:.2} GFLOP", n / 1e9),
        n if n >= 1e6 => format!("{:.1} MFLOP", n / 1e6),
        n => format!("{:.0} kFLOP", n / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_thousands_stand_apart() {
        let mut table = Table::default();
        table.row(["a", "long", "x"]);
        table.row(["bcd", "e", "y"]);
        assert_eq!(table.to_string(), "  a    long  x\n  bcd  e     y\n");
        assert_eq!([thousands(7), thousands(1234), thousands(1_234_567)], ["7", "1,234", "1,234,567"]);
    }
}
