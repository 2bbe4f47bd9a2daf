//! Canaries in each form of `get`, all at once or whenever one changes.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use rollout::view::status::CanaryStatus;

use crate::args::Format;
use crate::client::Listing;
use crate::failure::Failure;
use crate::{output, table};

/// Prints what is, or what changed: a table in place on a terminal, else a row or document for each changed canary.
pub(crate) struct Printer {
    format: Format,
    in_place: bool,
    /// What was shown last of each canary; `None` before the first time.
    last: Option<BTreeMap<String, String>>,
}

impl Printer {
    /// For one `get`; `watch` is whether it stays.
    pub(crate) fn new(format: Format, watch: bool) -> Self {
        let is_table = matches!(format, Format::Table | Format::Wide);
        Self { format, in_place: watch && is_table && std::io::stdout().is_terminal(), last: None }
    }

    /// The form it prints in.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Whether anything was shown yet.
    pub(crate) const fn has_shown(&self) -> bool {
        self.last.is_some()
    }

    /// Everything, as text; `single` where one canary was asked for, so that programs get it without a list round it.
    pub(crate) fn once(&self, list: &Listing, single: bool) -> Result<String, Failure> {
        let one = list.items.first().filter(|_| single);
        match (self.format, one) {
            (Format::Json, Some(one)) => output::json(one, true),
            (Format::Yaml, Some(one)) => output::yaml(one),
            (Format::Json, None) => output::json(list, true),
            (Format::Yaml, None) => output::yaml(list),
            (Format::Name, _) => Ok(list.items.iter().map(|canary| name(canary) + "\n").collect()),
            (Format::Table | Format::Wide, _) => Ok(self.table(list)),
        }
    }

    /// Prints what is not as it was.
    pub(crate) fn show(&mut self, list: &Listing) -> Result<(), Failure> {
        // A countdown alone is no news.
        let mut still = list.clone();
        still.items.iter_mut().for_each(|canary| canary.next_check_ms = None);
        let now: BTreeMap<String, String> = still.items.iter().map(name).zip(self.each(&still)?).collect();
        if self.last.as_ref() == Some(&now) {
            return Ok(());
        }
        if self.in_place {
            output::clear_screen()?;
            output::print(&self.table(list))?;
        } else {
            let texts = list.items.iter().zip(self.each(list)?);
            let last = self.last.as_ref();
            let is_news =
                |canary: &CanaryStatus| last.is_none_or(|last| last.get(&name(canary)) != now.get(&name(canary)));
            let news: String = texts.filter(|(canary, _)| is_news(canary)).map(|(_, text)| text).collect();
            let heading = if self.has_shown() { String::new() } else { self.heading(list) };
            output::print(&(heading + &news))?;
        }
        self.last = Some(now);
        Ok(())
    }

    fn table(&self, list: &Listing) -> String {
        let table = if list.items.is_empty() { String::new() } else { self.canaries(list) };
        let problems = list.problems.iter().map(|problem| format!("! refused: {problem}\n"));
        table + &table::notes(&list.items) + &problems.collect::<String>()
    }

    fn canaries(&self, list: &Listing) -> String {
        table::canaries(&list.items, self.format == Format::Wide)
    }

    fn heading(&self, list: &Listing) -> String {
        match self.format {
            Format::Table | Format::Wide => {
                self.canaries(list).lines().take(1).map(|line| format!("{line}\n")).collect()
            }
            Format::Json | Format::Yaml | Format::Name => String::new(),
        }
    }

    /// Each canary's own text, in the list's order.
    fn each(&self, list: &Listing) -> Result<Vec<String>, Failure> {
        let items = list.items.iter();
        match self.format {
            Format::Table | Format::Wide => {
                Ok(self.canaries(list).lines().skip(1).map(|line| format!("{line}\n")).collect())
            }
            Format::Json => items.map(|canary| output::json(canary, false)).collect(),
            Format::Yaml => items.map(|canary| Ok(format!("---\n{}", output::yaml(canary)?))).collect(),
            Format::Name => Ok(items.map(|canary| name(canary) + "\n").collect()),
        }
    }
}

fn name(canary: &CanaryStatus) -> String {
    format!("{}/{}", canary.namespace, canary.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn programs_get_one_document_or_a_list() {
        let list =
            Listing { items: vec![fixture::canary("prod", "web", "Paused")], problems: vec!["a.yaml: no".into()] };
        let text = |format, single| Printer::new(format, false).once(&list, single).unwrap();
        assert_eq!(serde_json::from_str::<CanaryStatus>(&text(Format::Json, true)).unwrap(), list.items[0]);
        assert_eq!(serde_json::from_str::<Listing>(&text(Format::Json, false)).unwrap(), list);
        assert!(text(Format::Yaml, true).starts_with("name: web\nnamespace: prod\nservice: null\nphase: Paused\n"));
        assert!(text(Format::Yaml, false).starts_with("items:"));
        assert_eq!(text(Format::Name, false), "prod/web\n");
        assert!(text(Format::Table, false).ends_with("! refused: a.yaml: no\n"));
    }
}
