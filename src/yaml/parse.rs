//! Text to tree.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as RawSpan, Tag, options};

use super::{Finding, Findings, Key, Node, Source, Span, Value};

/// Largest file, in bytes; a larger one is refused unread.
pub const MAX_BYTES: u64 = 1 << 20;
/// Largest depth of lists and maps, aliases included.
pub const MAX_DEPTH: usize = 64;
/// Largest number of values in a file; an alias counts as a copy of what it names.
pub const MAX_NODES: usize = 100_000;
/// Largest number of faults of form that are listed for one file.
const MAX_FAULTS: usize = 100;

/// Parses one YAML document. Faults of form go to `findings`; `None` if they leave no tree. Merge keys (`<<`) are
/// resolved, aliases expanded.
pub fn parse(source: &Arc<Source>, findings: &mut Findings) -> Option<Node> {
    if source.text.len() as u64 > MAX_BYTES {
        let message = format!("the file is larger than {MAX_BYTES} bytes");
        findings.push(Finding::without_position(&source.name, "", message));
        return None;
    }
    let mut builder = Builder {
        source,
        findings,
        faults: 0,
        frames: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    match builder.run() {
        Ok(()) => {}
        Err(Stop) => return None,
    }
    if builder.root.is_none() {
        let finding = Finding::without_position(&source.name, "", "the file holds no YAML document");
        builder.findings.push(finding);
    }
    builder.root
}

/// The end of the parse; the rest of the text is not read.
struct Stop;

/// A list or map that is not complete yet.
struct Frame {
    anchor: usize,
    span: Span,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        seen: HashSet<String>,
        key: Option<Key>,
        merges: Vec<Node>,
    },
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    findings: &'a mut Findings,
    faults: usize,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let source = Arc::clone(self.source);
        let limits: Options = options! { emit_comments: false };
        let mut documents = 0;
        for next in Parser::new_from_str_with_options(&source.text, limits) {
            let (event, raw) = match next {
                Ok(next) => next,
                Err(error) => {
                    let start = error.marker().byte_offset().unwrap_or(source.text.len());
                    let at = Span::new(&source, start, start);
                    return self.stop(&at, format!("this is not YAML: {}", error.info()));
                }
            };
            let at = self.span_of(&raw);
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        return self.stop(&at, "there is a second YAML document in the file".to_owned());
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let value = self.scalar(&text, style, tag.as_deref(), &at);
                    self.node(anchor, Node { span: at, value })?;
                }
                Event::SequenceStart(_, anchor, tag) => {
                    self.open(anchor, tag.as_deref(), at, Content::List(Vec::new()))?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    let content = Content::Map {
                        entries: Vec::new(),
                        seen: HashSet::new(),
                        key: None,
                        merges: Vec::new(),
                    };
                    self.open(anchor, tag.as_deref(), at, content)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(id) => self.alias(id, at)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn span_of(&self, raw: &RawSpan) -> Span {
        let range = raw.byte_range().unwrap_or(0..0);
        Span::new(self.source, range.start, range.end)
    }

    fn stop(&mut self, at: &Span, message: String) -> Result<(), Stop> {
        self.findings.push(Finding::error(at, "", message));
        Err(Stop)
    }

    fn fault(&mut self, finding: Finding) -> Result<(), Stop> {
        self.findings.push(finding);
        self.faults += 1;
        if self.faults < MAX_FAULTS { Ok(()) } else { Err(Stop) }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: &Span) -> Value {
        match tag {
            None if style == ScalarStyle::Plain => resolve(text),
            None => Value::Text(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema_tag("str") => Value::Text(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema() => resolve(text),
            Some(tag) => {
                self.findings.push(unknown_tag(tag, at));
                Value::Text(text.to_owned())
            }
        }
    }

    fn count(&mut self, nodes: usize, at: &Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return self.stop(at, format!("the file has more than {MAX_NODES} values"));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, span: Span, content: Content) -> Result<(), Stop> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.fault(unknown_tag(tag, &span))?;
        }
        if self.frames.len() >= MAX_DEPTH {
            return self.stop(&span, format!("lists and maps are nested deeper than {MAX_DEPTH}"));
        }
        self.frames.push(Frame { anchor, span, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map {
                mut entries,
                mut seen,
                merges,
                ..
            } => {
                // The map's own entries win over merged ones, and earlier over later.
                for merged in merges.iter().flat_map(Node::entries) {
                    if seen.insert(merged.0.text.clone()) {
                        self.count(merged.1.measure().0, &frame.span)?;
                        entries.push(merged.clone());
                    }
                }
                Value::Map(entries)
            }
        };
        self.node(
            frame.anchor,
            Node {
                span: frame.span,
                value,
            },
        )
    }

    fn alias(&mut self, id: usize, at: Span) -> Result<(), Stop> {
        let Some((count, height)) = self.anchors.get(&id).map(Node::measure) else {
            return self.stop(&at, format!("{} contains itself", at.text()));
        };
        if self.frames.len() + height > MAX_DEPTH {
            return self.stop(&at, format!("lists and maps are nested deeper than {MAX_DEPTH}"));
        }
        // Bounded before the copy is made: a few aliases of aliases would be gigabytes.
        self.count(count, &at)?;
        self.anchors.get(&id).cloned().map_or(Ok(()), |node| self.place(node))
    }

    fn node(&mut self, anchor: usize, node: Node) -> Result<(), Stop> {
        self.count(1, &node.span)?;
        if anchor != 0 {
            self.count(node.measure().0, &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Stop> {
        let Some(Frame { content, .. }) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match content {
            Content::List(items) => items.push(node),
            Content::Map {
                entries,
                seen,
                key: pending,
                merges,
            } => match pending.take() {
                None => {
                    let span = node.span.clone();
                    let text = match node.value {
                        Value::Text(text) => text,
                        Value::List(_) | Value::Map(_) => {
                            return self.stop(&span, "a key must be a word".to_owned());
                        }
                        _ => span.text().to_owned(),
                    };
                    *pending = Some(Key { text, span });
                }
                Some(key) if key.text == "<<" => match node.value {
                    Value::List(maps) => merges.extend(maps),
                    Value::Map(_) => merges.push(node),
                    _ => {
                        let message = "a merge key takes a map, or a list of maps";
                        return self.fault(Finding::error(&key.span, "<<", message));
                    }
                },
                Some(key) => {
                    if !seen.insert(key.text.clone()) {
                        let first = entries.iter().find(|(k, _)| k.text == key.text);
                        let line = first.map_or(0, |(k, _)| k.span.position().0);
                        let message = format!("the key {:?} is there twice, first in line {line}", key.text);
                        return self.fault(Finding::error(&key.span, key.text, message));
                    }
                    entries.push((key, node));
                }
            },
        }
        Ok(())
    }
}

fn unknown_tag(tag: &Tag, at: &Span) -> Finding {
    Finding::error(at, "", format!("the tag {} has no meaning here", tag.original()))
}

/// Resolves a scalar by the core schema (YAML 1.2.2, 10.3.2).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.bytes().all(|b| b.is_ascii_digit()) && !unsigned.is_empty() {
        return text.parse().map_or(Value::Float(f64::INFINITY), Value::Int);
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(value) = text
            .strip_prefix(prefix)
            .and_then(|d| i64::from_str_radix(d, radix).ok())
        {
            return Value::Int(value);
        }
    }
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let has_digit = unsigned
        .trim_start_matches('.')
        .starts_with(|c: char| c.is_ascii_digit());
    if has_digit
        && text.chars().all(is_number)
        && let Ok(value) = text.parse()
    {
        return Value::Float(value);
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" => Value::Float(f64::INFINITY),
        _ => Value::Text(text.to_owned()),
    }
}
