//! Commands of the template.

use crate::words::words;

/// `systemConfig.configurations[]`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// `cmd`: a text for the shell of the image, of one or several lines.
    pub text: String,
    /// Whether it reaches the network.
    pub network: bool,
    /// Variables of its environment, in the order of the template.
    pub env: Vec<(String, String)>,
    /// When it runs; if absent, after all files and settings.
    pub when: Option<When>,
}

// A variable may hold a password.
impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configuration")
            .field("text", &self.text)
            .field("network", &self.network)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

impl<T: Into<String>> From<T> for Configuration {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// `systemConfig.configurations[].when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// With the others, and the initrd is made after it.
    BeforeInitrd,
    /// After the initrd.
    Last,
    /// When the machine boots for the first time.
    FirstBoot,
}

words!(When {
    (Self::BeforeInitrd): "beforeInitrd",
    (Self::Last): "last",
    (Self::FirstBoot): "firstBoot",
});
