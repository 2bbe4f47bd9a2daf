//! Words for people: strings made safe for a terminal, and times, shares and counts as one reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Longest text of another program that is repeated in a message, in characters.
const MAX_QUOTED_CHARS: usize = 2000;

/// A text with every character escaped that could move a cursor, start an escape sequence or turn the reading order.
pub(crate) fn clean(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' => "\\n".to_owned(),
        c if is_unsafe(c) => c.escape_unicode().to_string(),
        c => c.into(),
    };
    text.chars().map(escape).collect()
}

/// As [`clean`], shortened to what a message can bear.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.trim().chars().take(MAX_QUOTED_CHARS).collect();
    clean(&short)
}

/// Every string in a JSON value cleaned, keys too.
pub(crate) fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => clean(&text).into(),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (clean(&key), clean_value(value)));
            fields.collect()
        }
        plain => plain,
    }
}

/// JSON text in which no character can act on a terminal; it still reads as the same value.
pub(crate) fn clean_json(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if is_unsafe(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.into(),
    };
    text.chars().map(escape).collect()
}

fn is_unsafe(c: char) -> bool {
    // Line and paragraph separators, and the marks that turn the reading order, so that text shows as what it is not.
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// A span in its two greatest units: `4.2s` looks like `4s`, `1h 3m`.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{}ms", span.subsec_millis()),
        s @ 1..60 => format!("{s}s"),
        s @ 60..3600 => two(s / 60, "m", s % 60, "s"),
        s @ 3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        s => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

fn two(great: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{great}{unit}") } else { format!("{great}{unit}{small}{small_unit}") }
}

/// As [`span`], of milliseconds.
pub(crate) fn span_of(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

/// How long ago something was, given Unix times in milliseconds.
pub(crate) fn ago(at_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(at_ms) {
        0..1000 => "now".into(),
        ms => format!("{} ago", span_of(ms)),
    }
}

/// A Unix time in milliseconds as date and time, UTC.
pub(crate) fn utc(at_ms: u64) -> String {
    /// The last second that the format has digits for: the end of the year 9999.
    const LAST_MS: u64 = 253_402_300_799_000;
    let at = UNIX_EPOCH + Duration::from_millis(at_ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ")
}

/// Now, as Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A percentage with at most two decimals.
pub(crate) fn percent(percent: f64) -> String {
    format!("{}%", rollout::release::text::number(percent))
}

/// How far something has come, from 0 to 1, in whole percent: 100% only when it is there.
pub(crate) fn progress(share: f64) -> String {
    format!("{}%", (share * 100.0).floor())
}

/// A value that may be missing.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}

/// A latency in milliseconds.
pub(crate) fn millis(ms: f64) -> String {
    format!("{}ms", rollout::release::text::number(ms))
}

/// A count with its digits in groups of three.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        assert_eq!(clean("a\u{1b}[2J\rb\n\u{9b}c\u{202e}é"), "a\\u{1b}[2J\\u{d}b\\n\\u{9b}c\\u{202e}é");
        let value = serde_json::json!({"a\u{7}": ["\u{1b}c", 1, null]});
        assert_eq!(clean_value(value), serde_json::json!({"a\\u{7}": ["\\u{1b}c", 1, null]}));
    }

    #[test]
    fn cleaned_json_is_the_same_value() {
        let value = serde_json::json!({"a": "x\u{9b}\u{7f}\u{202e}\u{1b}\"\n", "b": [1.5, "é"]});
        let text = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn times_and_counts_read_well() {
        let spans =
            [(0, "0ms"), (999, "999ms"), (59_900, "59s"), (60_000, "1m"), (90_000, "1m30s"), (7_260_000, "2h1m")];
        for (ms, expected) in spans {
            assert_eq!(span(Duration::from_millis(ms)), expected);
        }
        assert_eq!((ago(5000, 5400).as_str(), ago(5000, 8200).as_str(), ago(9, 1).as_str()), ("now", "3s ago", "now"));
        assert_eq!(utc(1_700_000_000_123), "2023-11-14 22:13:20Z");
        assert_eq!(utc(u64::MAX), "9999-12-31 23:59:59Z");
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(percent(12.5), "12.5%");
        assert_eq!([progress(0.0), progress(0.999), progress(1.0)], ["0%", "99%", "100%"]);
    }
}
