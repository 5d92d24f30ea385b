//! Enumerations that files and flags name by words: each word is written once, in the list of
//! its enumeration. Tables of fields, conversions and messages take it from there.

/// An enumeration whose values have names.
pub trait Words: Copy + PartialEq + 'static {
    /// Every word, in the order in which documentation lists them.
    const CHOICES: &'static [&'static str];

    /// Finds the value that a word names.
    fn named(word: &str) -> Option<Self>;

    /// Returns the first word of the value: the one that is written.
    fn word(self) -> &'static str;
}

/// Declares the words of an enumeration. The compiler refuses a value without a word and a word
/// without a value.
macro_rules! words {
    ($type:ty { $(($($value:tt)+): $first:literal $(| $other:literal)*,)+ }) => {
        impl $crate::words::Words for $type {
            const CHOICES: &'static [&'static str] = &[$($first $(, $other)*),+];

            fn named(word: &str) -> Option<Self> {
                match word {
                    $($first $(| $other)* => Some($($value)+),)+
                    _ => None,
                }
            }

            fn word(self) -> &'static str {
                match self {
                    $($($value)+ => $first,)+
                }
            }
        }
    };
}

pub(crate) use words;
