//! A value together with the path of its field, for rules that span several fields.

use super::schema::{Field, Kind};
use super::{Finding, Node};

/// A value and the path of the field that holds it, such as `disk.partitions[1].end`.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The value; of a field that is absent, the map that lacks it.
    pub node: &'a Node,
    /// The path of the field; empty for the root.
    pub path: String,
}

impl<'a> Place<'a> {
    /// Starts at the root of a file.
    pub fn root(node: &'a Node) -> Self {
        let path = String::new();
        Self { node, path }
    }

    /// Goes to a field of this map, if the map has it.
    pub fn get<K: ?Sized>(&self, field: Field<K>) -> Option<Self> {
        let node = self.node.get(field)?;
        Some(Self { node, ..self.at(field) })
    }

    /// Goes to a field of this map; if the map lacks it, findings point at the map.
    pub fn at<K: ?Sized>(&self, field: Field<K>) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            node: self.node.get(field).unwrap_or(self.node),
            path: format!("{}{dot}{}", self.path, field.name),
        }
    }

    /// Reads the value of a field of this map.
    pub fn read<K: Kind + ?Sized>(&self, field: Field<K>) -> K::Value<'a> {
        self.node.read(field)
    }

    /// Goes through the items of a list in this map; none if the map lacks it.
    pub fn items<K: ?Sized>(&self, field: Field<K>) -> impl Iterator<Item = Self> + use<'a, K> {
        let path = self.at(field).path;
        let items = self.node.get(field).map_or(&[][..], Node::items);
        items.iter().enumerate().map(move |(index, node)| Self {
            node,
            path: format!("{path}[{index}]"),
        })
    }

    /// Makes an error at this place.
    pub fn error(&self, message: impl Into<String>) -> Finding {
        Finding::error(&self.node.span, &self.path, message)
    }

    /// Makes a warning at this place.
    pub fn warning(&self, message: impl Into<String>) -> Finding {
        Finding::warning(&self.node.span, &self.path, message)
    }
}
