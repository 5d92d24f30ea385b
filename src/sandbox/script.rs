//! A failure of a package's own code.

use std::collections::VecDeque;

/// A package that could not be installed, or one of whose scripts failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFailure {
    /// The package, as the package manager names it; an archive's path if that could not be read.
    pub package: String,
    /// What the package manager says about it.
    pub message: String,
    /// What the scripts and the package manager wrote meanwhile.
    pub output: Vec<String>,
}

/// The lines that the scripts of one package write: the first ones and the last ones, which mostly have the cause.
#[derive(Debug, Default)]
pub struct ScriptOutput {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
}

impl ScriptOutput {
    const FIRST_LINES: usize = 50;
    const LAST_LINES: usize = 150;

    /// Takes the next line.
    pub fn push(&mut self, line: &str) {
        if self.first.len() < Self::FIRST_LINES {
            return self.first.push(line.to_owned());
        }
        if self.last.len() == Self::LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line.to_owned());
    }

    /// Returns the lines, with a line that counts those that are left out, and begins anew.
    pub fn take(&mut self) -> Vec<String> {
        let Self { first, last, left_out } = std::mem::take(self);
        let gap = (left_out > 0).then(|| format!("… {left_out} lines are left out …"));
        first.into_iter().chain(gap).chain(last).collect()
    }
}

impl std::fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN_LINES: usize = 20;
        write!(f, "package {}: {}", self.package, self.message)?;
        let skipped = self.output.len().saturating_sub(SHOWN_LINES);
        for line in self.output.iter().skip(skipped) {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_output_the_start_and_the_end_are_kept() {
        let mut output = ScriptOutput::default();
        for number in 1..=500 {
            output.push(&format!("line {number}"));
        }
        let lines = output.take();
        assert_eq!(lines.len(), 201);
        assert_eq!((lines[0].as_str(), lines[200].as_str()), ("line 1", "line 500"));
        assert_eq!(lines[50], "… 300 lines are left out …");
        assert!(output.take().is_empty());
        let failure = ScriptFailure {
            package: "p".to_owned(),
            message: "failed".to_owned(),
            output: lines,
        };
        assert!(failure.to_string().ends_with("line 500"));
    }
}
