//! Small charts that the server draws: lines over the last minutes, as SVG.

use std::time::Duration;

use sagabox_engine::model::Timestamp;

/// The drawing's own units; a page scales it.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 80.0;

/// A value at a time. There is no point where nothing is known.
pub(super) type Point = (Timestamp, f64);

/// Lines over a span of time that ends now.
#[derive(Debug, PartialEq)]
pub(super) struct Chart {
    /// A description for readers who do not see it.
    pub label: String,
    /// The largest value, at the top.
    pub top: String,
    /// The length of the span.
    pub span: String,
    pub lines: Vec<Line>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub name: &'static str,
    /// Counts from 1: it selects the line's colour and dashes.
    pub number: usize,
    /// The newest value.
    pub now: String,
    /// `x,y` pairs.
    pub points: String,
}

impl Chart {
    pub(super) fn new(
        label: &str,
        span: Duration,
        now: Timestamp,
        series: &[(&'static str, Vec<Point>)],
    ) -> Self {
        let values = series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
        let top = ceiling(values.fold(0.0, f64::max));
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let lines: Vec<Line> = series
            .iter()
            .enumerate()
            .map(|(index, (name, points))| Line {
                name,
                number: index + 1,
                now: points.last().map_or_else(|| "0".to_owned(), |(_, value)| figure(*value)),
                points: placed(points, now, span_ms, top),
            })
            .collect();
        let newest: Vec<_> =
            lines.iter().map(|line| format!("{} {}", line.name, line.now)).collect();
        Self {
            label: format!("{label}, now: {}", newest.join(", ")),
            top: figure(top),
            span: crate::io::figures::length(span_ms),
            lines,
        }
    }
}

/// The growth of a counter in a second, between one sample and the next.
pub(super) fn rates(samples: &[(Timestamp, u64)]) -> Vec<Point> {
    let pairs = samples.windows(2).filter(|pair| pair[1].0 > pair[0].0);
    let rate = |pair: &[(Timestamp, u64)]| {
        let seconds = precise(pair[1].0.0 - pair[0].0.0) / 1000.0;
        (pair[1].0, precise(pair[1].1.saturating_sub(pair[0].1)) / seconds)
    };
    pairs.map(rate).collect()
}

pub(super) fn levels(samples: &[(Timestamp, u64)]) -> Vec<Point> {
    samples.iter().map(|(at, value)| (*at, precise(*value))).collect()
}

fn placed(points: &[Point], now: Timestamp, span_ms: u64, top: f64) -> String {
    let begin = now.0.saturating_sub(span_ms);
    let inside = points.iter().filter(|(at, _)| at.0 >= begin && at.0 <= now.0);
    let place = |(at, value): &Point| {
        let x = WIDTH * precise(at.0 - begin) / precise(span_ms.max(1));
        let y = HEIGHT - HEIGHT * (value / top).clamp(0.0, 1.0);
        format!("{x:.1},{y:.1}")
    };
    inside.map(place).collect::<Vec<_>>().join(" ")
}

/// The next of 1, 2, 5, 10, 20, 50, …: the axis does not change with each sample.
fn ceiling(value: f64) -> f64 {
    let mut step = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if value <= step * factor {
                return step * factor;
            }
        }
        step *= 10.0;
    }
}

/// Three digits are enough for a rate.
fn figure(value: f64) -> String {
    if value > 0.0 && value < 10.0 && value.fract() > 0.05 {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    crate::io::figures::grouped(value.round() as u64)
}

/// Beyond 2^53 a point of a chart may be off by one.
#[expect(clippy::cast_precision_loss, reason = "a point of a chart")]
fn precise(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_the_right_and_its_largest_value_is_below_the_top() {
        let samples = [(0, 0), (5_000, 50), (10_000, 150)].map(|(at, n)| (Timestamp(at), n));
        let rates = rates(&samples);
        assert_eq!(rates, [(Timestamp(5_000), 10.0), (Timestamp(10_000), 20.0)]);
        let span = Duration::from_secs(10);
        let chart = Chart::new("Events", span, Timestamp(10_000), &[("in", rates)]);
        assert_eq!(chart.top, "20");
        assert_eq!(chart.lines[0].points, "160.0,40.0 320.0,0.0");
        assert_eq!(chart.label, "Events, now: in 20");
        let earlier = Chart::new("Events", span, Timestamp(16_000), &[("in", levels(&samples))]);
        assert_eq!(
            earlier.lines[0].points, "128.0,20.0",
            "what is too old is left out: {earlier:?}"
        );
    }

    #[test]
    fn counters_that_went_back_have_no_rate_below_zero() {
        let samples = [(0, 9), (1_000, 5), (1_000, 6)].map(|(at, n)| (Timestamp(at), n));
        assert_eq!(rates(&samples), [(Timestamp(1_000), 0.0)]);
    }

    #[test]
    fn the_top_is_a_round_number() {
        for (value, top) in [(0.0, 1.0), (0.5, 1.0), (3.0, 5.0), (11.0, 20.0), (4_001.0, 5_000.0)] {
            assert!((ceiling(value) - top).abs() < f64::EPSILON, "{value}: {}", ceiling(value));
        }
    }
}
