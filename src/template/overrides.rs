//! Values given beside a template, each for one of its fields: `systemConfig.hostname=edge-7`.

use std::sync::Arc;

use super::schema::TEMPLATE;
use crate::yaml::schema::{Shape, join, unknown_field};
use crate::yaml::{Finding, Findings, Node, Source, Span, Value, parse};

/// The largest number of parts of a path; no field of a template lies deeper.
const PARTS_MAX: usize = 16;

/// A value for one field of a template, in the place of what the template says there.
#[derive(Debug, Clone)]
pub struct Override {
    path: Vec<Part>,
    /// The value as it was given; its name says where.
    value: Arc<Source>,
}

/// A part of the path to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The field of a map.
    Key(String),
    /// The number of an item of a list, from 0.
    Index(usize),
}

impl Override {
    /// Reads `FIELD=VALUE`, such as `disk.partitions[0].end=2GiB`. `origin` names where it comes from, for messages.
    ///
    /// # Errors
    /// In words, if it is not of that form.
    pub fn parse(origin: &str, text: &str) -> Result<Self, String> {
        // The rest may hold a password.
        let (path, value) = text.split_once('=').ok_or("it is not of the form FIELD=VALUE")?;
        let parts = path.split('.').map(parts).collect::<Option<Vec<_>>>();
        let path = parts
            .map(|parts| parts.concat())
            .filter(|parts| parts.len() <= PARTS_MAX)
            .ok_or_else(|| format!("{path:?} is no path of a field, such as disk.partitions[0].end"))?;
        Ok(Self {
            path,
            value: Source::argument(origin, value),
        })
    }

    /// Puts the value into `root`, a template. What is wrong with it goes to `findings`; the template is as it was then.
    pub(super) fn apply(&self, root: &mut Node, findings: &mut Findings) {
        let put = self.put(root, &Shape::Map(TEMPLATE), &self.path, "");
        if let Err(wrong) = put {
            findings.extend(wrong);
        }
    }

    /// Puts the value at `rest`, seen from `node`, which has the given `shape` and stands at `at`.
    fn put(&self, node: &mut Node, shape: &Shape, rest: &[Part], at: &str) -> Result<(), Findings> {
        match (rest, shape) {
            ([], _) => {
                *node = self.node(shape, at)?;
                Ok(())
            }
            ([Part::Key(key), rest @ ..], Shape::Map(_) | Shape::Table { .. } | Shape::Any) => {
                let path = join(at, key);
                let shape = self.shape_of(key, shape, &path)?;
                self.enter(node, Value::Map(Vec::new()));
                let old = node.entries().iter().find(|(own, _)| own.text == *key);
                let mut child = old.map_or_else(|| self.nothing(), |(_, child)| child.clone());
                self.put(&mut child, &shape, rest, &path)?;
                node.set(key, child);
                Ok(())
            }
            ([Part::Index(index), rest @ ..], Shape::List { item, .. }) => {
                self.enter(node, Value::List(Vec::new()));
                self.put_item(node, item, (*index, rest), at)
            }
            (_, Shape::List { .. }) => Err(self.error(at, "is a list: name an item by its number, such as [0]")),
            ([Part::Index(_), ..], _) => Err(self.error(at, "is no list, and has no item with a number")),
            _ => Err(self.error(at, "has one value, and no fields")),
        }
    }

    /// Puts the value into an item of the list `node`, or behind its last one.
    fn put_item(
        &self,
        node: &mut Node,
        item: &Shape,
        (index, rest): (usize, &[Part]),
        at: &str,
    ) -> Result<(), Findings> {
        // The checks of the template say what is wrong with anything else than a list.
        let Value::List(items) = &mut node.value else {
            return Ok(());
        };
        let count = items.len();
        if index > count {
            let message = format!("the template itself has {count} items here, and no [{index}]");
            let wrong = self.finding(at, message);
            return Err(wrong
                .hint("what a template takes from others has no number: name it again in the template")
                .into());
        }
        let mut child = items.get(index).cloned().unwrap_or_else(|| self.nothing());
        self.put(&mut child, item, rest, &format!("{at}[{index}]"))?;
        match items.get_mut(index) {
            Some(old) => *old = child,
            None => items.push(child),
        }
        Ok(())
    }

    /// Gives the shape of the field `key`, whose whole path is `path`.
    fn shape_of(&self, key: &str, shape: &Shape, path: &str) -> Result<Shape, Findings> {
        match shape {
            Shape::Map(fields) => match fields.iter().find(|field| field.name == key) {
                Some(field) => Ok(field.shape),
                None => Err(unknown_field(key, &self.start(), path.to_owned(), fields).into()),
            },
            Shape::Table { value, .. } => Ok(**value),
            _ => Ok(Shape::Any),
        }
    }

    /// Makes `node` an `empty` list or map if it has no value.
    fn enter(&self, node: &mut Node, empty: Value) {
        if matches!(node.value, Value::Null) {
            node.span = self.start();
            node.value = empty;
        }
    }

    /// Reads the value for a field of the given `shape`. A text is taken as it is, unless it is in quotes; everything
    /// else is YAML.
    fn node(&self, shape: &Shape, at: &str) -> Result<Node, Findings> {
        let text = self.value.text.as_str();
        let is_text = matches!(shape, Shape::Text(_));
        let as_it_is = Node {
            span: Span::whole(&self.value),
            value: if is_text {
                Value::Text(text.to_owned())
            } else {
                Value::Null
            },
        };
        if text.is_empty() || is_text && !text.starts_with(['"', '\'']) {
            return Ok(as_it_is);
        }
        let mut findings = Findings::new();
        match parse(&self.value, &mut findings) {
            Some(node) if !findings.has_errors() => Ok(node),
            _ if is_text => Ok(as_it_is),
            _ => {
                let first = findings.iter().next().map(|finding| finding.message.as_str());
                Err(self.error(at, first.unwrap_or("is no YAML value")))
            }
        }
    }

    fn nothing(&self) -> Node {
        Node {
            span: self.start(),
            value: Value::Null,
        }
    }

    fn start(&self) -> Span {
        Span::start_of(&self.value)
    }

    fn finding(&self, at: &str, message: impl Into<String>) -> Finding {
        Finding::error(&self.start(), at, message)
    }

    fn error(&self, at: &str, message: &str) -> Findings {
        self.finding(at, message).into()
    }
}

/// Reads the parts of `segment`, what stands between two dots of a path: a name, and numbers in brackets behind it.
fn parts(segment: &str) -> Option<Vec<Part>> {
    let (name, mut rest) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
    if name.is_empty() {
        return None;
    }
    let mut parts = vec![Part::Key(name.to_owned())];
    while !rest.is_empty() {
        let (number, behind) = rest.strip_prefix('[')?.split_once(']')?;
        parts.push(Part::Index(number.parse().ok()?));
        rest = behind;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::to_yaml;

    fn applied(template: &str, given: &str) -> Result<String, String> {
        let mut root = parse(&Source::new("t.yml", template), &mut Findings::new()).unwrap();
        let mut findings = Findings::new();
        Override::parse("--set", given)?.apply(&mut root, &mut findings);
        match findings.is_empty() {
            true => Ok(to_yaml(&root).unwrap()),
            false => Err(findings.to_string()),
        }
    }

    #[test]
    fn a_value_has_the_type_of_its_field() {
        for (given, expected) in [
            ("image.version=1.10", "{image: {name: a, version: '1.10'}}"),
            ("image.version=\"1.10\"", "{image: {name: a, version: '1.10'}}"),
            ("image.name=a: b # c", "{image: {name: 'a: b # c'}}"),
            ("image.name='b", r#"{image: {name: "'b"}}"#),
            ("image.name=", "{image: {name: ''}}"),
            (
                "systemConfig.kernel.uki=true",
                "{image: {name: a}, systemConfig: {kernel: {uki: true}}}",
            ),
            (
                "systemConfig.packages=[curl, vim]",
                "{image: {name: a}, systemConfig: {packages: [curl, vim]}}",
            ),
            (
                "systemConfig.users[0].name=me",
                "{image: {name: a}, systemConfig: {users: [{name: me}]}}",
            ),
        ] {
            let expected = parse(&Source::new("x", expected), &mut Findings::new()).unwrap();
            let found = applied("image: {name: a}", given).unwrap();
            assert_eq!(found, to_yaml(&expected).unwrap(), "{given}");
        }
    }

    #[test]
    fn an_item_of_a_list_has_a_number() {
        let template = "systemConfig: {packages: [a, b]}";
        for (given, items) in [
            ("systemConfig.packages[1]=c", "- a\n  - c\n"),
            ("systemConfig.packages[2]=c", "- a\n  - b\n  - c\n"),
        ] {
            let expected = format!("systemConfig:\n  packages:\n  {items}");
            assert_eq!(applied(template, given), Ok(expected));
        }
        let wrong = applied(template, "systemConfig.packages[3]=c").unwrap_err();
        assert!(wrong.contains("the template itself has 2 items here"), "{wrong}");
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        for (given, expected) in [
            (
                "systemConfig.hostnam=x",
                "--set: error: systemConfig.hostnam: there is no such field",
            ),
            ("systemConfig.hostnam=x", "hint: did you mean \"hostname\"?"),
            ("systemConfig.packages.curl=x", "systemConfig.packages: is a list"),
            ("systemConfig[0]=x", "systemConfig: is no list"),
            ("image.name.first=x", "image.name: has one value, and no fields"),
            ("systemConfig.kernel.uki=[", "systemConfig.kernel.uki: this is not YAML"),
            ("secret", "not of the form FIELD=VALUE"),
            ("=secret", "\"\" is no path"),
            ("a..b=secret", "\"a..b\" is no path"),
            ("a[x]=secret", "\"a[x]\" is no path"),
            ("a[1=secret", "\"a[1\" is no path"),
        ] {
            let wrong = applied("image: {name: a}", given).unwrap_err();
            assert!(wrong.contains(expected), "{given}: {wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        }
        let deep = format!("{}=x", ["a"; PARTS_MAX + 1].join("."));
        assert!(applied("image: {name: a}", &deep).is_err());
    }
}
