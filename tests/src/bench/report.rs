//! Figures, as they are shown: medians with their spread, percentiles, Markdown.

use std::time::Duration;

/// One figure of several rounds.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// # Panics
    /// If nothing was measured.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// # Panics
    /// If nothing was measured.
    pub fn lowest(&self) -> f64 {
        *self.0.first().expect("a scenario has at least one round")
    }

    /// # Panics
    /// If nothing was measured.
    pub fn highest(&self) -> f64 {
        *self.0.last().expect("a scenario has at least one round")
    }
}

/// Events per second.
#[expect(clippy::cast_precision_loss, reason = "shown to a few digits")]
pub fn rate(events: usize, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}

/// The three columns of a rate: median, slowest, fastest.
pub fn rate_cells(rates: &Spread) -> [String; 3] {
    [rates.median(), rates.lowest(), rates.highest()].map(|rate| format!("{rate:.0}"))
}

pub fn ratio(ours: f64, other: f64) -> String {
    format!("{:.2} x", ours / other)
}

/// The value below which so many thousandths of all lie.
///
/// # Panics
/// If nothing was measured.
pub fn percentile(values: &mut [Duration], thousandths: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * thousandths / 1000).min(values.len() - 1)]
}

pub fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

/// Microseconds of each.
#[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
pub fn micros_each(all: Duration, count: usize) -> String {
    format!("{:.1}", all.as_secs_f64() * 1e6 / count as f64)
}

#[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_048_576.0)
}

/// Ways beside each other, ours first: their rates, and what else was measured of each.
pub fn compared<'r, const MORE: usize>(
    header: [&str; MORE],
    rows: impl IntoIterator<Item = (&'r str, &'r Spread, [String; MORE])>,
) -> String {
    let mut ours = None;
    let rows = rows.into_iter().map(|(name, rates, more)| {
        let mut row = vec![name.to_owned()];
        row.extend(rate_cells(rates));
        row.push(ratio(*ours.get_or_insert(rates.median()), rates.median()));
        row.extend(more);
        row
    });
    let rows: Vec<_> = rows.collect();
    let mut names = vec!["way", "events/s", "slowest", "fastest", "Sagabox is"];
    names.extend(header);
    table(&names, &rows)
}

/// A Markdown table: text on the left, figures on the right.
///
/// # Panics
/// If a row has not as many cells as the header.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<&str> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&mut header.iter().copied());
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(header.len() - 1));
    text.push('\n');
    for row in rows {
        assert_eq!(row.len(), header.len(), "a row has a cell for each column: {row:?}");
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_a_median_and_two_ends() {
        let mut spread = Spread::default();
        [5.0, 1.0, 3.0].into_iter().for_each(|value| spread.push(value));
        assert_eq!(rate_cells(&spread), ["3", "1", "5"]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut values, 500), Duration::from_millis(51));
        assert_eq!(percentile(&mut values, 990), Duration::from_millis(100));
        assert_eq!(percentile(&mut values, 1000), Duration::from_millis(100));
    }

    #[test]
    fn a_table_is_markdown() {
        let rows = [vec!["a".to_owned(), "1".to_owned()]];
        assert_eq!(table(&["way", "n"], &rows), "| way | n |\n|---|---:|\n| a | 1 |\n");
    }
}
