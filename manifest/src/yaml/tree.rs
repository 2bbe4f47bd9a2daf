//! YAML as a tree in which every node knows its line, built from the parser's events one document at a time.
//!
//! Built here rather than by a ready-made loader for one reason: bounds. A loader copies what an alias names, so that
//! a page of text can ask for gigabytes; here depth, documents and everything that aliases repeat are counted first.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::yaml::problem::{Position, quoted};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Most documents in one file.
pub const MAX_DOCUMENTS: usize = 1_000;
/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;
/// Most that anchors and aliases may repeat in one file: bytes of text plus [`NODE_COST`] a node.
const MAX_REPEATED: usize = 1 << 20;
const NODE_COST: usize = 32;

/// One value and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
    cost: usize,
    height: usize,
}

/// YAML 1.2's core schema. Numbers keep their text; infinities and NaN stay text, since no field can mean them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(f64, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One line of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Position,
    pub(crate) key: String,
    pub(crate) value: Node,
    /// A comment to write after a plain value; none is read.
    pub(crate) note: Option<&'static str>,
}

/// Why a text is no YAML that is read here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Position,
    pub(crate) rule: String,
}

/// The documents of a file, in order; ends after the first error, past which nothing can be trusted.
pub(crate) struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    repeated: usize,
    count: usize,
    over: bool,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), repeated: 0, count: 0, over: false }
    }

    fn event(&mut self) -> Result<(Event<'a>, Position), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(span))),
            Some(Err(error)) => {
                let mark = *error.marker();
                let at = Position { line: mark.line(), column: mark.col() + 1 };
                Err(SyntaxError { at, rule: format!("is not YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, Position::default())),
        }
    }

    /// Everything up to the end of the document that has begun.
    fn document(&mut self) -> Result<Node, SyntaxError> {
        self.anchors.clear();
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (event, at) = self.event()?;
            let done = match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let value = scalar(&text, style, tag.as_deref()).map_err(|rule| SyntaxError { at, rule })?;
                    self.keep(Node::leaf(at, value), anchor)?
                }
                Event::Alias(anchor) => self.repeat(anchor, at, open.len())?,
                Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                    return Err(too_deep(at));
                }
                Event::SequenceStart(anchor, _) => {
                    open.push(Open { at, anchor, kind: Kind::List(Vec::new()) });
                    continue;
                }
                Event::MappingStart(anchor, _) => {
                    open.push(Open { at, anchor, kind: Kind::Map(Vec::new(), None) });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(closed) => {
                        let (anchor, node) = (closed.anchor, closed.into_node());
                        self.keep(node, anchor)?
                    }
                    None => return Err(SyntaxError { at, rule: "closes a list or map that was never opened".into() }),
                },
                Event::StreamEnd => return Err(SyntaxError { at, rule: "ends in the middle of a document".into() }),
                Event::DocumentEnd => return Ok(Node::leaf(at, Value::Null)),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            };
            match open.last_mut() {
                Some(parent) => parent.take(done)?,
                None => return Ok(done),
            }
        }
    }

    /// Remembers an anchored node; the copy counts against the same bound as an alias's.
    fn keep(&mut self, node: Node, anchor: usize) -> Result<Node, SyntaxError> {
        if anchor > 0 {
            self.spend(node.cost, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn repeat(&mut self, anchor: usize, at: Position, depth: usize) -> Result<Node, SyntaxError> {
        let Some((cost, height)) = self.anchors.get(&anchor).map(|node| (node.cost, node.height)) else {
            return Err(SyntaxError { at, rule: "is an alias inside its own anchor; write the value out".into() });
        };
        if depth + height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.spend(cost, at)?;
        Ok(self.anchors.get(&anchor).cloned().unwrap_or_else(|| Node::leaf(at, Value::Null)))
    }

    fn spend(&mut self, cost: usize, at: Position) -> Result<(), SyntaxError> {
        self.repeated = self.repeated.saturating_add(cost);
        if self.repeated > MAX_REPEATED {
            let rule = "repeats more than 1 MiB by anchors and aliases; write the values out".into();
            return Err(SyntaxError { at, rule });
        }
        Ok(())
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Node, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            let found = match self.event() {
                Ok((Event::StreamEnd, _)) => break,
                Ok((Event::DocumentStart(_), at)) if self.count >= MAX_DOCUMENTS => {
                    Err(SyntaxError { at, rule: format!("is one document too many; a file may hold {MAX_DOCUMENTS}") })
                }
                Ok((Event::DocumentStart(_), _)) => self.document(),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            self.count += 1;
            self.over = found.is_err();
            return Some(found);
        }
        self.over = true;
        None
    }
}

impl Node {
    fn leaf(at: Position, value: Value) -> Self {
        let bytes = if let Value::Text(text) | Value::Number(_, text) = &value { text.len() } else { 0 };
        Self { at, value, cost: NODE_COST + bytes, height: 0 }
    }

    /// A value that comes from no file.
    pub(crate) const fn made(value: Value) -> Self {
        Self { at: Position { line: 0, column: 0 }, value, cost: NODE_COST, height: 0 }
    }

    /// The value as a message shows it: `the text "ten"`.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Boolean(value) => value.to_string(),
            Value::Number(_, text) => format!("the number {text}"),
            Value::Text(text) => format!("the text {}", quoted(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }

    /// The value as it was written; empty for lists and maps, which a message only names.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::Number(_, text) => text.clone(),
            Value::Text(text) => quoted(text),
            Value::Boolean(value) => value.to_string(),
            Value::Null | Value::List(_) | Value::Map(_) => String::new(),
        }
    }
}

/// A list or map whose end has not been read.
struct Open {
    at: Position,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Position)>),
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), SyntaxError> {
        match &mut self.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries, key) => match key.take() {
                Some((name, at)) => entries.push(Entry { at, key: name, value: node, note: None }),
                None => *key = Some(key_of(node)?),
            },
        }
        Ok(())
    }

    fn into_node(self) -> Node {
        let (value, cost, height) = match self.kind {
            Kind::List(items) => {
                let cost = items.iter().map(|item| item.cost).sum();
                let height = items.iter().map(|item| item.height).max();
                (Value::List(items), cost, height)
            }
            Kind::Map(entries, _) => {
                let cost = entries.iter().map(|entry| entry.value.cost + entry.key.len()).sum();
                let height = entries.iter().map(|entry| entry.value.height).max();
                (Value::Map(entries), cost, height)
            }
        };
        let cost: usize = cost;
        Node { at: self.at, value, cost: cost.saturating_add(NODE_COST), height: height.unwrap_or(0) + 1 }
    }
}

fn key_of(node: Node) -> Result<(String, Position), SyntaxError> {
    let at = node.at;
    match node.value {
        Value::Text(text) if text == "<<" => Err(SyntaxError {
            at,
            rule: "is YAML 1.1's merge key, which is not supported; write the fields out".into(),
        }),
        Value::Text(text) | Value::Number(_, text) => Ok((text, at)),
        Value::Boolean(value) => Ok((value.to_string(), at)),
        Value::Null | Value::List(_) | Value::Map(_) => {
            Err(SyntaxError { at, rule: "is not a valid field name; a field name is a text".into() })
        }
    }
}

/// Whether a text without quotes is read as a text.
pub(crate) fn is_plain_text(text: &str) -> bool {
    matches!(scalar(text, ScalarStyle::Plain, None), Ok(Value::Text(_)))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Value::Text(text.into())),
        Some(tag) if !tag.is_yaml_core_schema() => {
            return Err(format!("has the tag {}, which is not understood; remove it", quoted(&tag.to_string())));
        }
        _ if style != ScalarStyle::Plain => return Ok(Value::Text(text.into())),
        _ => {}
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        _ => number(text).map_or_else(|| Value::Text(text.into()), |value| Value::Number(value, text.into())),
    })
}

fn number(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().map(f64::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    let value = if plain { text.parse::<f64>().ok() } else { None };
    value.filter(|value| value.is_finite())
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn too_deep(at: Position) -> SyntaxError {
    SyntaxError { at, rule: format!("is nested too deeply; at most {MAX_DEPTH} lists and maps may enclose a value") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        Documents::new(text)
            .filter_map(Result::err)
            .map(|error| format!("{}:{} {}\n", error.at.line, error.at.column, error.rule))
            .collect()
    }

    #[test]
    fn values_follow_the_core_schema_and_know_their_place() {
        let text = "a: 10\nb: [ten, '10', 0x10, 1e3, .nan, yes]\nc:\n  d: true\n  e: ~\n";
        let root = Documents::new(text).next().unwrap().unwrap();
        let Value::Map(entries) = root.value else { panic!("a map") };
        let shown: Vec<_> = entries
            .iter()
            .map(|entry| format!("{}:{} {}", entry.at.line, entry.at.column, entry.value.described()))
            .collect();
        assert_eq!(shown, ["1:1 the number 10", "2:1 a list", "3:1 a map"]);
        let Value::List(items) = &entries[1].value.value else { panic!("a list") };
        let shown: Vec<_> = items.iter().map(Node::described).collect();
        assert_eq!(
            shown,
            [
                "the text \"ten\"",
                "the text \"10\"",
                "the number 0x10",
                "the number 1e3",
                "the text \".nan\"",
                "the text \"yes\""
            ]
        );
        assert_eq!(items[3].at, Position { line: 2, column: 22 });
    }

    #[test]
    fn aliases_repeat_a_bounded_amount() {
        let good = "a: &x {k: v}\nb: *x\n";
        assert_eq!(errors(good), "");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            bomb.push_str(&format!("a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(", ")));
        }
        assert!(errors(&bomb).contains("repeats more than 1 MiB"), "{}", errors(&bomb));
        assert!(errors("a: &a [*a]\n").contains("inside its own anchor"));
        let mut ladder = String::from("a0: &a0 [x]\n");
        (1..200).for_each(|n| ladder.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1)));
        assert!(errors(&ladder).contains("nested too deeply"));
    }

    #[test]
    fn depth_documents_tags_and_keys_are_bounded() {
        assert!(errors(&"[".repeat(100)).contains("nested too deeply"));
        assert!(errors(&"---\na: 1\n".repeat(1001)).contains("one document too many"));
        assert!(errors("a: !secret x\n").contains("tag"));
        assert!(errors("[1]: x\n").contains("valid field name"));
        assert!(errors("a: &x {b: 1}\nc:\n  <<: *x\n").contains("merge key"));
        assert!(errors("a: [1, 2\nb: 3\n").contains("is not YAML"));
    }
}
