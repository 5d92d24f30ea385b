//! Keys: a digest over named inputs. No input can be mistaken for another.

use sha2::Digest as _;

use crate::package::Sha256;

/// A digest over the inputs of a step, in the making.
#[derive(Debug, Clone)]
pub struct KeyBuilder(sha2::Sha256);

impl KeyBuilder {
    /// Starts the key of the step `step` above `parent`. `version` is raised when the same inputs would give another
    /// result.
    pub fn new(step: &str, version: u32, parent: Sha256) -> Self {
        Self(sha2::Sha256::new())
            .with("oic step layer", step)
            .with("version", version.to_le_bytes())
            .with("parent", parent.0)
    }

    /// Adds the input `name`, and returns the builder.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value);
        self
    }

    /// Adds the input `name`.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Returns the key.
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_cannot_run_into_each_other() {
        let key = |inputs: &[(&str, &str)]| {
            let mut builder = KeyBuilder::new("step", 1, Sha256::of(""));
            inputs.iter().for_each(|(name, value)| builder.add(name, value));
            builder.finish()
        };
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("c", "d"), ("a", "b")]));
        assert_ne!(key(&[]), KeyBuilder::new("step", 2, Sha256::of("")).finish());
        assert_ne!(key(&[]), KeyBuilder::new("step", 1, Sha256::of("x")).finish());
    }
}
