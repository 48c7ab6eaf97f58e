//! Metrics of other programs, such as SPICE: a command that reads predictions and writes a score for each.

use std::io::Write;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use fourfold_train::evaluation::Scored;
use fourfold_train::recipe::Metric;
use serde_json::json;

/// `NAME=COMMAND`.
#[derive(Clone, Debug)]
pub struct External {
    name: String,
    command: String,
}

impl FromStr for External {
    type Err = String;

    /// # Errors
    /// When the text is not `NAME=COMMAND`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() && !command.trim().is_empty() => Ok(Self {
                name: name.to_owned(),
                command: command.to_owned(),
            }),
            _ => Err("expected NAME=COMMAND, as spice=./spice.sh".into()),
        }
    }
}

impl External {
    /// Adds the mean of what the command says of each prediction, with its interval.
    ///
    /// # Errors
    /// When the command fails, or does not write one number a prediction.
    pub fn add(&self, scored: &mut Scored) -> Result<()> {
        let within = || format!("--external {}: `{}`", self.name, self.command);
        ensure!(
            scored.figures.get(&self.name).is_none() && !is_known(&self.name),
            "--external: `{}` is another figure's name; choose one of its own",
            self.name
        );
        let mut input = String::new();
        for prediction in &scored.predictions {
            let line = json!({
                "id": prediction.id,
                "prediction": prediction.prediction,
                "references": prediction.references,
            });
            input += &format!("{line}\n");
        }
        let output = self.run(input).with_context(within)?;
        let values = numbers(&output).with_context(within)?;
        let count = scored.predictions.len();
        ensure!(
            values.len() == count,
            "{} wrote {} numbers for {count} predictions; expected one a line, in their order",
            within(),
            values.len()
        );
        let sum: f64 = values.iter().sum();
        ensure!(
            sum.is_finite(),
            "{}: the sum of the numbers is {sum}",
            within()
        );
        scored.add(&self.name, values);
        Ok(())
    }

    fn run(&self, input: String) -> Result<String> {
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot be started")?;
        let mut stdin = child.stdin.take().context("has no input")?;
        // Beside the reading, or both sides wait where the command writes early. A command may leave its input unread.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().context("cannot be waited for")?;
        drop(writer.join());
        if !output.status.success() {
            bail!("ended with {}", output.status);
        }
        String::from_utf8(output.stdout).context("did not write text")
    }
}

/// Whether a figure of Fourfold's own has this name.
fn is_known(name: &str) -> bool {
    let mut figures = Metric::ALL.into_iter().flat_map(Metric::figures);
    figures.any(|figure| *figure == name)
}

fn numbers(output: &str) -> Result<Vec<f64>> {
    let lines = output.lines().filter(|line| !line.trim().is_empty());
    lines
        .enumerate()
        .map(|(number, line)| {
            let value: Option<f64> = line.trim().parse().ok().filter(|v: &f64| v.is_finite());
            value.with_context(|| format!("line {}: expected a number, got {line:?}", number + 1))
        })
        .collect()
}
