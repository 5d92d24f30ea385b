//! What a container image says about itself.

/// `container`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// `labels`: names and values, in the order of the template.
    pub labels: Vec<(String, String)>,
    /// `entrypoint`: a program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `command`: further arguments.
    pub command: Vec<String>,
    /// `user`, if given.
    pub user: Option<String>,
    /// `workingDirectory`, if given.
    pub working_directory: Option<String>,
}
