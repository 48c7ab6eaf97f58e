//! How far two arrays lie apart.

/// Arrays whose numbers are all smaller are compared as if they had one of this size: nothing but noise remains of them.
const SMALLEST: f64 = 1e-3;

/// The largest difference of two arrays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Relative to the largest number that is wanted; infinite where something found is no number.
    pub error: f64,
    /// Where it is.
    pub at: usize,
    /// What is there.
    pub found: f32,
    /// What should be there.
    pub wanted: f32,
}

/// The largest difference of `found` and `wanted`; none where they are empty.
///
/// # Errors
/// When they differ in length, or something wanted is no finite number: then there is nothing to compare with.
pub fn largest_difference(found: &[f32], wanted: &[f32]) -> Result<Option<Difference>, String> {
    if found.len() != wanted.len() {
        return Err(format!(
            "{} numbers; expected {}",
            found.len(),
            wanted.len()
        ));
    }
    if let Some(at) = wanted.iter().position(|wanted| !wanted.is_finite()) {
        return Err(format!(
            "this processor gives {} at {at}, so that there is nothing to compare with",
            wanted[at]
        ));
    }
    let scale = wanted
        .iter()
        .fold(SMALLEST, |scale, wanted| scale.max(f64::from(wanted.abs())));
    let differences = found.iter().zip(wanted).enumerate();
    let differences = differences.map(|(at, (found, wanted))| {
        let error = (f64::from(*found) - f64::from(*wanted)).abs() / scale;
        Difference {
            // Not a number is as wrong as can be.
            error: if error.is_nan() { f64::INFINITY } else { error },
            at,
            found: *found,
            wanted: *wanted,
        }
    });
    // The first of several that are equally far off.
    let worse = |worst: Difference, next: Difference| {
        if next.error > worst.error {
            next
        } else {
            worst
        }
    };
    Ok(differences.reduce(worse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_relative_to_the_largest_number() {
        let difference = largest_difference(&[1.0, 4.0, -7.0], &[1.0, 4.5, -8.0]);
        let difference = difference.expect("one length").expect("three numbers");
        assert_eq!((difference.at, difference.error), (2, 0.125));
        assert_eq!(largest_difference(&[], &[]), Ok(None));
        let tiny = largest_difference(&[1e-9], &[0.0]).expect("one length");
        assert!(tiny.is_some_and(|difference| difference.error < 2e-6));
    }

    #[test]
    fn what_is_no_number_is_infinitely_wrong() {
        for found in [f32::NAN, f32::INFINITY] {
            let difference = largest_difference(&[1.0, found], &[1.0, 2.0]);
            let difference = difference.expect("one length").expect("two numbers");
            assert_eq!((difference.at, difference.error), (1, f64::INFINITY));
        }
        let message = largest_difference(&[1.0], &[f32::NAN]).expect_err("nothing to compare");
        assert!(message.contains("NaN at 0"), "{message}");
    }

    #[test]
    fn lengths_are_compared() {
        let message = largest_difference(&[1.0], &[1.0, 2.0]).expect_err("one is missing");
        assert!(message.contains("expected 2"), "{message}");
    }
}
