//! Canaries in each form of `get`, all at once or whenever one changes.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use rollout::view::status::CanaryStatus;

use crate::args::Format;
use crate::canary_table::Screen;
use crate::client::Listing;
use crate::failure::Failure;
use crate::{canary_table, output, text};

/// Prints what is, or what changed: a table in place on a terminal, else a row or document for each changed canary.
pub(crate) struct Printer {
    format: Format,
    in_place: bool,
    /// What was shown last of each canary; `None` before the first time.
    last: Option<BTreeMap<String, String>>,
    /// What is on the screen.
    shown: Listing,
    /// Why it is old.
    outage: Option<String>,
}

impl Printer {
    /// For one `get`; `watch` is whether it stays.
    pub(crate) fn new(format: Format, watch: bool) -> Self {
        let is_table = matches!(format, Format::Table | Format::Wide);
        Self {
            format,
            in_place: watch && is_table && std::io::stdout().is_terminal(),
            last: None,
            shown: Listing::default(),
            outage: None,
        }
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
            (Format::Table | Format::Wide, _) => {
                Ok(canary_table::page_of(list, self.format == Format::Wide, output::width()))
            }
        }
    }

    /// The agent cannot be reached: says so once, on the screen as long as it lasts.
    pub(crate) fn lose(&mut self, why: &Failure) -> Result<(), Failure> {
        let is_news = self.outage.is_none();
        self.outage = Some(why.to_string());
        match self.in_place {
            true => self.redraw()?,
            false if is_news => output::remark(&format!("{why}; trying again")),
            false => {}
        }
        Ok(())
    }

    /// Prints what is not as it was; a screen with its clock is drawn at every message.
    pub(crate) fn show(&mut self, list: &Listing) -> Result<(), Failure> {
        if self.outage.take().is_some() && !self.in_place {
            output::remark("the agent answers again");
        }
        if self.in_place {
            self.shown = list.clone();
            self.last = Some(BTreeMap::new());
            return self.redraw();
        }
        let mut still = list.clone();
        still.items.iter_mut().for_each(stop_clocks);
        let now: BTreeMap<String, String> = still.items.iter().map(name).zip(self.each(&still)?).collect();
        if self.last.as_ref() == Some(&now) {
            return Ok(());
        }
        let texts = list.items.iter().zip(self.each(list)?);
        let last = self.last.as_ref();
        let is_news = |canary: &CanaryStatus| last.is_none_or(|last| last.get(&name(canary)) != now.get(&name(canary)));
        let news: String = texts.filter(|(canary, _)| is_news(canary)).map(|(_, text)| text).collect();
        let heading = if self.has_shown() { String::new() } else { self.heading(list) };
        output::print(&(heading + &news))?;
        self.last = Some(now);
        Ok(())
    }

    fn redraw(&self) -> Result<(), Failure> {
        // Asked for each time: windows change their size.
        let size = output::terminal_size().unwrap_or((80, 24));
        let screen = Screen {
            list: &self.shown,
            is_wide: self.format == Format::Wide,
            size,
            now_ms: text::now_ms(),
            outage: self.outage.as_deref(),
        };
        output::redraw(&screen.render())
    }

    fn canaries(&self, list: &Listing) -> String {
        canary_table::canaries(&list.items, self.format == Format::Wide, None)
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

/// What grows or counts down alone is no news.
fn stop_clocks(canary: &mut CanaryStatus) {
    canary.next_check_ms = None;
    canary.ran_ms = None;
    canary.on_step_ms = None;
    canary.requests_per_second = None;
    canary.step_remaining_ms = None;
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
