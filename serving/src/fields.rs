//! The fields of a JSON object, each read with an error that names field, value and rule.

use std::fmt;

use axum::http::StatusCode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use crate::http_error::{HttpError, did_you_mean};

/// Longest piece of a value or body that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// The fields of a body that have not been taken yet.
#[derive(Clone, Debug)]
pub struct Fields {
    fields: Vec<(String, Value)>,
    example: &'static str,
}

impl Fields {
    /// Reads a JSON object; `example` is shown where the body is none.
    ///
    /// # Errors
    /// When it is not JSON (400), not an object, or names a field twice (422).
    pub fn parse(body: &[u8], example: &'static str) -> Result<Self, HttpError> {
        if body.trim_ascii().is_empty() {
            return Err(HttpError::invalid(format!("the body is empty; send a JSON object such as {example}")));
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| unparsable(body, &error, example))?;
        if !value.is_object() {
            let sent = shown(&value);
            let rule = format!("the body is {sent}; it must be a JSON object such as {example}");
            return Err(HttpError::unprocessable(rule));
        }
        // A second time, because a map would keep the last of two fields of the same name and say nothing.
        let Entries(fields) = serde_json::from_slice(body).map_err(|error| unparsable(body, &error, example))?;
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields.iter().take(at).any(|(other, _)| other == name) {
                let name = short(name);
                return Err(HttpError::unprocessable(format!("field {name} is sent twice; send it once")));
            }
        }
        Ok(Self { fields, example })
    }

    /// Refuses every other field.
    ///
    /// # Errors
    /// When there is one (422).
    pub fn allow_only(&self, known: &[&str]) -> Result<(), HttpError> {
        let Some((name, _)) = self.fields.iter().find(|(name, _)| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let (fields, near) = (known.join(", "), did_you_mean(name, known));
        let name = short(name);
        Err(HttpError::unprocessable(format!("field {name} is unknown here; the fields are {fields}{near}")))
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// When it is missing or not a string (422).
    pub fn text(&mut self, name: &str) -> Result<String, HttpError> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            Some(value) => Err(wrong(name, &value, "a string")),
            None => {
                let example = self.example;
                Err(HttpError::unprocessable(format!(
                    "field {name} is missing; it must be a string, for example {example}"
                )))
            }
        }
    }

    /// A string, or nothing.
    ///
    /// # Errors
    /// When it is something else (422).
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, HttpError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(wrong(name, &value, "a string")),
        }
    }

    /// True or false; false without it.
    ///
    /// # Errors
    /// When it is something else (422).
    pub fn flag(&mut self, name: &str) -> Result<bool, HttpError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(value) => Err(wrong(name, &value, "true or false")),
        }
    }

    /// A number, or nothing.
    ///
    /// # Errors
    /// When it is something else (422).
    pub fn number(&mut self, name: &str) -> Result<Option<f64>, HttpError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(name, &value, "a number")),
        }
    }

    /// A whole number that is not negative, or nothing.
    ///
    /// # Errors
    /// When it is something else (422).
    pub fn whole(&mut self, name: &str) -> Result<Option<u64>, HttpError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, &value, "a whole number, not negative")),
        }
    }

    /// An object of strings, or nothing.
    ///
    /// # Errors
    /// When it is something else (422).
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<(String, String)>>, HttpError> {
        let object = match self.take(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(object)) => object,
            Some(value) => return Err(wrong(name, &value, "an object of strings")),
        };
        let text = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            value => Err(wrong(&format!("{name}.{}", short(&key)), &value, "a string: put it in quotes")),
        };
        object.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(at).1)
    }
}

/// An object's fields in their order, those of the same name too.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn wrong(name: &str, value: &Value, rule: &str) -> HttpError {
    HttpError::unprocessable(format!("field {name} is {}; it must be {rule}", shown(value)))
}

/// A value and what it is, as `2 (a number)`.
fn shown(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".into(),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("{} ({kind})", short(&value.to_string()))
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// The parser knows where and of which sort an error is; its words are not for users.
fn unparsable(body: &[u8], error: &serde_json::Error, example: &str) -> HttpError {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Eof => format!("it ends at line {line}, column {column}, before the object is closed"),
        Category::Syntax | Category::Data | Category::Io => {
            format!("line {line}, column {column} breaks its syntax{}", around(body, line, column))
        }
    };
    HttpError::new(
        StatusCode::BAD_REQUEST,
        format!("the body is not valid JSON: {what}; send a JSON object such as {example}"),
    )
}

/// What stands before and after an error.
fn around(body: &[u8], line: usize, column: usize) -> String {
    let Some(text) = body.split(|byte| *byte == b'\n').nth(line.saturating_sub(1)) else { return String::new() };
    let start = column.saturating_sub(MAX_SHOWN_CHARS / 3);
    let piece: Vec<u8> = text.iter().skip(start).take(MAX_SHOWN_CHARS / 2).copied().collect();
    let piece = short(&String::from_utf8_lossy(&piece));
    if piece.is_empty() { String::new() } else { format!(", near `{piece}`") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails so")]
    use super::*;

    const EXAMPLE: &str = r#"{"actor": "ann"}"#;

    fn parse(body: &str) -> Result<Fields, HttpError> {
        Fields::parse(body.as_bytes(), EXAMPLE)
    }

    #[test]
    fn a_body_that_is_no_object_is_described_without_the_parsers_words() {
        for (body, status, words) in [
            ("", 400, "the body is empty"),
            (" \n", 400, "the body is empty"),
            ("{", 400, "it ends at line 1, column 1"),
            ("{\"actor\": ann}", 400, "line 1, column 11 breaks its syntax, near `{\"actor\": ann}`"),
            ("actor=ann", 400, "line 1, column 1 breaks its syntax, near `actor=ann`"),
            ("{\"actor\": \"a\u{0}\"}", 400, "breaks its syntax"),
            ("{} {}", 400, "line 1, column 4"),
            ("7", 422, "the body is 7 (a number)"),
            ("null", 422, "the body is null"),
            ("[1]", 422, "the body is [1] (a list)"),
            (r#"{"a": 1, "a": 2}"#, 422, "field a is sent twice"),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.status().as_u16(), status, "{body}: {error:?}");
            assert!(error.error().contains(words), "{words:?} is not in {:?}", error.error());
            for word in ["expected", "EOF", "trailing", "invalid type", "control character"] {
                assert!(!error.error().contains(word), "{error:?}");
            }
        }
    }

    #[test]
    fn a_field_of_the_wrong_type_is_shown_with_its_rule() {
        let mut fields = parse(r#"{"a": 2, "b": "x", "c": null, "d": -1, "e": {"k": true}, "f": 1.5}"#).unwrap();
        assert_eq!(fields.text("a").unwrap_err().error(), "field a is 2 (a number); it must be a string");
        assert!(fields.number("b").unwrap_err().error().contains("\"x\" (a string); it must be a number"));
        assert_eq!(fields.optional_text("c"), Ok(None));
        assert!(fields.whole("d").unwrap_err().error().contains("-1 (a number); it must be a whole number"));
        assert!(fields.texts("e").unwrap_err().error().contains("field e.k is true (a boolean)"));
        assert_eq!(fields.number("f"), Ok(Some(1.5)));
        assert!(fields.text("f").unwrap_err().error().contains("field f is missing"));
        let long = parse(&format!(r#"{{"a": [{}0]}}"#, "0,".repeat(500))).unwrap().text("a").unwrap_err();
        assert!(long.error().chars().count() < 200 && long.error().contains('…'), "{long:?}");
    }

    #[test]
    fn unknown_fields_are_named_with_those_that_there_are() {
        let error = parse(r#"{"actr": "ann"}"#).unwrap().allow_only(&["actor", "reason"]).unwrap_err();
        assert_eq!(error.error(), "field actr is unknown here; the fields are actor, reason; did you mean actor?");
    }
}
