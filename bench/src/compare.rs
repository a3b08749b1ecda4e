//! Two runs side by side: what has become of each figure, and whether that is more than its rounds differ.

use crate::figure::{Figure, Spread};
use crate::report::{Report, number};

/// How a figure stands to an older one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ratio {
    /// New by old, by the medians.
    median: f64,
    /// The least and the greatest that any two rounds give.
    least: f64,
    greatest: f64,
}

impl Ratio {
    /// `None` if the old one is nothing to divide by.
    fn of(new: Spread, old: Spread) -> Option<Self> {
        let is_positive = [old.min, old.median, old.max].into_iter().all(|value| value > 0.0);
        is_positive.then(|| Self {
            median: new.median / old.median,
            least: new.min / old.max,
            greatest: new.max / old.min,
        })
    }

    /// Whether no two rounds could change the answer.
    fn is_clear(self) -> bool {
        self.least > 1.0 || self.greatest < 1.0
    }
}

/// Prints all figures that both have.
pub(crate) fn print(new: &Report, old: &Report) {
    println!("\ncompared with {} of {} ({})", old.machine.commit, old.machine.date, old.machine.processor);
    if (&old.machine.processor, &old.machine.kernel) != (&new.machine.processor, &new.machine.kernel) {
        println!("that was another machine or kernel: compare the ratios to the null programs, not these");
    }
    let kernel = |report: &Report| report.guest.as_ref().map(|guest| guest.kernel.clone());
    if let (Some(before), Some(now)) = (kernel(old), kernel(new))
        && before != now
    {
        println!("beside IPVS: then under Linux {before}, now under {now}");
    }
    println!("{:<48} {:>10} {:>10} {:>7}  rounds against rounds", "measured", "old", "new", "ratio");
    for figure in &new.figures {
        if let Some(line) = old.figures.iter().find_map(|other| line(figure, other)) {
            println!("{line}");
        }
    }
}

/// The line of a figure and an older one, if they are of the same.
fn line(new: &Figure, old: &Figure) -> Option<String> {
    if new.name != old.name || new.unit != old.unit {
        return None;
    }
    let ratio = Ratio::of(new.spread, old.spread)?;
    let Ratio { median, least, greatest } = ratio;
    let verdict = if ratio.is_clear() { "" } else { "  within the rounds' differences" };
    let (before, now) = (number(old.spread.median, old.unit), number(new.spread.median, new.unit));
    Some(format!("{:<48} {before:>10} {now:>10} {median:>7.3}  {least:.3}–{greatest:.3}{verdict}", new.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Unit;

    fn figure(min: f64, median: f64, max: f64) -> Figure {
        Figure::new("packet/x", Unit::Nanoseconds, Spread { min, median, max })
    }

    #[test]
    fn a_difference_smaller_than_that_of_the_rounds_is_said_to_be_so() {
        let line = |new, old| line(&new, &old).unwrap();
        let unclear = line(figure(9.0, 11.0, 12.0), figure(9.0, 10.0, 11.0));
        assert!(unclear.contains("1.100") && unclear.contains("within"), "{unclear}");
        let clear = line(figure(19.0, 20.0, 21.0), figure(9.0, 10.0, 11.0));
        assert!(clear.contains("2.000") && !clear.contains("within"), "{clear}");
    }

    #[test]
    fn figures_of_different_things_are_not_compared() {
        let other = Figure::new("packet/y", Unit::Nanoseconds, Spread::exactly(1.0));
        assert_eq!(line(&figure(1.0, 1.0, 1.0), &other), None);
        assert_eq!(line(&figure(1.0, 1.0, 1.0), &figure(0.0, 0.0, 0.0)), None);
    }
}
