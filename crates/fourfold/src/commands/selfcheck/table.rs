//! The table of what was found, line by line as operations are done.

use std::fmt::Write;

use fourfold_tensor::Precision;
use fourfold_tensor::selfcheck::{Bounds, Operation, Report};

/// Widths of columns, which are known before anything is.
pub struct Table {
    name: usize,
    precisions: Vec<Precision>,
}

impl Table {
    pub fn new(operations: &[Operation], precisions: &[Precision]) -> Self {
        let names = operations.iter().map(|operation| operation.name.len());
        Self {
            name: names.max().unwrap_or(0),
            precisions: precisions.to_vec(),
        }
    }

    /// Two lines of titles, and the bounds.
    pub fn head(&self) -> String {
        let mut titles = format!("{:name$}  {:5}", "", "", name = self.name);
        let mut columns = format!("{:name$}  cases", "operation", name = self.name);
        let mut bounds = format!("{:name$}  {:5}", "at most", "", name = self.name);
        for precision in &self.precisions {
            let bound = format!("{:.0e}", Bounds::OPERATION.of(*precision));
            let _ = write!(titles, "   {:^16}", precision.name());
            let _ = write!(columns, "   {:>7} {:>8}", "output", "gradient");
            let _ = write!(bounds, "   {bound:>7} {bound:>8}");
        }
        format!(
            "{}\n{columns}  bits  bytes left\n{}",
            titles.trim_end(),
            bounds.trim_end()
        )
    }

    /// What was found of one operation.
    pub fn row(&self, report: &Report) -> String {
        let mut row = format!(
            "{:name$}  {:>5}",
            report.operation,
            report.cases,
            name = self.name
        );
        for precision in &self.precisions {
            let errors = report.errors.iter().find(|e| e.precision == *precision);
            let output = errors.map_or_else(|| "-".into(), |errors| number(errors.output));
            let gradient = errors.and_then(|errors| errors.gradient);
            let gradient = gradient.map_or_else(|| "-".into(), number);
            let _ = write!(row, "   {output:>7} {gradient:>8}");
        }
        let bits = if report.repeats { "same" } else { "DIFFER" };
        let verdict = if report.is_ok() { "ok" } else { "WRONG" };
        let _ = write!(row, "  {bits:4}  {:>10}  {verdict}", report.bytes_left);
        row
    }

    /// What other bounds there are, and everything that is wrong.
    pub fn foot(&self, operations: &[Operation], reports: &[Report]) -> String {
        let mut text = String::new();
        let mut told: Vec<&str> = Vec::new();
        for operation in operations {
            let Bounds { reason, .. } = operation.bounds;
            if reason.is_empty() || told.contains(&reason) {
                continue;
            }
            told.push(reason);
            let alike = operations.iter().filter(|o| o.bounds.reason == reason);
            let names: Vec<&str> = alike.map(|operation| operation.name).collect();
            let bounds = self.precisions.iter().map(|precision| {
                let bound = number(operation.bounds.of(*precision));
                format!("{bound} in {}", precision.name())
            });
            let bounds: Vec<String> = bounds.collect();
            let (names, bounds) = (names.join("; "), bounds.join(", "));
            let _ = writeln!(text, "\nOf {names} at most {bounds}: {reason}.");
        }
        for report in reports.iter().filter(|report| !report.is_ok()) {
            let _ = writeln!(text, "\nWRONG: {}", report.operation);
            for problem in &report.problems {
                let _ = writeln!(text, "  {problem}");
            }
        }
        text
    }
}

/// In two digits, which is what an error is worth.
fn number(error: f64) -> String {
    match error {
        0.0 => "0".to_owned(),
        _ => format!("{error:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fourfold_tensor::selfcheck::Errors;

    #[test]
    fn what_is_wrong_is_told_with_its_case() {
        let operations = [Operation::new("twice", |_| vec![])];
        let table = Table::new(&operations, &[Precision::F32, Precision::F16]);
        let report = Report {
            operation: "twice",
            cases: 2,
            errors: vec![Errors {
                precision: Precision::F32,
                bound: 1e-5,
                output: f64::INFINITY,
                gradient: None,
            }],
            repeats: false,
            bytes_left: 12,
            problems: vec!["f32: output at 3; case: x [5]".to_owned()],
            seconds: 0.0,
        };
        let row = table.row(&report);
        for part in ["twice", "inf", "DIFFER", "12", "WRONG"] {
            assert!(row.contains(part), "{row}");
        }
        let foot = table.foot(&operations, &[report]);
        assert_eq!(foot.trim(), "WRONG: twice\n  f32: output at 3; case: x [5]");
        assert!(table.head().contains("4e-3"), "{}", table.head());
    }
}
