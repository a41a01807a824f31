//! A histogram of `/metrics`, and what was added to it within a span.

use std::iter;

/// How many times were at most this long: bounds in seconds, ascending, with the count up to each.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    /// The one of this name, which has no labels. None when the text has none.
    pub(super) fn find(text: &str, name: &str) -> Option<Self> {
        let bucket = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        };
        let buckets: Vec<(f64, u64)> = text.lines().filter_map(bucket).collect();
        (!buckets.is_empty()).then_some(Self(buckets))
    }

    /// What was added since an earlier state of it.
    pub(super) fn since(&self, before: &Self) -> Self {
        let pairs = self.0.iter().zip(&before.0);
        Self(
            pairs
                .map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)))
                .collect(),
        )
    }

    /// Together with that of another node, which has the same bounds.
    pub(super) fn and(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(
            pairs
                .map(|((bound, here), (_, there))| (*bound, here + there))
                .collect(),
        )
    }

    /// The median in seconds, as Prometheus estimates it: times are spread evenly between two bounds. None without times.
    pub(super) fn median(&self) -> Option<f64> {
        let (_, all) = self.0.last()?;
        let half = whole(*all) / 2.0;
        let below = iter::once((0.0, 0)).chain(self.0.iter().copied());
        let mut buckets = below.zip(&self.0);
        let ((low, before), (high, upto)) =
            buckets.find(|(_, (_, upto))| *upto > 0 && whole(*upto) >= half)?;
        if high.is_infinite() {
            return Some(low);
        }
        let share = (half - whole(before)) / whole(upto - before);
        Some(low + (high - low) * share)
    }
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP warren_x_seconds Anything.
# TYPE warren_x_seconds histogram
warren_x_seconds_sum 0.5
warren_x_seconds_count 40
warren_x_seconds_bucket{le=\"0.000001\"} 10
warren_x_seconds_bucket{le=\"2e-6\"} 30
warren_x_seconds_bucket{le=\"+Inf\"} 40
warren_x_seconds_more_bucket{le=\"+Inf\"} 7
";

    fn of(counts: [u64; 3]) -> Histogram {
        let bounds = [1e-6, 2e-6, f64::INFINITY];
        Histogram(bounds.into_iter().zip(counts).collect())
    }

    fn is(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn buckets_are_found_by_the_whole_name() {
        let histogram = Histogram::find(TEXT, "warren_x_seconds").unwrap();
        assert_eq!(histogram.0, of([10, 30, 40]).0);
        assert!(Histogram::find(TEXT, "warren_x").is_none());
    }

    #[test]
    fn a_median_lies_between_the_bounds_of_its_bucket() {
        is(of([10, 30, 40]).median(), 1.5e-6);
        is(of([20, 20, 20]).median(), 0.5e-6);
        // Beyond the last bound nothing is told apart.
        is(of([0, 0, 5]).median(), 2e-6);
        assert_eq!(of([0, 0, 0]).median(), None);
        assert_eq!(Histogram::default().median(), None);
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let added = of([100, 120, 130]).since(&of([100, 100, 100]));
        is(added.median(), 1.75e-6);
    }

    #[test]
    fn nodes_count_together() {
        let both = of([10, 10, 10]).and(&of([0, 30, 30]));
        assert_eq!(both.0, of([10, 40, 40]).0);
    }
}
