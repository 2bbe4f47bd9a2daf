//! `serin explain`: why a release stands where it stands. One line first, then what it rests on.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color};
use rollout::release::text::number;
use rollout::view::explanation::{
    CertificateExplanation, Explanation, GuardExplanation, RatioExplanation, Share, StratumExplanation,
};
use rollout::view::status::VersionStatus;
use serde_json::Value;

use crate::args::{ExplainArgs, ExplainFormat};
use crate::client::Client;
use crate::failure::Failure;
use crate::table::{number_cell, phase_style, render};
use crate::text::{count, millis, or_dash, percent, progress, span};
use crate::{output, target};

/// Strata shown, the latest; a long release has hundreds, and `-o json` all of them.
const MAX_STRATA: usize = 12;

/// `serin explain`.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let found = client.explanation(&id).await;
    let body = target::explain(&client, &id, found).await?;
    match args.output {
        // As it is, with whatever a newer agent adds.
        ExplainFormat::Json => output::print(&output::json(&body.exact::<Value>()?, true)?),
        ExplainFormat::Table => output::print(&page(&body.shown()?)),
    }
}

fn page(told: &Explanation) -> String {
    let style = headline_style(told);
    let mut page = format!("{style}{}{style:#}\n", told.summary);
    page += &format!("\n{}", comparison(told));
    if !told.guards.is_empty() {
        page += &format!("\n{}", guards(told));
    }
    if let Some(certificate) = &told.certificate {
        page += &format!("\n{}", self::certificate(told.step, certificate));
    }
    if let Some(ratio) = &told.sample_ratio {
        page += &format!("\n{}\n", sample_ratio(ratio));
    }
    page += &format!("\n{}\n", clusters(told));
    if !told.strata.is_empty() {
        page += &format!("\n{}", strata(&told.strata));
    }
    page
}

/// A stopped release is as worth a look as a cut one.
fn headline_style(told: &Explanation) -> Style {
    let is_bad = told.guards.iter().any(|guard| guard.verdict == "bad" && guard.action != "notify");
    let style = if is_bad { AnsiColor::Red.on_default() } else { phase_style(&told.phase) };
    style.bold()
}

/// Versions side by side: what was counted, then what each guard makes of it.
fn comparison(told: &Explanation) -> String {
    let side = |name: &str, show: &dyn Fn(&VersionStatus) -> String| {
        let found = told.versions.iter().find(|version| version.version == name);
        number_cell(or_dash(found, show))
    };
    let counted = |label: &str, show: &dyn Fn(&VersionStatus) -> String| {
        let mut row = vec![Cell::new(label), side("primary", show), side("canary", show)];
        row.extend(["", "", ""].map(Cell::new));
        row
    };
    let mut rows = vec![
        counted("upstream", &|version| version.upstream.clone()),
        counted("requests", &|version| count(version.started)),
        counted("pending", &|version| count(version.pending)),
        counted("success rate", &|version| or_dash(version.success_rate_percent, percent)),
        counted("p50", &|version| or_dash(version.p50_ms, millis)),
        counted("p95", &|version| or_dash(version.p95_ms, millis)),
        counted("p99", &|version| or_dash(version.p99_ms, millis)),
    ];
    rows.extend(told.guards.iter().map(compared));
    render(&["", "PRIMARY", "CANARY", "DIFFERENCE (95 %)", "VERDICT", "LIMIT"], rows)
}

fn compared(guard: &GuardExplanation) -> Vec<Cell> {
    let share = |share: &Share| match share.percent {
        Some(of) => format!("{} of {}  {}", count(share.events), count(share.trials), percent(of)),
        None => "-".into(),
    };
    let [low, estimate, high] = guard.difference.map(|points| format!("{points:+.1}"));
    let is_seen = guard.canary.trials > 0 && guard.primary.trials > 0;
    let difference = if is_seen { format!("{estimate} ({low} to {high})") } else { "-".into() };
    let verdict = match guard.verdict.as_str() {
        "bad" => Cell::new("bad").fg(Color::DarkRed),
        "good" => Cell::new("good").fg(Color::DarkGreen),
        other => Cell::new(other),
    };
    vec![
        Cell::new(&guard.guard),
        number_cell(share(&guard.primary)),
        number_cell(share(&guard.canary)),
        number_cell(difference),
        verdict,
        number_cell(or_dash(guard.limit_percent, percent)),
    ]
}

/// What each guard allows, and how far its evidence has come.
fn guards(told: &Explanation) -> String {
    let rows = told.guards.iter().map(|guard| {
        vec![
            Cell::new(&guard.guard),
            Cell::new(&guard.action),
            number_cell(odds(guard.e_value)),
            number_cell(odds(guard.e_needed)),
            number_cell(progress(guard.toward_action)),
            Cell::new(&guard.rule),
        ]
    });
    let table = render(&["GUARD", "DOES", "E-VALUE", "NEEDS", "THERE", "RULE"], rows);
    let (toward, alpha) = (progress(told.toward_abort), percent(told.alpha * 100.0));
    format!(
        "Guards: {toward} of the way to a cut together; healthy releases that they cut: {alpha} at the most\n{table}"
    )
}

fn certificate(step: usize, certificate: &CertificateExplanation) -> String {
    let rows = certificate.guards.iter().map(|guard| {
        vec![
            Cell::new(&guard.guard),
            number_cell(count(guard.events)),
            number_cell(count(guard.trials)),
            number_cell(progress(guard.progress)),
            number_cell(count(guard.requests_to_go)),
            Cell::new(&guard.rule),
        ]
    });
    let table = render(&["GUARD", "BAD", "REQUESTS", "PROVEN", "GOOD ONES TO GO", "RULE"], rows);
    let [on_step, dwell] =
        [certificate.on_step_ms, certificate.dwell_ms].map(|ms| span(std::time::Duration::from_millis(ms)));
    let proven = progress(certificate.progress);
    format!(
        "Certificate of step {step}: {proven} proven by this step's requests; {on_step} on it, at least {dwell}\n{table}"
    )
}

fn sample_ratio(ratio: &RatioExplanation) -> String {
    let share = if ratio.all == 0 { None } else { Some(ratio.canary as f64 * 100.0 / ratio.all as f64) };
    format!(
        "Share: {} of {} requests that the weights placed ({}), about {} meant; e-value {}, needs {}",
        count(ratio.canary),
        count(ratio.all),
        or_dash(share, percent),
        count(ratio.expected.round() as u64),
        odds(ratio.e_value),
        odds(ratio.e_needed),
    )
}

fn clusters(told: &Explanation) -> String {
    format!("Clusters: maxCluster {}: {}", told.max_cluster, told.max_cluster_because)
}

fn strata(strata: &[StratumExplanation]) -> String {
    let hidden = strata.len().saturating_sub(MAX_STRATA);
    let shown = strata.get(hidden..).unwrap_or_default();
    let rows = shown.iter().map(|stratum| {
        vec![
            number_cell(if stratum.epoch == 0 { "older".into() } else { stratum.epoch.to_string() }),
            number_cell(or_dash(stratum.weight_percent, percent)),
            Cell::new(&stratum.version),
            Cell::new(&stratum.placement),
            number_cell(count(stratum.requests)),
            number_cell(count(stratum.failed)),
            number_cell(count(stratum.pending)),
        ]
    });
    let table = render(&["EPOCH", "WEIGHT", "VERSION", "PLACED", "REQUESTS", "FAILED", "PENDING"], rows);
    let title = match hidden {
        0 => "Strata:".into(),
        _ => format!("Strata (latest {MAX_STRATA} of {}, -o json shows all):", strata.len()),
    };
    format!("{title}\n{table}")
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
    use super::*;
    use crate::fixture;

    fn plain(told: &Explanation) -> String {
        anstream::adapter::strip_str(&page(told)).to_string()
    }

    #[test]
    fn a_page_begins_with_the_answer_and_lines_up() {
        assert_eq!(
            plain(&fixture::explanation("prod", "web")),
            "\
web v2 at 12.5 %: not cut, 62 % of the way to the certificate of step 2; about 140 more good requests

               PRIMARY              CANARY               DIFFERENCE (95 %)     VERDICT     LIMIT
upstream              web-primary           web-canary
requests                    8,750                1,240
pending                         0                    5
success rate               99.89%                98.5%
p50                         8.2ms                  9ms
p95                          40ms               41.5ms
p99                             -                    -
slo            10 of 8,750  0.11%   19 of 1,240  1.53%   +1.4 (+0.3 to +3.0)   undecided      1%
regression     10 of 8,750  0.11%   19 of 1,240  1.53%   +1.4 (+0.3 to +3.0)   undecided       -

Guards: 41% of the way to a cut together; healthy releases that they cut: 1% at the most
GUARD         DOES    E-VALUE   NEEDS   THERE   RULE
slo          abort     12.35     200     39%   at most 1 % may fail
regression   abort     12.35     200     12%   at most 1.5 times the primary's failures, above 0.5 %

Certificate of step 2: 62% proven by this step's requests; 12s on it, at least 10s
GUARD   BAD   REQUESTS   PROVEN   GOOD ONES TO GO   RULE
slo      0        231      62%               140   at most 1 % may fail

Share: 1,240 of 9,990 requests that the weights placed (12.41%), about 1,249 meant; e-value 0.2, needs 1,000

Clusters: maxCluster 1: each failure counts as an event of its own

Strata:
EPOCH   WEIGHT   VERSION   PLACED   REQUESTS   FAILED   PENDING
   16    12.5%   primary   drawn       8,000        3         0
   16    12.5%   canary    drawn         421        3         0
   17    12.5%   canary    drawn         819        3         0
"
        );
    }

    #[test]
    fn a_canary_that_was_never_released_has_a_page_too() {
        let mut told = fixture::explanation("prod", "web");
        told.summary = "web: no release yet; `serin release` begins one".into();
        (told.certificate, told.sample_ratio) = (None, None);
        told.guards.clear();
        told.strata.clear();
        let page = plain(&told);
        assert!(page.starts_with("web: no release yet") && !page.contains("Guards:"), "{page}");
        assert!(page.ends_with("as an event of its own\n"), "{page}");
    }

    #[test]
    fn a_long_release_shows_its_latest_strata_and_says_so() {
        let mut told = fixture::explanation("prod", "web");
        let first = told.strata.remove(0);
        told.strata = (100..130).map(|epoch| StratumExplanation { epoch, ..first.clone() }).collect();
        let page = plain(&told);
        assert!(page.contains("(latest 12 of 30, -o json shows all)") && page.contains("  129"), "{page}");
        assert!(!page.contains("  117 "), "{page}");
    }

    #[test]
    fn what_forced_a_verdict_is_red_even_in_a_paused_release() {
        let mut told = fixture::explanation("prod", "web");
        told.phase = "Paused".into();
        assert_eq!(headline_style(&told), AnsiColor::Yellow.on_default().bold());
        told.guards[0].verdict = "bad".into();
        assert_eq!(headline_style(&told), AnsiColor::Red.on_default().bold());
        told.guards[0].action = "notify".into();
        assert_eq!(headline_style(&told), AnsiColor::Yellow.on_default().bold());
    }

    #[test]
    fn evidence_has_as_many_digits_as_one_reads() {
        assert_eq!([odds(0.5), odds(12.345), odds(999.99), odds(3e11)], ["0.5", "12.35", "1,000", "3e11"]);
    }
}
