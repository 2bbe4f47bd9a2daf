//! `serin explain`: why a release stands where it stands. One line first, then what it rests on.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color};
use rollout::release::text::number;
use rollout::view::explanation::{
    CertificateExplanation, Explanation, GuardExplanation, PrimaryExplanation, RatioExplanation, Share,
    StratumExplanation,
};
use rollout::view::status::{VersionStatus, is_over};
use serde_json::Value;

use crate::args::{ExplainArgs, ExplainFormat};
use crate::checks_table;
use crate::client::Client;
use crate::columns::{Sheet, TextPlace, left, right, wrapped};
use crate::failure::Failure;
use crate::table::{destinations, failure_classes, phase_style};
use crate::text::{count, millis, or_dash, percent, progress, span_of};
use crate::{output, target, text};

/// Strata shown, the latest; a long release has hundreds, and `-o json` all of them.
const MAX_STRATA: usize = 12;

/// `serin explain`.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let found = client.explanation(&id).await;
    let body = target::explain(&client, &id, found).await?;
    let is_wide = match args.output {
        // As it is, with whatever a newer agent adds.
        ExplainFormat::Json => return output::print(&output::json(&body.exact::<Value>()?, true)?),
        ExplainFormat::Wide => true,
        ExplainFormat::Table => false,
    };
    output::print(
        &Page { explanation: &body.shown()?, is_wide, width: output::width(), now_ms: text::now_ms() }.render(),
    )
}

/// What is shown, and how.
struct Page<'a> {
    explanation: &'a Explanation,
    /// Whether with the less used numbers.
    is_wide: bool,
    width: Option<usize>,
    now_ms: u64,
}

impl Page<'_> {
    fn render(&self) -> String {
        let Self { explanation, width, now_ms, .. } = *self;
        let style = headline_style(explanation);
        let lines =
            width.map_or_else(|| vec![explanation.summary.clone()], |width| wrapped(&explanation.summary, width));
        let headline: String = lines.iter().map(|line| format!("{style}{line}{style:#}\n")).collect();
        if explanation.release == 0 {
            return headline;
        }
        let mut parts = vec![headline, self.versions()];
        parts.extend(checks_table::checks(&explanation.checks, now_ms, width));
        parts.extend(checks_table::metrics(&explanation.metrics, now_ms, width));
        parts.extend(checks_table::hooks(&explanation.hooks, now_ms, width));
        parts.extend((!explanation.guards.is_empty()).then(|| self.guards()));
        parts.extend(explanation.primary.as_ref().filter(|it| it.fails || self.is_wide).map(|it| self.primary(it)));
        parts.extend(explanation.certificate.as_ref().map(|certificate| self.certificate(certificate)));
        if self.is_wide {
            parts.extend(explanation.sample_ratio.as_ref().map(sample_ratio));
            parts.push(correlated(explanation));
            parts.extend((!explanation.strata.is_empty()).then(|| strata(&explanation.strata)));
        }
        parts.join("\n")
    }

    /// What was counted, side by side.
    fn versions(&self) -> String {
        let side = |name: &str, show: &dyn Fn(&VersionStatus) -> String| {
            let found = self.explanation.versions.iter().find(|version| version.version == name);
            Cell::new(or_dash(found, show))
        };
        let row = |label: &str, show: &dyn Fn(&VersionStatus) -> String| {
            vec![Cell::new(label), side("primary", show), side("canary", show)]
        };
        let went_to = |version: &VersionStatus| destinations(&self.explanation.destinations, &version.version);
        let reached = (!self.explanation.destinations.is_empty()).then(|| row("arrived at", &went_to));
        let mut rows = vec![
            row("upstream", &|version| version.upstream.clone()),
            row("requests", &|version| count(version.started)),
            row("pending", &|version| count(version.pending)),
            row("success rate", &|version| or_dash(version.success_rate_percent, percent)),
        ];
        for class in failure_classes(&self.explanation.versions) {
            let of = |version: &VersionStatus| count(version.failed_by_class.get(&class).copied().unwrap_or(0));
            rows.push(row(&format!("  {class}"), &of));
        }
        rows.extend([
            row("4xx answers", &|version| count(version.client_errors)),
            row("left by clients", &|version| count(version.abandoned)),
            row("p50", &|version| or_dash(version.p50_ms, millis)),
            row("p95", &|version| or_dash(version.p95_ms, millis)),
            row("p99", &|version| or_dash(version.p99_ms, millis)),
        ]);
        rows.extend(reached);
        Sheet::new(vec![left(""), right("PRIMARY"), right("CANARY")], rows).render(self.width)
    }

    /// What each guard saw, what it allows, and how far its evidence has come.
    fn guards(&self) -> String {
        let is_over = is_over(&self.explanation.phase);
        let rows = self.explanation.guards.iter().map(|guard| {
            let mut row = vec![
                Cell::new(&guard.guard),
                Cell::new(&guard.action),
                Cell::new(share(&guard.canary)),
                Cell::new(share(&guard.primary)),
                Cell::new(or_dash(guard.limit_percent, percent)),
            ];
            row.extend(self.is_wide.then(|| Cell::new(difference(guard))));
            row.extend([
                Cell::new(odds(guard.e_value)),
                Cell::new(odds(guard.e_needed)),
                Cell::new(progress(guard.toward_action)),
                verdict(&guard.verdict, is_over),
            ]);
            row
        });
        let mut columns =
            vec![left("GUARD"), left("ACTION"), right("CANARY"), right("PRIMARY").goes(3), right("LIMIT").goes(2)];
        columns.extend(self.is_wide.then(|| right("DIFFERENCE (95 %)").goes(4)));
        columns.extend([right("E-VALUE").goes(0), right("THRESHOLD").goes(1), right("PROGRESS"), left("VERDICT")]);
        let rules = self.explanation.guards.iter().map(|guard| guard.rule.clone());
        let table = Sheet::new(columns, rows).with_text("RULE", TextPlace::Beside, rules).render(self.width);
        let (toward, alpha) = (progress(self.explanation.toward_abort), percent(self.explanation.alpha * 100.0));
        let title = format!(
            "Evidence for an abort: {toward} (bound on a false abort: {alpha}). Progress is logarithmic: 20 of 400 is halfway"
        );
        self.titled(&title, &table)
    }

    /// The same limits, held against the primary.
    fn primary(&self, primary: &PrimaryExplanation) -> String {
        let rows = primary.limits.iter().map(|limit| {
            vec![
                Cell::new(&limit.guard),
                Cell::new(share(&limit.primary)),
                Cell::new(share(&limit.canary)),
                Cell::new(odds(limit.e_value)),
                Cell::new(odds(limit.e_needed)),
            ]
        });
        let columns = vec![
            left("LIMIT"),
            right("PRIMARY"),
            right("CANARY"),
            right("E-VALUE").goes(0),
            right("THRESHOLD").goes(1),
        ];
        let rules = primary.limits.iter().map(|limit| limit.rule.clone());
        let table = Sheet::new(columns, rows).with_text("RULE", TextPlace::Beside, rules).render(self.width);
        let alpha = percent(primary.alpha * 100.0);
        let title = match (&primary.accepted_by, primary.fails) {
            (Some(actor), true) => format!("The primary fails, and {actor} sends users there all the same"),
            (None, true) => {
                "The primary fails: nothing but a person sends users there until it is certified again".into()
            }
            (_, false) => format!("Evidence against the primary, by the same limits (bound on a false alarm: {alpha})"),
        };
        self.titled(&title, &table)
    }

    fn certificate(&self, certificate: &CertificateExplanation) -> String {
        let rows = certificate.guards.iter().map(|guard| {
            vec![
                Cell::new(&guard.guard),
                Cell::new(count(guard.events)),
                Cell::new(count(guard.trials)),
                Cell::new(progress(guard.progress)),
                Cell::new(count(guard.requests_to_go)),
            ]
        });
        let columns = vec![left("GUARD"), right("BAD"), right("REQUESTS"), right("PROVEN"), right("GOOD ONES TO GO")];
        let rules = certificate.guards.iter().map(|guard| guard.rule.clone());
        let table = Sheet::new(columns, rows).with_text("RULE", TextPlace::Beside, rules).render(self.width);
        let [on_step, dwell] = [certificate.on_step_ms, certificate.dwell_ms].map(span_of);
        let (step, proven) = (self.explanation.step, progress(certificate.progress));
        let title = format!("Certificate of step {step}: {proven} proven; {on_step} on it, at least {dwell}");
        self.titled(&title, &table) + &self.left_out(certificate)
    }

    fn left_out(&self, certificate: &CertificateExplanation) -> String {
        let CertificateExplanation { left_out, gone_workers, .. } = *certificate;
        if left_out == 0 {
            return String::new();
        }
        let line = format!(
            "Missing: {} requests, with {}; how they ended is not known, and more than 5 % of a step holds it",
            count(left_out),
            match gone_workers {
                1 => "a proxy worker that is gone".into(),
                many => format!("{many} proxy workers that are gone"),
            },
        );
        let lines = self.width.map_or_else(|| vec![line.clone()], |width| wrapped(&line, width));
        format!("{}\n", lines.join("\n"))
    }

    fn titled(&self, title: &str, table: &str) -> String {
        let lines = self.width.map_or_else(|| vec![title.to_owned()], |width| wrapped(title, width));
        format!("{}\n{table}", lines.join("\n"))
    }
}

/// A stopped release is as worth a look as an aborted one.
fn headline_style(explanation: &Explanation) -> Style {
    let is_bad = explanation.primary.as_ref().is_some_and(|primary| primary.fails)
        || explanation.guards.iter().any(|guard| guard.verdict == "bad" && guard.action != "notify");
    let style = if is_bad { AnsiColor::Red.on_default() } else { phase_style(&explanation.phase) };
    style.bold()
}

fn share(share: &Share) -> String {
    match share.percent {
        Some(of) => format!("{} of {}  {}", count(share.events), count(share.trials), percent(of)),
        None => "-".into(),
    }
}

/// Canary minus primary, in percentage points.
fn difference(guard: &GuardExplanation) -> String {
    let [low, estimate, high] = guard.difference.map(|points| format!("{points:+.1}"));
    let is_seen = guard.canary.trials > 0 && guard.primary.trials > 0;
    if is_seen { format!("{estimate} ({low} to {high})") } else { "-".into() }
}

/// What nothing more will decide is not undecided.
fn verdict(verdict: &str, is_over: bool) -> Cell {
    match verdict {
        "bad" => Cell::new("bad").fg(Color::DarkRed),
        "good" => Cell::new("good").fg(Color::DarkGreen),
        "undecided" if is_over => Cell::new("-"),
        other => Cell::new(other),
    }
}

fn sample_ratio(ratio: &RatioExplanation) -> String {
    let share = if ratio.all == 0 { None } else { Some(ratio.canary as f64 * 100.0 / ratio.all as f64) };
    format!(
        "Share: {} of {} requests that the weights placed ({}), target about {}; e-value {}, threshold {}\n",
        count(ratio.canary),
        count(ratio.all),
        or_dash(share, percent),
        count(ratio.expected.round() as u64),
        odds(ratio.e_value),
        odds(ratio.e_needed),
    )
}

fn correlated(explanation: &Explanation) -> String {
    format!("Correlated failures: maxCluster {}: {}\n", explanation.max_cluster, explanation.max_cluster_because)
}

fn strata(strata: &[StratumExplanation]) -> String {
    let hidden = strata.len().saturating_sub(MAX_STRATA);
    let shown = strata.get(hidden..).unwrap_or_default();
    let rows = shown.iter().map(|stratum| {
        vec![
            Cell::new(if stratum.epoch == 0 { "older".into() } else { stratum.epoch.to_string() }),
            Cell::new(or_dash(stratum.weight_percent, percent)),
            Cell::new(&stratum.version),
            Cell::new(&stratum.placement),
            Cell::new(count(stratum.requests)),
            Cell::new(count(stratum.failed)),
            Cell::new(count(stratum.pending)),
        ]
    });
    let columns = vec![
        right("EPOCH"),
        right("WEIGHT"),
        left("VERSION"),
        left("PLACED"),
        right("REQUESTS"),
        right("FAILED"),
        right("PENDING"),
    ];
    let title = match hidden {
        0 => "Counts by weight:".into(),
        _ => format!("Counts by weight (latest {MAX_STRATA} of {}, -o json shows all):", strata.len()),
    };
    format!("{title}\n{}", Sheet::new(columns, rows).render(None))
}

/// An e-value with as many digits as anybody reads.
fn odds(e_value: f64) -> String {
    match e_value {
        small if small < 100.0 => number(small),
        large if large < 1e9 => count(large.round() as u64),
        huge => format!("{huge:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::fixture;
    use crate::screens::{compare, plain};

    fn page(explanation: &Explanation, is_wide: bool, width: Option<usize>) -> String {
        Page { explanation, is_wide, width, now_ms: 1_700_000_072_000 }.render()
    }

    #[test]
    fn a_page_begins_with_the_answer_and_fits() {
        let explanation = fixture::explanation("prod", "web");
        compare("explain", &page(&explanation, false, None));
        compare("explain-wide", &page(&explanation, true, None));
        for width in [80, 120, 200] {
            let page = page(&explanation, false, Some(width));
            assert!(plain(&page).lines().all(|line| line.width() <= width), "{page}");
            compare(&format!("explain-{width}"), &page);
        }
    }

    #[test]
    fn checks_are_shown_also_where_they_pass() {
        compare("explain-interval", &page(&fixture::checked("prod", "web"), false, Some(100)));
    }

    #[test]
    fn a_primary_that_fails_is_shown_before_all_else() {
        let mut explanation = fixture::explanation("prod", "web");
        explanation.phase = "Promoting".into();
        explanation.summary =
            "web v2 at 50 %: THE PRIMARY FAILS: slo (at most 1 % may fail): primary 40 of 108 (37.04 %), \
                               canary 0 of 110 (0 %); promotion waits for `serin confirm`"
                .into();
        let primary = explanation.primary.as_mut().unwrap();
        primary.fails = true;
        assert_eq!(headline_style(&explanation), AnsiColor::Red.on_default().bold());
        compare("explain-primary-fails", &page(&explanation, false, Some(120)));
    }

    #[test]
    fn nothing_is_undecided_once_a_release_has_ended() {
        let mut explanation = fixture::explanation("prod", "web");
        explanation.phase = "Failed".into();
        explanation.summary = "web v2 was aborted by guard slo: 19 of 1240 requests failed (limit 1 %)".into();
        explanation.guards[0].verdict = "bad".into();
        explanation.certificate = None;
        let page = page(&explanation, false, Some(120));
        assert!(!page.contains("undecided"), "{page}");
        compare("explain-aborted", &page);
    }

    #[test]
    fn before_the_first_release_one_line_is_enough() {
        let mut explanation = fixture::explanation("prod", "web");
        explanation.summary = "web: no release yet; `serin release` begins one".into();
        explanation.release = 0;
        assert_eq!(plain(&page(&explanation, true, None)), "web: no release yet; `serin release` begins one\n");
    }

    #[test]
    fn a_long_release_shows_its_latest_strata_and_says_so() {
        let mut explanation = fixture::explanation("prod", "web");
        let first = explanation.strata.remove(0);
        explanation.strata = (100..130).map(|epoch| StratumExplanation { epoch, ..first.clone() }).collect();
        let page = plain(&page(&explanation, true, None));
        assert!(page.contains("(latest 12 of 30, -o json shows all)") && page.contains("  129"), "{page}");
        assert!(!page.contains("  117 "), "{page}");
    }

    #[test]
    fn what_forced_a_verdict_is_red_even_in_a_paused_release() {
        let mut explanation = fixture::explanation("prod", "web");
        explanation.phase = "Paused".into();
        assert_eq!(headline_style(&explanation), AnsiColor::Yellow.on_default().bold());
        explanation.guards[0].verdict = "bad".into();
        assert_eq!(headline_style(&explanation), AnsiColor::Red.on_default().bold());
        explanation.guards[0].action = "notify".into();
        assert_eq!(headline_style(&explanation), AnsiColor::Yellow.on_default().bold());
    }

    #[test]
    fn evidence_has_as_many_digits_as_one_reads() {
        assert_eq!([odds(0.5), odds(12.345), odds(999.99), odds(3e11)], ["0.5", "12.35", "1,000", "3e11"]);
    }
}
