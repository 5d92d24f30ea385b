//! A failure of a package's own code.

/// A package that could not be installed, or one of whose scripts failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFailure {
    /// The package, as the package manager names it; an archive's path if that could not be read.
    pub package: String,
    /// What the package manager says about it.
    pub message: String,
    /// What was written while it was worked on.
    pub output: Vec<String>,
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
