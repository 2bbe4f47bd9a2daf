//! Columns under their titles, fitted to a terminal: what is least needed goes first, and a text that has no room beside
//! the columns goes below its row, broken at words. A line that a terminal wraps by itself cannot be read as a table.

use comfy_table::{Cell, CellAlignment, Table, presets};
use unicode_width::UnicodeWidthStr;

/// Space between two columns.
const GAP: u16 = 3;
/// How far a text below its row is indented.
const INDENT: usize = 4;
/// The least that is left of a cell which is shortened.
const LEAST_CELL_CHARS: usize = 6;

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    title: String,
    is_number: bool,
    /// The least goes first where there is no room; `None` stays.
    goes: Option<u8>,
}

/// A column of words.
pub(crate) fn left(title: &str) -> Column {
    Column { title: title.into(), is_number: false, goes: None }
}

/// A column of numbers: right-aligned, its title too.
pub(crate) fn right(title: &str) -> Column {
    Column { title: title.into(), is_number: true, goes: None }
}

impl Column {
    /// Goes where there is no room, in the order of `rank`.
    pub(crate) fn goes(self, rank: u8) -> Self {
        Self { goes: Some(rank), ..self }
    }
}

/// Where the text of a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextPlace {
    /// In a last column where it fits, else below its row.
    Beside,
    /// Below its row on a terminal: a column would come and go as texts change.
    Below,
}

/// A table before it is fitted.
#[derive(Debug)]
pub(crate) struct Sheet {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    text: Option<(String, TextPlace, Vec<String>)>,
}

impl Sheet {
    /// From columns and the cells of each row.
    pub(crate) fn new(columns: Vec<Column>, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        Self { columns, rows: rows.into_iter().collect(), text: None }
    }

    /// With a text for each row, under this title where it stands beside the columns.
    pub(crate) fn with_text(mut self, title: &str, place: TextPlace, texts: impl IntoIterator<Item = String>) -> Self {
        self.text = Some((title.into(), place, texts.into_iter().collect()));
        self
    }

    /// As text; without a `width` everything stands in one line a row, for pipes.
    pub(crate) fn render(mut self, width: Option<usize>) -> String {
        let text = self.text.take();
        let Some(width) = width else {
            self.append_text(text);
            return lines(&self.table(), self.rows.len()).concat();
        };
        match text {
            Some((title, TextPlace::Beside, texts)) if self.width() + texts_width(&title, &texts) <= width => {
                self.append_text(Some((title, TextPlace::Beside, texts)));
                lines(&self.table(), self.rows.len()).concat()
            }
            text => {
                self.fit(width);
                let mut page = lines(&self.table(), self.rows.len()).into_iter();
                let mut shown = page.next().unwrap_or_default();
                let mut texts = text.map(|(_, _, texts)| texts).unwrap_or_default().into_iter();
                for line in page {
                    shown += &line;
                    shown += &indented(&texts.next().unwrap_or_default(), width);
                }
                shown
            }
        }
    }

    fn append_text(&mut self, text: Option<(String, TextPlace, Vec<String>)>) {
        if let Some((title, _, texts)) = text {
            self.columns.push(left(&title));
            self.rows.iter_mut().zip(texts).for_each(|(row, text)| row.push(Cell::new(text)));
        }
    }

    /// Takes columns away until the rest has room; then shortens the widest cells.
    fn fit(&mut self, width: usize) {
        while self.width() > width {
            let ranked = self.columns.iter().enumerate().filter_map(|(n, column)| Some((column.goes?, n)));
            let Some((_, n)) = ranked.min() else { break };
            self.columns.remove(n);
            self.rows.iter_mut().filter(|row| n < row.len()).for_each(|row| drop(row.remove(n)));
        }
        while let excess @ 1.. = self.width().saturating_sub(width) {
            let widths = self.table().column_max_content_widths();
            let words = self.columns.iter().zip(widths).enumerate().filter(|(_, (column, _))| !column.is_number);
            let Some((n, widest)) = words.map(|(n, (_, width))| (n, usize::from(width))).max_by_key(|(_, w)| *w) else {
                return;
            };
            let left = widest.saturating_sub(excess).max(LEAST_CELL_CHARS);
            if left >= widest {
                return;
            }
            self.rows.iter_mut().filter_map(|row| row.get_mut(n)).for_each(|cell| *cell = shortened(cell, left));
        }
    }

    fn width(&self) -> usize {
        let widths = self.table().column_max_content_widths();
        let gaps = usize::from(GAP) * widths.len().saturating_sub(1);
        widths.into_iter().map(usize::from).sum::<usize>() + gaps
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).enforce_styling();
        table.set_header(self.columns.iter().map(|column| column.title.as_str()));
        table.add_rows(self.rows.iter().cloned());
        let last = self.columns.len().saturating_sub(1);
        for (n, (column, spec)) in table.column_iter_mut().zip(&self.columns).enumerate() {
            column.set_padding((0, if n == last { 0 } else { GAP }));
            column.set_cell_alignment(if spec.is_number { CellAlignment::Right } else { CellAlignment::Left });
        }
        table
    }
}

/// A text's words in lines of at most `width` columns; a word that is longer is broken.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if line.width() + gap + word.width() <= width {
            line += if gap == 1 { " " } else { "" };
            line += word;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if line.width() + c.to_string().width() > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// A text that is shown below something, indented.
pub(crate) fn indented(text: &str, width: usize) -> String {
    if matches!(text, "" | "-") {
        return String::new();
    }
    let indent = " ".repeat(INDENT);
    wrapped(text, width.saturating_sub(INDENT)).iter().map(|line| format!("{indent}{line}\n")).collect()
}

fn texts_width(title: &str, texts: &[String]) -> usize {
    usize::from(GAP) + texts.iter().map(|text| text.width()).chain([title.width()]).max().unwrap_or(0)
}

fn shortened(cell: &Cell, chars: usize) -> Cell {
    let text = cell.content();
    if text.width() <= chars {
        return cell.clone();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.to_string().width() >= chars {
            break;
        }
        kept.push(c);
    }
    Cell::new(kept + "…")
}

/// The header's line and each row's; no cell has a line end (see [`crate::text::clean`]).
fn lines(table: &Table, rows: usize) -> Vec<String> {
    table.lines().take(rows + 1).map(|line| format!("{}\n", without_padding(&line))).collect()
}

/// A line without the space at its end, which may stand before the end of a colour.
fn without_padding(line: &str) -> String {
    let line = line.trim_end();
    match line.rfind('\u{1b}').and_then(|at| line.split_at_checked(at)) {
        Some((text, end)) if is_colour(end) => format!("{}{end}", text.trim_end()),
        _ => line.to_owned(),
    }
}

/// Whether this is one colour sequence and nothing more: a message may end in the letter that ends one.
fn is_colour(text: &str) -> bool {
    let codes = text.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    codes.is_some_and(|codes| codes.chars().all(|c| c.is_ascii_digit() || c == ';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_ends_like_a_colour_takes_no_gap_from_a_coloured_cell() {
        let row = vec![Cell::new("Failed").fg(comfy_table::Color::Red), Cell::new("v8")];
        let sheet = Sheet::new(vec![left("PHASE"), left("REVISION")], [row]);
        let page = sheet.with_text("WHY", TextPlace::Below, ["aborted by ann@vm".into()]).render(None);
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert_eq!(plain, "PHASE    REVISION   WHY\nFailed   v8         aborted by ann@vm\n");
    }

    fn sheet(place: TextPlace) -> Sheet {
        let columns = vec![left("SPACE").goes(0), left("NAME"), right("REQUESTS"), right("P95").goes(1)];
        let rows = [["prod", "web", "12", "4ms"], ["prod", "api-of-the-shop", "1,234", "40ms"]];
        let rows = rows.map(|row| row.map(Cell::new).to_vec());
        Sheet::new(columns, rows).with_text("WHY", place, ["two good words".into(), String::new()])
    }

    #[test]
    fn a_pipe_gets_every_column_in_one_line_a_row() {
        assert_eq!(
            sheet(TextPlace::Below).render(None),
            "\
SPACE   NAME              REQUESTS    P95   WHY
prod    web                     12    4ms   two good words
prod    api-of-the-shop      1,234   40ms
"
        );
    }

    #[test]
    fn a_narrow_terminal_loses_columns_in_their_order_and_never_wraps() {
        assert_eq!(
            sheet(TextPlace::Beside).render(Some(40)),
            "\
NAME              REQUESTS    P95
web                     12    4ms
    two good words
api-of-the-shop      1,234   40ms
"
        );
        assert_eq!(
            sheet(TextPlace::Beside).render(Some(18)),
            "\
NAME      REQUESTS
web             12
    two good words
api-of…      1,234
"
        );
        for width in 1..90 {
            let page = sheet(TextPlace::Below).render(Some(width));
            assert!(page.lines().all(|line| line.width() <= width.max(17)), "{width}:\n{page}");
        }
        assert!(sheet(TextPlace::Beside).render(Some(80)).contains("4ms   two good words"));
        assert!(sheet(TextPlace::Below).render(Some(80)).contains("4ms\n    two good words"));
    }

    #[test]
    fn texts_break_at_words_and_longer_words_anywhere() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("a abcdefghij", 4), ["a", "abcd", "efgh", "ij"]);
        assert_eq!(wrapped("金丝雀 x", 4), ["金丝", "雀 x"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
