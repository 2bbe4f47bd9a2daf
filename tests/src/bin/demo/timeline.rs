//! The lines that a person watches; silent when only JSON is wanted.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use rollout::view::status::{CanaryStatus, EventStatus, VersionStatus};

/// How often the state is shown while nothing happens.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Timeline {
    silent: bool,
    colours: bool,
    shown_at: Cell<Option<Instant>>,
}

impl Timeline {
    pub(crate) fn new(silent: bool) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { silent, colours, shown_at: Cell::new(None) }
    }

    pub(crate) fn say(&self, text: &str) {
        if !self.silent {
            println!("{text}");
        }
    }

    pub(crate) fn title(&self, text: &str) {
        self.say(&format!("\n{}", self.paint("1", text)));
        self.say(
            "   time  phase        weight   seen   primary: requests  success     p95   canary: requests  success     p95",
        );
    }

    /// One line of numbers, at most once a second.
    pub(crate) fn status(&self, begun: Instant, status: &CanaryStatus) {
        if self.shown_at.get().is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.shown_at.set(Some(Instant::now()));
        let seen = status.observed_percent.map_or_else(|| "-".into(), |percent| format!("{percent:.1} %"));
        let [primary, canary] = [0, 1].map(|n| status.versions.get(n).map(version).unwrap_or_default());
        let time = begun.elapsed().as_secs_f64();
        let (phase, weight) = (&status.phase, status.weight_percent);
        self.say(&format!("{time:6.1}s  {phase:<12} {weight:>4} %  {seen:>6}            {primary}           {canary}"));
    }

    /// One event with its reason.
    pub(crate) fn event(&self, begun: Instant, event: &EventStatus) {
        use rollout::release::phase::Note;
        let colour = match event.detail {
            Note::Aborted(_) | Note::CheckFailed { .. } | Note::HookFailed { .. } => "31",
            Note::Succeeded { .. } | Note::Confirmed { .. } => "32",
            _ => "36",
        };
        let time = begun.elapsed().as_secs_f64();
        self.say(&format!("{time:6.1}s  {}", self.paint(colour, &format!("-> {}", event.message))));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn version(version: &VersionStatus) -> String {
    let success = version.success_rate_percent.map_or_else(|| "-".into(), |rate| format!("{rate:.1} %"));
    let p95 = version.p95_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms"));
    format!("{:>8}  {success:>7}  {p95:>6}", version.started)
}
