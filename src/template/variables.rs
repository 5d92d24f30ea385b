//! Variables: `${name}` in the texts of a template.
//!
//! - In every text but the commands, `${name}` is replaced; one that is not set is an error.
//!   `$${` stands for a literal `${`. Any other `$` is just that (password hashes have some).
//! - In `configurations[].cmd`, which the image's shell reads, only names that are set are
//!   replaced: `${HOME}` of an older template stays the shell's. `$${name}` keeps a name that
//!   is set from being replaced.
//! - In `secureBoot…` paths a name that is not set stays as it is, because older templates
//!   have such placeholders there; building refuses it.
//! - The content of a file is left alone unless its entry says `template: true`.
//!
//! Keys are left alone, and values are texts: `"${n}"` is never a number.

use std::collections::BTreeMap;

use super::schema::{SECURE_BOOT, additional_file, configuration};
use crate::package::Arch;
use crate::yaml::{Finding, Findings, Node, Place, Source, Value, did_you_mean, parse, read_source};

/// Variables by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

// A variable may hold a password.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The treatment of `${name}` in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A name that is not set is an error.
    Strict,
    /// A name that is not set stays, and so does all else.
    Lenient,
}

impl Variables {
    /// Starts without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one; an earlier value of the name is lost.
    ///
    /// # Errors
    /// If `name` is no name: letters, digits and `_`, no digit first.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!(
                "{name:?} is no name of a variable: letters, digits and _, no digit first"
            ));
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Sets one from `NAME=VALUE`.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), String> {
        match pair.split_once('=') {
            Some((name, value)) => self.set(name, value),
            None => Err(format!("{pair:?} is not of the form NAME=VALUE")),
        }
    }

    /// Sets those of a YAML file, a map of names to texts, numbers or truth values.
    ///
    /// # Errors
    /// The findings in the file.
    pub fn read(&mut self, path: &std::path::Path) -> Result<(), Findings> {
        let mut findings = Findings::new();
        let source = read_source(path)?;
        if let Some(root) = parse(&source, &mut findings) {
            self.take(&root, &source, &mut findings);
        }
        findings.into_result().map(drop)
    }

    fn take(&mut self, root: &Node, source: &Source, findings: &mut Findings) {
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("expected a map of variables, found {}", root.kind());
            findings.push(Finding::without_position(&source.name, "", message));
        }
        for (key, node) in root.entries() {
            let value = match &node.value {
                Value::Text(text) => text.clone(),
                // As it is written: 1.10 stays 1.10.
                Value::Int(_) | Value::Float(_) | Value::Bool(_) => node.span.text().to_owned(),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let message = format!("expected a text, found {}", node.kind());
                    findings.push(Finding::error(&key.span, &key.text, message));
                    continue;
                }
            };
            if let Err(reason) = self.set(&key.text, &value) {
                findings.push(Finding::error(&key.span, &key.text, reason));
            }
        }
    }

    /// Gives the variables that the default templates of an architecture use.
    pub(super) fn of_arch(arch: Arch) -> Self {
        let console = match arch {
            Arch::X86_64 => "ttyS0",
            _ => "ttyAMA0",
        };
        let pairs = [("arch", arch.as_str()), ("deb_arch", arch.deb()), ("console", console)];
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    /// Puts the values into `root`; places stay. Names that are not set go to `findings`.
    pub(super) fn substitute(&self, root: &mut Node, findings: &mut Findings) {
        walk(root, "", &mut |node, path, rule| {
            let Value::Text(text) = &node.value else { return };
            if !text.contains("${") {
                return;
            }
            let replaced = self.replaced(text, rule, &mut |name| {
                findings.push(self.unset(name, node, path));
            });
            // The schema refuses a text that is too long to be sensible.
            node.value = Value::Text(replaced);
        });
    }

    /// Puts the values into the text of a file that the place `at` names. Names that are not set go to `findings`.
    pub(super) fn fill(&self, text: &str, at: &Place<'_>, findings: &mut Findings) -> String {
        self.replaced(text, Rule::Strict, &mut |name| {
            findings.push(self.unset(name, at.node, &at.path));
        })
    }

    fn unset(&self, name: &str, node: &Node, path: &str) -> Finding {
        let finding = Finding::error(&node.span, path, format!("the variable {name:?} is not set"));
        // Any name is near a name of one letter.
        let near = did_you_mean(name, self.0.keys().map(String::as_str)).filter(|_| name.len() > 2);
        match near {
            Some(near) => finding.hint(format!("did you mean {near:?}?")),
            None => finding.hint(format!(
                "give it a value: {name}=VALUE on the command line, a line in a file of variables, or OIC_VAR_{name} in the environment; \
                 a literal ${{ is written $${{"
            )),
        }
    }

    fn replaced(&self, text: &str, rule: Rule, unset: &mut dyn FnMut(&str)) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            let after = reference.get(2..).unwrap_or_default();
            let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let value = name.and_then(|name| self.0.get(name));
            let escaped = before.strip_suffix('$');
            match (escaped, name, value) {
                (Some(before), _, _) if rule == Rule::Strict || value.is_some() => {
                    result.push_str(before);
                    result.push_str("${");
                    rest = after;
                    continue;
                }
                (_, Some(name), Some(value)) => {
                    result.push_str(before);
                    result.push_str(value);
                    rest = after.get(name.len() + 1..).unwrap_or_default();
                    continue;
                }
                (_, Some(name), None) if rule == Rule::Strict => unset(name),
                _ => {}
            }
            result.push_str(before);
            result.push_str("${");
            rest = after;
        }
        result + rest
    }

    /// Escapes texts that [`Self::substitute`] would change: its inverse.
    pub(super) fn escape(&self, root: &Node) -> Node {
        let mut root = root.clone();
        walk(&mut root, "", &mut |node, _, rule| {
            let Value::Text(text) = &node.value else { return };
            if text.contains("${") {
                node.value = Value::Text(self.escaped(text, rule));
            }
        });
        root
    }

    fn escaped(&self, text: &str, rule: Rule) -> String {
        if rule == Rule::Strict {
            return text.replace("${", "$${");
        }
        let mut text = text.to_owned();
        for name in self.0.keys() {
            let reference = format!("${{{name}}}");
            text = text.replace(&reference, &format!("${reference}"));
        }
        text
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.bytes();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == b'_')
        && name.len() <= 128
}

/// Visits every text with its path and the rule for it.
fn walk(node: &mut Node, path: &str, visit: &mut dyn FnMut(&mut Node, &str, Rule)) {
    match &mut node.value {
        Value::Map(entries) => {
            let mut all = entries.iter();
            let is_template =
                all.any(|(key, node)| key.text == additional_file::TEMPLATE.name && node.bool() == Some(true));
            for (key, child) in entries {
                // No other fields of a template have this name.
                if key.text == additional_file::CONTENT.name && !is_template {
                    continue;
                }
                let path = if path.is_empty() {
                    key.text.clone()
                } else {
                    format!("{path}.{}", key.text)
                };
                walk(child, &path, visit);
            }
        }
        Value::List(items) => {
            for (index, child) in items.iter_mut().enumerate() {
                walk(child, &format!("{path}[{index}]"), visit);
            }
        }
        Value::Text(_) => {
            let key = path.rsplit('.').next().unwrap_or_default();
            // No other fields of a template have these names.
            let lenient = key == configuration::CMD.name || SECURE_BOOT.iter().any(|field| field.name == key);
            visit(node, path, if lenient { Rule::Lenient } else { Rule::Strict });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::to_yaml;

    fn variables() -> Variables {
        let mut variables = Variables::new();
        for pair in ["name=world", "empty=", "_x1=a=b", "HOME=/set"] {
            variables.set_pair(pair).unwrap();
        }
        variables
    }

    fn substituted(text: &str) -> (String, Vec<String>) {
        let mut findings = Findings::new();
        let mut root = parse(&Source::new("t", text), &mut findings).unwrap();
        variables().substitute(&mut root, &mut findings);
        let told = findings
            .iter()
            .map(|f| format!("{}:{} {}: {}", f.line, f.column, f.field, f.message));
        let told: Vec<_> = told.collect();
        // The next substitution takes what was put in for text, not for a reference.
        let again = variables().escape(&root);
        let printed = to_yaml(&again).unwrap();
        let mut reread = parse(&Source::new("again", printed), &mut Findings::new()).unwrap();
        if told.is_empty() {
            variables().substitute(&mut reread, &mut Findings::new());
            assert_eq!(to_yaml(&reread).unwrap(), to_yaml(&root).unwrap());
        }
        (to_yaml(&root).unwrap(), told)
    }

    #[test]
    fn texts_are_substituted_in_place() {
        for (text, expected) in [
            ("a: 'hello ${name}${empty}!'", "a: hello world!\n"),
            ("a: ['${_x1}', 7, true]", "a:\n- a=b\n- 7\n- true\n"),
            ("a: $6$salt$hash", "a: $6$salt$hash\n"),
            ("a: '$${name} $$ $'", "a: ${name} $$ $\n"),
            ("a: '${not a name} ${'", "a: ${not a name} ${\n"),
        ] {
            assert_eq!(substituted(text), (expected.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn an_unset_variable_is_found_where_it_stands() {
        let (_, told) = substituted("a:\n  - b: 'x ${nam}'");
        assert_eq!(told, ["2:8 a[0].b: the variable \"nam\" is not set"]);
    }

    #[test]
    fn the_shells_variables_stay_unless_they_are_set() {
        let cmd = |cmd: &str| substituted(&format!("systemConfig: {{configurations: [{{cmd: '{cmd}'}}]}}"));
        let shown = |cmd: &str| format!("systemConfig:\n  configurations:\n  - cmd: {cmd}\n");
        for (text, expected) in [
            ("echo ${PATH} $${PATH} ${x:-y} $$", "echo ${PATH} $${PATH} ${x:-y} $$"),
            ("echo ${name} ${HOME} $${name}", "echo world /set ${name}"),
        ] {
            assert_eq!(cmd(text), (shown(expected), vec![]), "{text}");
        }
        let keys = "systemConfig: {immutability: {secureBootDBKey: '${DIR}/${name}.key'}}";
        let expected = "systemConfig:\n  immutability:\n    secureBootDBKey: ${DIR}/world.key\n";
        assert_eq!(substituted(keys), (expected.to_owned(), vec![]));
    }

    #[test]
    fn the_content_of_a_file_is_a_template_if_it_says_so() {
        let file = |more: &str| {
            let text = format!("systemConfig: {{additionalFiles: [{{content: '${{name}} $${{nam}}'{more}}}]}}");
            let (shown, told) = substituted(&text);
            assert_eq!(told, Vec::<String>::new());
            shown.lines().nth(2).unwrap().to_owned()
        };
        assert_eq!(file(""), "  - content: ${name} $${nam}");
        assert_eq!(file(", template: false"), "  - content: ${name} $${nam}");
        assert_eq!(file(", template: true"), "  - content: world ${nam}");
    }

    #[test]
    fn a_file_of_variables_is_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.yml");
        std::fs::write(&path, "a: 1.10\nb: true\nc: 'x: y'\n").unwrap();
        let mut variables = Variables::new();
        variables.read(&path).unwrap();
        let values: Vec<_> = variables.0.values().map(String::as_str).collect();
        assert_eq!(values, ["1.10", "true", "x: y"]);
        std::fs::write(&path, "1a: x\nb: [x]\n").unwrap();
        let findings = variables.read(&path).unwrap_err();
        assert_eq!(findings.errors(), 2, "{findings}");
    }
}
