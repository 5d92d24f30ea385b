//! Keys of the tool that oic replaces: accepted and ignored.

use crate::yaml::Node;
use crate::yaml::schema::Field;

/// The section of a command that oic does not have.
pub(super) const AI: Field<Node> = Field::any("ai", "Of the older tool; ignored.");
