//! Relaxed accuracy (Methani et al. 2020), as it is computed for ChartQA: a number may be 5 % off, a text has to be equal.

/// How far a number may be off, as a share of the reference.
const TOLERANCE: f64 = 0.05;

/// Whether `answer` counts as `reference`: both are numbers, a final `%` dividing by 100, and differ by at most 5 % of a
/// reference that is not 0; or they are equal but for case.
pub fn matches(answer: &str, reference: &str) -> bool {
    let (answer, reference) = (answer.trim(), reference.trim());
    match (number(answer), number(reference)) {
        (Some(said), Some(wanted)) if wanted != 0.0 => {
            ((said - wanted) / wanted).abs() <= TOLERANCE
        }
        _ => answer.to_lowercase() == reference.to_lowercase(),
    }
}

/// The number that a text is.
fn number(text: &str) -> Option<f64> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_a_twentieth_off() {
        for (answer, reference, right) in [
            ("105", "100", true),
            ("106", "100", false),
            ("-95", "-100", true),
            ("0.25", "25%", true),
            ("26 %", "25%", true),
            ("0", "0", true),
            ("0.001", "0", false),
            ("Blue", "blue", true),
            ("blue car", "blue", false),
            ("1,000", "1000", false),
            ("nan", "NaN", true),
            ("inf", "100", false),
        ] {
            assert_eq!(matches(answer, reference), right, "{answer} {reference}");
        }
    }
}
