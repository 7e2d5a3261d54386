//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::Path;

/// One thing that is wrong, or that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as given, or the name of an environment variable.
    pub file: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// The key with its section, `[ingest] body_limit`; empty when it concerns the whole file.
    pub key: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Problem {
    pub(super) fn of_file(path: &Path, message: String) -> Self {
        Self { file: path.display().to_string(), line: None, key: String::new(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone)]
pub struct Problems {
    /// Why it cannot be used; never empty.
    pub errors: Vec<Problem>,
    /// What an operator should know about it besides. Not part of the text.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
