//! XML in pieces, as repository metadata needs it, with limits against hostile documents.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::events::{BytesEnd, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Upper limit of a tag or text in bytes, far above those of real metadata.
const PIECE_LIMIT_BYTES: usize = 4 << 20;
const ATTRIBUTES_LIMIT: usize = 64;
const DEPTH_LIMIT: usize = 64;

/// The error for metadata that is not well-formed, or lacks a required part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {position}")]
pub struct XmlError {
    /// Position, in bytes from the start of the decompressed file.
    pub position: u64,
    /// The mistake there.
    pub reason: String,
}

/// A part of the document.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A start tag; an empty element yields a start tag and an end tag.
    Start(Start<'a>),
    /// An end tag.
    End(End<'a>),
    /// Text between tags, perhaps not all of it.
    Text(Cow<'a, str>),
    /// Something without meaning for metadata, such as a comment.
    Other,
    /// The end of a complete document.
    Eof,
}

/// A start tag.
#[derive(Debug)]
pub(super) struct Start<'a>(BytesStart<'a>);

impl Start<'_> {
    /// Returns the name without its namespace prefix.
    pub(super) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// Calls `visit` with each attribute's name and value; values are borrowed unless they have references.
    pub(super) fn attributes(&self, mut visit: impl FnMut(&str, &str)) -> Result<(), String> {
        // The crate's own search for duplicates compares every pair.
        for attribute in self.0.attributes().with_checks(false).take(ATTRIBUTES_LIMIT) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            visit(attribute.key.into_inner(), &value.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Returns the value of one attribute.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<String>, String> {
        let mut found = None;
        self.attributes(|key, value| {
            if key == name {
                found = Some(value.to_owned());
            }
        })?;
        Ok(found)
    }
}

/// An end tag.
#[derive(Debug)]
pub(super) struct End<'a>(BytesEnd<'a>);

impl End<'_> {
    /// Returns the name without its namespace prefix.
    pub(super) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }
}

/// A reader that splits a document into pieces.
pub(super) struct Xml<R> {
    reader: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<R: BufRead> Xml<R> {
    pub(super) fn new(text: R) -> Self {
        let mut reader = Reader::from_reader(Bounded { inner: text, left: 0 });
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            depth: 0,
        }
    }

    /// Makes the error `reason` at the current position.
    pub(super) fn error(&self, reason: impl Into<String>) -> XmlError {
        XmlError {
            position: self.reader.buffer_position(),
            reason: reason.into(),
        }
    }

    /// Returns the next piece.
    pub(super) fn next(&mut self) -> Result<Piece<'_>, XmlError> {
        self.buffer.clear();
        self.reader.get_mut().left = PIECE_LIMIT_BYTES;
        let event = self.reader.read_event_into(&mut self.buffer);
        let position = self.reader.buffer_position();
        let fail = |reason: String| XmlError { position, reason };
        Ok(match event.map_err(|error| fail(error.to_string()))? {
            Event::Start(start) => {
                self.depth += 1;
                if self.depth > DEPTH_LIMIT {
                    return Err(fail("elements are nested too deeply".to_owned()));
                }
                Piece::Start(Start(start))
            }
            Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                Piece::End(End(end))
            }
            Event::Text(text) => Piece::Text(text.xml10_content()),
            Event::CData(text) => Piece::Text(text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(None) => predefined(&reference.xml10_content()),
                    resolved => resolved.ok().flatten(),
                };
                let character = character.ok_or_else(|| fail("it has an unknown reference".to_owned()))?;
                Piece::Text(Cow::Owned(character.to_string()))
            }
            // An external definition is not read; one that defines entities has no place in metadata.
            Event::DocType(kind) if kind.contains('[') => {
                return Err(fail("it has a document type of its own".to_owned()));
            }
            Event::DocType(_) => Piece::Other,
            Event::Eof if self.depth > 0 => return Err(fail("it ends inside an element".to_owned())),
            Event::Eof => Piece::Eof,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Piece::Other,
        })
    }
}

/// Returns the character of one of the five entities of XML itself (XML 1.0, 4.6).
fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => return None,
    })
}

/// A reader that limits the bytes of each piece.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ready = self.inner.fill_buf()?;
        if self.left == 0 && !ready.is_empty() {
            let reason = format!("a tag or text has more than {PIECE_LIMIT_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(ready.get(..self.left).unwrap_or(ready))
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Result<Vec<String>, XmlError> {
        let mut xml = Xml::new(text.as_bytes());
        let mut found = Vec::new();
        loop {
            found.push(match xml.next()? {
                Piece::Start(start) => {
                    let mut line = start.name().to_owned();
                    start
                        .attributes(|key, value| line += &format!(" {key}={value}"))
                        .map_err(|reason| XmlError { position: 0, reason })?;
                    line
                }
                Piece::End(end) => format!("/{}", end.name()),
                Piece::Text(text) => text.into_owned(),
                Piece::Other => continue,
                Piece::Eof => return Ok(found),
            });
        }
    }

    #[test]
    fn pieces_come_in_order() {
        let text = "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM 'a.dtd'><!-- c --><a><r:b x='1' y=\"a&lt;&#65;\"/>t&amp;<![CDATA[<]]></a>";
        let expected = ["a", "b x=1 y=a<A", "/b", "t", "&", "<", "/a"];
        assert_eq!(pieces(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_well_formed_or_too_much_is_refused() {
        let deep = "<a>".repeat(100);
        let long = format!("<a b='{}'/>", "x".repeat(PIECE_LIMIT_BYTES));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>";
        for bad in [
            "<a>",
            "<a></b>",
            "<a>&b;</a>",
            "<a b='&b;'/>",
            "<a b=1/>",
            &deep,
            &long,
            bomb,
        ] {
            assert!(pieces(bad).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
    }
}
