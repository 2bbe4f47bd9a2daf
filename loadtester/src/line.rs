//! A command line into words, as a shell would split it; what only a shell could carry out is found and named.

use thiserror::Error;

/// A command line that cannot be run without a shell, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum LineError {
    /// Nothing but white space.
    #[error("metadata.cmd is empty: write the program and its arguments, such as `hey -z 1m http://web.test/`")]
    Empty,
    /// No argument has any.
    #[error("metadata.cmd contains the control character {0:?}")]
    Control(char),
    /// Where it was meant to end is unknown.
    #[error("metadata.cmd has a quote that is never closed")]
    Unclosed,
    /// Passed on as an argument, it would not do what its writer meant.
    #[error("metadata.cmd needs a shell for {what} at character {at}")]
    Shell {
        /// The characters that mean something.
        what: String,
        /// Where, counted from 1.
        at: usize,
    },
}

/// The words of `line`.
///
/// Patterns (`*`, `?`, `[`) stay as they are, as in a shell where they match no file: they are common in URLs.
pub(crate) fn split(line: &str) -> Result<Vec<String>, LineError> {
    let line = line.trim();
    if let Some(control) = line.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(LineError::Control(control));
    }
    // A quote that is never closed comes first: until it is, it is unknown what is quoted.
    let words = shell_words::split(line).map_err(|_| LineError::Unclosed)?;
    if let Some((what, at)) = find_shell_syntax(line) {
        return Err(LineError::Shell { what, at });
    }
    if words.is_empty() { Err(LineError::Empty) } else { Ok(words) }
}

/// What is open at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// The first characters that mean something to a shell and are not quoted, and where, counted from 1.
fn find_shell_syntax(line: &str) -> Option<(String, usize)> {
    let chars: Vec<char> = line.chars().collect();
    let mut quote = Quote::None;
    let mut is_word_start = true;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or_default();
        match (quote, c) {
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::Single, _) => {}
            // The escaped character means nothing. An escaped line break is not even there.
            (_, '\\') => {
                is_word_start &= rest.get(1) == Some(&'\n');
                at += 2;
                continue;
            }
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (_, '`' | '$') => {
                if let Some(what) = expansion(rest) {
                    return Some((what, at + 1));
                }
            }
            (Quote::None, '\n') => return Some(("a line break".into(), at + 1)),
            (Quote::None, '|' | '&' | ';' | '<' | '>' | '(' | ')') => {
                let operator = rest.iter().take_while(|c| matches!(c, '|' | '&' | ';' | '<' | '>' | '(' | ')'));
                return Some((format!("`{}`", operator.take(2).collect::<String>()), at + 1));
            }
            (Quote::None, '#' | '~') if is_word_start => return Some((format!("`{c}`"), at + 1)),
            _ => {}
        }
        is_word_start = quote == Quote::None && matches!(c, ' ' | '\t');
        at += 1;
    }
    None
}

/// A command or variable that a shell would put in place of what `rest` begins with.
fn expansion(rest: &[char]) -> Option<String> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    match rest {
        ['`', ..] => Some("a back quote".into()),
        ['$', c, ..] if is_name(c) => {
            let name = rest.iter().skip(1).take_while(|c| is_name(c)).take(32);
            Some(format!("`${}`", name.collect::<String>()))
        }
        ['$', c @ ('(' | '{' | '?' | '$' | '!' | '#' | '@' | '*' | '-'), ..] => Some(format!("`${c}`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_a_shells() {
        for (line, words) in [
            ("hey -z 1m  -q 10\thttp://web.test/", &["hey", "-z", "1m", "-q", "10", "http://web.test/"][..]),
            ("  hey http://web.test/?a=1\n", &["hey", "http://web.test/?a=1"]),
            ("hey -H 'X-A: a b' \"http://web.test/?a=1&b=2\"", &["hey", "-H", "X-A: a b", "http://web.test/?a=1&b=2"]),
            ("hey -z 1m \\\n  -q 10 \\\n  http://x/", &["hey", "-z", "1m", "-q", "10", "http://x/"]),
            (r"hey http://x/?a=1\&b=2 -d 'a|b;c>d$(e)`f`'", &["hey", "http://x/?a=1&b=2", "-d", "a|b;c>d$(e)`f`"]),
            (r#"hey -d "{\"a\": \"\$5\"}""#, &["hey", "-d", r#"{"a": "$5"}"#]),
            (r"hey -d '' a''b it\'s x#y a~ 5$ $", &["hey", "-d", "", "ab", "it's", "x#y", "a~", "5$", "$"]),
            ("hey 'two\nlines' ü", &["hey", "two\nlines", "ü"]),
        ] {
            assert_eq!(split(line).as_deref(), Ok(&words.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
        }
    }

    #[test]
    fn what_a_shell_would_do_is_named() {
        for (line, what, at) in [
            ("hey http://x/ | tee y", "`|`", 15),
            ("hey http://x/; rm -r z", "`;`", 14),
            ("hey http://x/ && true", "`&&`", 15),
            ("hey http://x/?a=1&b=2", "`&`", 18),
            ("hey http://x/ > out", "`>`", 15),
            ("hey http://x/ 2>&1", "`>&`", 16),
            ("hey < in", "`<`", 5),
            ("hey $(cat url)", "`$(`", 5),
            ("hey \"$(cat url)\"", "`$(`", 6),
            ("hey \"$URL/x\"", "`$URL`", 6),
            ("hey ${URL}", "`${`", 5),
            ("hey `cat url`", "a back quote", 5),
            ("hey \"a\" 'b' \"`c`\"", "a back quote", 14),
            ("(hey x)", "`(`", 1),
            ("hey x # a note", "`#`", 7),
            ("hey -D ~/body", "`~`", 8),
            ("hey a\nhey b", "a line break", 6),
            ("hey \\\n#x", "`#`", 7),
        ] {
            assert_eq!(split(line), Err(LineError::Shell { what: what.into(), at }), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (line, error) in [
            (" \n", LineError::Empty),
            ("hey 'x", LineError::Unclosed),
            ("hey \"x; y", LineError::Unclosed),
            ("hey \0", LineError::Control('\0')),
            ("hey \u{1b}[31m", LineError::Control('\u{1b}')),
        ] {
            assert_eq!(split(line), Err(error), "{line:?}");
        }
    }
}
