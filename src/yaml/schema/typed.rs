//! Fields that know the type of their value. A table and the code that reads a value share one
//! [`Field`], so that the compiler refuses a field that no table has.

use std::marker::PhantomData;

use super::{Field, Shape, Text, Unique, Untyped};
use crate::words::Words;
use crate::yaml::Node;

/// A type of values that a field can have.
pub trait Kind {
    /// The value that a reader gets.
    type Value<'a>;

    /// Reads the value of a field; `node` is `None` if the field is absent.
    fn read(node: Option<&Node>) -> Self::Value<'_>;
}

/// A text; an empty one counts as absent.
impl Kind for str {
    type Value<'a> = Option<&'a Self>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node.and_then(Node::text).filter(|text| !text.is_empty())
    }
}

/// A word of an enumeration.
impl<T: Words> Kind for T {
    type Value<'a> = Option<T>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node.and_then(Node::text).and_then(T::named)
    }
}

impl Kind for bool {
    type Value<'a> = Option<Self>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node.and_then(Node::bool)
    }
}

impl Kind for i64 {
    type Value<'a> = Option<Self>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node.and_then(Node::int)
    }
}

/// A list of texts.
impl Kind for [String] {
    type Value<'a> = Vec<String>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        let items = node.map_or(&[][..], Node::items);
        items.iter().filter_map(Node::text).map(str::to_owned).collect()
    }
}

/// A list of words.
impl<T: Words> Kind for [T] {
    type Value<'a> = Vec<T>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        let items = node.map_or(&[][..], Node::items);
        items.iter().filter_map(Node::text).filter_map(T::named).collect()
    }
}

/// A map.
impl Kind for Node {
    type Value<'a> = Option<&'a Self>;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node
    }
}

/// A list of maps.
impl Kind for [Node] {
    type Value<'a> = &'a Self;

    fn read(node: Option<&Node>) -> Self::Value<'_> {
        node.map_or(&[], Node::items)
    }
}

/// Access by fields: the compiler refuses one that no table has.
impl Node {
    /// Gives the value of a field, if this is a map that has it; a null counts as absent.
    pub fn get<K: ?Sized>(&self, field: Field<K>) -> Option<&Self> {
        self.value_of(field.name)
    }

    /// Reads the value of a field as what the field is declared to hold.
    pub fn read<K: Kind + ?Sized>(&self, field: Field<K>) -> K::Value<'_> {
        K::read(self.get(field))
    }
}

impl<K: Kind + ?Sized> Field<K> {
    /// Declares an optional field.
    const fn of(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            doc,
            kind: PhantomData,
        }
    }
}

impl<K: ?Sized> Field<K> {
    /// Makes the field required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Forgets the type of the value: the form in which tables list fields.
    pub const fn untyped(self) -> Field<Untyped> {
        Field {
            name: self.name,
            shape: self.shape,
            required: self.required,
            doc: self.doc,
            kind: PhantomData,
        }
    }
}

impl Field<str> {
    /// Declares a field with a text.
    pub const fn text(name: &'static str, rule: Text, doc: &'static str) -> Self {
        Self::of(name, Shape::Text(rule), doc)
    }
}

impl<T: Words> Field<T> {
    /// Declares a field with a word of an enumeration.
    pub const fn word(name: &'static str, doc: &'static str) -> Self {
        Self::of(name, Shape::Text(Text::ANY.one_of(T::CHOICES)), doc)
    }

    /// Declares a field with a word of an enumeration, or another text, which reads as absent.
    pub const fn word_or_other(name: &'static str, doc: &'static str) -> Self {
        Self::of(name, Shape::Text(Text::ANY), doc)
    }

    /// Declares a field with a word of an enumeration; the words of `refused` are refused for
    /// the reason beside each.
    pub const fn word_but(
        name: &'static str,
        refused: &'static [(&'static str, &'static str)],
        doc: &'static str,
    ) -> Self {
        Self::of(name, Shape::Text(Text::ANY.one_of(T::CHOICES).refuse(refused)), doc)
    }
}

impl Field<bool> {
    /// Declares a field with a truth value.
    pub const fn bool(name: &'static str, doc: &'static str) -> Self {
        Self::of(name, Shape::Bool, doc)
    }
}

impl Field<i64> {
    /// Declares a field with a whole number from `min` to `max`.
    pub const fn int(name: &'static str, min: i64, max: i64, doc: &'static str) -> Self {
        Self::of(name, Shape::Int { min, max }, doc)
    }
}

impl Field<[String]> {
    /// Declares a field with a list of texts, each of the shape `item`.
    pub const fn texts(name: &'static str, item: &'static Shape, unique: Unique, doc: &'static str) -> Self {
        Self::of(name, Shape::List { item, unique }, doc)
    }
}

impl<T: Words> Field<[T]> {
    /// Declares a field with a list of words, each of the shape `item`.
    pub const fn words(name: &'static str, item: &'static Shape, unique: Unique, doc: &'static str) -> Self {
        Self::of(name, Shape::List { item, unique }, doc)
    }
}

impl Field<Node> {
    /// Declares a field with a map of `fields`.
    pub const fn map(name: &'static str, fields: &'static [Field], doc: &'static str) -> Self {
        Self::of(name, Shape::Map(fields), doc)
    }

    /// Declares a field that may have any value.
    pub const fn any(name: &'static str, doc: &'static str) -> Self {
        Self::of(name, Shape::Any, doc)
    }

    /// Declares a field with a map from keys of the user's choice to values of the shape `value`.
    pub const fn table(name: &'static str, key: Text, value: &'static Shape, doc: &'static str) -> Self {
        Self::of(name, Shape::Table { key, value }, doc)
    }
}

impl Field<[Node]> {
    /// Declares a field with a list of maps; `item` is a [`Shape::Map`].
    pub const fn maps(name: &'static str, item: &'static Shape, unique: Unique, doc: &'static str) -> Self {
        Self::of(name, Shape::List { item, unique }, doc)
    }
}

/// Declares the fields of a map, each once: a constant that code reads values with, and the
/// table `ALL` of all of them, in their order.
macro_rules! fields {
    ($(#[$doc:meta])* mod $module:ident { $($name:ident: $kind:ty = $field:expr;)+ }) => {
        $(#[$doc])*
        pub(crate) mod $module {
            #[allow(clippy::wildcard_imports)] // the declarations stand in the parent
            use super::*;

            $(
                #[doc = concat!("The field `", stringify!($name), "`.")]
                pub(crate) const $name: Field<$kind> = $field;
            )+

            /// The table of the fields.
            pub(crate) const ALL: &[Field] = &[$($name.untyped()),+];
        }
    };
}

pub(crate) use fields;
