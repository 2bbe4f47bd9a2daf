//! A document's tree as YAML text: block style, strings quoted only where they must be. Read again it is the same tree.

use crate::yaml::tree::{Entry, Node, Value, is_plain_text};

/// One document, ending in a line end.
pub(crate) fn emit(node: &Node) -> String {
    let mut text = String::new();
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => map(entries, 0, &mut text),
        Value::List(items) if !items.is_empty() => list(items, 0, &mut text),
        value => {
            text.push_str(&scalar(value, 0));
            text.push('\n');
        }
    }
    text
}

fn map(entries: &[Entry], indent: usize, text: &mut String) {
    for (n, Entry { key, value, note, .. }) in entries.iter().enumerate() {
        // The first line of a list's item follows its dash.
        if n > 0 || !text.ends_with("- ") {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(&key_of(key));
        text.push(':');
        match &value.value {
            Value::Map(entries) if !entries.is_empty() => {
                text.push('\n');
                map(entries, indent + 2, text);
            }
            Value::List(items) if !items.is_empty() => {
                text.push('\n');
                list(items, indent + 2, text);
            }
            value => {
                text.push(' ');
                text.push_str(&scalar(value, indent + 2));
                if let Some(note) = note {
                    text.push_str("  # ");
                    text.push_str(note);
                }
                text.push('\n');
            }
        }
    }
}

fn list(items: &[Node], indent: usize, text: &mut String) {
    for item in items {
        text.push_str(&" ".repeat(indent));
        text.push_str("- ");
        match &item.value {
            Value::Map(entries) if !entries.is_empty() => map(entries, indent + 2, text),
            Value::List(items) if !items.is_empty() => {
                // A list in a list begins on a line of its own.
                text.truncate(text.len() - 1);
                text.push('\n');
                list(items, indent + 2, text);
            }
            value => {
                text.push_str(&scalar(value, indent + 2));
                text.push('\n');
            }
        }
    }
}

fn key_of(key: &str) -> String {
    if is_bare(key) && is_plain_text(key) { key.to_owned() } else { quoted(key) }
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(_, text) => text.clone(),
        Value::Text(text) if is_bare(text) && is_plain_text(text) => text.clone(),
        Value::Text(text) => literal(text, indent).unwrap_or_else(|| quoted(text)),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// Whether it needs no quotes: nothing in it has a meaning of its own, in any place.
fn is_bare(text: &str) -> bool {
    let is_inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '=' | '+' | '(' | ')' | '$' | ';');
    let mut chars = text.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '('));
    let is_colon = |text: &str| text.split(':').skip(1).all(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
    begins
        && text.chars().all(|c| is_inner(c) || matches!(c, ' ' | ':'))
        && !text.ends_with([' ', ':'])
        && is_colon(text)
}

/// Several lines as a block that keeps them, if it can.
fn literal(text: &str, indent: usize) -> Option<String> {
    let is_kept = |line: &str| !line.ends_with([' ', '\t']) && line.chars().all(|c| c == '\t' || !c.is_control());
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_block = text.contains('\n')
        && !body.is_empty()
        && !body.starts_with([' ', '\t', '\n'])
        && !body.ends_with('\n')
        && !text.contains(['\u{feff}', '\u{85}', '\u{2028}', '\u{2029}'])
        && body.split('\n').all(is_kept);
    if !is_block {
        return None;
    }
    let sign = if text.ends_with('\n') { "|" } else { "|-" };
    let lines = body
        .split('\n')
        .map(|line| if line.is_empty() { String::from("\n") } else { format!("\n{}{line}", " ".repeat(indent)) });
    Some(std::iter::once(sign.to_owned()).chain(lines).collect())
}

/// In double quotes, everything unusual escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if (' '..='~').contains(&c) => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::tree::Documents;

    /// Without places, which move.
    fn shape(node: &Node) -> String {
        match &node.value {
            Value::List(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| format!("{:?}:{}", entry.key, shape(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
            value => format!("{value:?}"),
        }
    }

    fn node(value: Value) -> Node {
        Node::made(value)
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let text = prop_oneof![
            "[a-z0-9 :#'\"{}\\[\\]&*!|>%@`,?~.-]{0,12}",
            "\\PC{0,8}",
            "[ a\n\t]{0,8}",
            Just("true".to_owned()),
            Just("null".to_owned()),
            Just("1e3".to_owned()),
            Just("0x1F".to_owned()),
            Just("- a".to_owned()),
            Just("<<".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i32>().prop_map(|n| Value::Number(f64::from(n), n.to_string())),
            text.clone().prop_map(Value::Text),
        ];
        leaf.prop_map(node).prop_recursive(4, 32, 4, move |inner| {
            let entry = (text.clone().prop_filter("merge", |key| key != "<<"), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| node(Value::List(items))),
                prop::collection::vec(entry, 0..4).prop_map(|entries| {
                    let entry = |(key, value)| Entry { at: Default::default(), key, value, note: None };
                    node(Value::Map(entries.into_iter().map(entry).collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(node in any_node()) {
            let text = emit(&node);
            let read = Documents::new(&text).next();
            let read = read.map(|read| read.map_err(|error| format!("{error:?} in\n{text}")));
            match read {
                Some(Ok(read)) => prop_assert_eq!(shape(&read), shape(&node), "{}", text),
                Some(Err(error)) => prop_assert!(false, "{}", error),
                None => prop_assert_eq!(&node.value, &Value::Null, "{}", text),
            }
        }
    }
}
