//! Operations a second, as given on the command line.

use std::fmt;
use std::str::FromStr;

/// Floating-point operations a second that a device keeps up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

const UNITS: [(&str, f64); 3] = [("GFLOPS", 1e9), ("TFLOPS", 1e12), ("PFLOPS", 1e15)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As it is printed, too.
        let text = text.trim_end().replace("/s", "S");
        let found = UNITS.into_iter().find_map(|(unit, factor)| {
            let at = text.len().checked_sub(unit.len())?;
            let (number, end) = text.split_at_checked(at)?;
            let number: f64 = number.trim().parse().ok()?;
            end.eq_ignore_ascii_case(unit).then_some(number * factor)
        });
        match found {
            Some(rate) if rate.is_finite() && rate > 0.0 => Ok(Self(rate)),
            _ => Err(
                "expected a number above 0 with GFLOPS, TFLOPS or PFLOPS, such as 100TFLOPS".into(),
            ),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate < 1e12 => write!(f, "{} GFLOP/s", rate / 1e9),
            rate => write!(f, "{} TFLOP/s", rate / 1e12),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_unit() {
        assert_eq!("100TFLOPS".parse(), Ok(Rate(1e14)));
        assert_eq!("1.5 pflops".parse(), Ok(Rate(1.5e15)));
        assert_eq!("900GFLOPS".parse(), Ok(Rate(9e11)));
        assert_eq!("100 TFLOP/s".parse(), Ok(Rate(1e14)));
        assert_eq!(Rate(1e14).to_string(), "100 TFLOP/s");
        for wrong in [
            "",
            "100",
            "TFLOPS",
            "-1TFLOPS",
            "0TFLOPS",
            "nanTFLOPS",
            "1e999PFLOPS",
            "ö",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
