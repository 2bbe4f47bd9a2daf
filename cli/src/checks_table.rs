//! What a release asks besides its guards, as tables: threshold checks, metric servers, hooks and stored gates.

use comfy_table::{Cell, Color};
use rollout::release::text::number;
use rollout::view::explanation::{CheckExplanation, HookExplanation, MetricExplanation};
use rollout::view::status::GateStatus;

use crate::columns::{Sheet, TextPlace, left, right};
use crate::text::{ago, count, or_dash, span_of, utc};

/// The threshold checks; none where there are none.
pub(crate) fn checks(checks: &[CheckExplanation], now_ms: u64, width: Option<usize>) -> Option<String> {
    let at = checks.first()?.at_ms;
    let rows = checks.iter().map(|check| {
        let value = |value: Option<f64>| Cell::new(or_dash(value, |value| number(value) + &check.unit));
        vec![
            Cell::new(&check.check),
            value(check.value),
            value(check.primary_value),
            Cell::new(limits(check.min, check.max, &check.unit)),
            verdict(&check.verdict),
            Cell::new(count(check.requests)),
            Cell::new(span_of(check.window_ms)),
        ]
    });
    let columns = vec![
        left("CHECK"),
        right("CANARY"),
        right("PRIMARY").goes(1),
        left("LIMIT"),
        left("VERDICT"),
        right("REQUESTS").goes(2),
        right("WINDOW").goes(0),
    ];
    let when = at.map_or_else(|| "as they stand now".into(), |at| format!("looked at {}", ago(at, now_ms)));
    Some(format!("Checks, {when}:\n{}", Sheet::new(columns, rows).render(width)))
}

/// The metric servers' metrics; none where there are none.
pub(crate) fn metrics(metrics: &[MetricExplanation], now_ms: u64, width: Option<usize>) -> Option<String> {
    if metrics.is_empty() {
        return None;
    }
    let rows = metrics.iter().map(|metric| {
        vec![
            Cell::new(&metric.metric),
            Cell::new(or_dash(metric.value, number)),
            Cell::new(limits(metric.min, metric.max, "")),
            verdict(&metric.verdict),
            Cell::new(or_dash(metric.asked_at_ms, |at| ago(at, now_ms))),
        ]
    });
    let columns = vec![left("METRIC"), right("VALUE"), left("LIMIT"), left("VERDICT"), left("ASKED")];
    let errors = metrics.iter().map(|metric| metric.error.clone().unwrap_or_default());
    let title = if metrics.iter().any(|metric| metric.error.is_some()) { "ERROR" } else { "" };
    let sheet = Sheet::new(columns, rows).with_text(title, TextPlace::Beside, errors);
    Some(format!("Metric servers:\n{}", sheet.render(width)))
}

/// The hooks that are called and whose answers count; none where there are none.
pub(crate) fn hooks(hooks: &[HookExplanation], now_ms: u64, width: Option<usize>) -> Option<String> {
    if hooks.is_empty() {
        return None;
    }
    let rows = hooks.iter().map(|hook| {
        let state = match hook.state.as_str() {
            "refused" => Cell::new("refused").fg(Color::DarkYellow),
            "notAsked" => Cell::new("not asked"),
            other => Cell::new(other),
        };
        vec![
            Cell::new(&hook.hook),
            Cell::new(&hook.kind),
            state,
            Cell::new(or_dash(hook.answered_at_ms, |at| ago(at, now_ms))),
        ]
    });
    let columns = vec![left("HOOK"), left("TYPE"), left("STATE"), left("ANSWERED")];
    let said = hooks.iter().map(|hook| hook.said.clone().unwrap_or_default());
    let title = if hooks.iter().any(|hook| hook.said.is_some()) { "REASON" } else { "" };
    let sheet = Sheet::new(columns, rows).with_text(title, TextPlace::Beside, said);
    Some(format!("Hooks:\n{}", sheet.render(width)))
}

/// Gates, each with its canary's name where they are of several.
pub(crate) fn gates(gates: &[(Option<String>, GateStatus)], width: Option<usize>) -> String {
    let has_canaries = gates.iter().any(|(canary, _)| canary.is_some());
    let rows = gates.iter().map(|(canary, gate)| {
        let canary = has_canaries.then(|| Cell::new(canary.as_deref().unwrap_or("-")));
        canary.into_iter().chain(gate_row(gate)).collect()
    });
    let canary = has_canaries.then(|| left("CANARY"));
    let columns =
        [left("GATE"), left("APPROVES"), left("STATE"), left("REVISION").goes(1), left("BY"), left("CLOSES").goes(0)];
    let reasons = gates.iter().map(|(_, gate)| text_or_dash(gate.reason.as_ref()));
    let sheet = Sheet::new(canary.into_iter().chain(columns).collect(), rows);
    sheet.with_text("REASON", TextPlace::Beside, reasons).render(width)
}

fn gate_row(gate: &GateStatus) -> [Cell; 6] {
    let state = match (gate.open, &gate.actor) {
        (true, _) => Cell::new("open").fg(Color::DarkGreen),
        (false, Some(_)) => Cell::new("over"),
        (false, None) => Cell::new("closed"),
    };
    let revision = gate.actor.as_ref().map(|_| gate.revision.clone().unwrap_or_else(|| "(the next)".into()));
    [
        Cell::new(&gate.gate),
        Cell::new(gate.url.as_ref().map_or_else(|| gate.kind.clone(), |url| format!("{} at {url}", gate.kind))),
        state,
        Cell::new(text_or_dash(revision.as_ref())),
        Cell::new(text_or_dash(gate.actor.as_ref())),
        Cell::new(or_dash(gate.expires_at_ms, utc)),
    ]
}

fn text_or_dash(text: Option<&String>) -> String {
    text.filter(|text| !text.is_empty()).cloned().unwrap_or_else(|| "-".into())
}

fn verdict(verdict: &str) -> Cell {
    match verdict {
        "pass" => Cell::new("pass").fg(Color::DarkGreen),
        "fail" => Cell::new("fail").fg(Color::DarkRed),
        "noValue" => Cell::new("no value").fg(Color::DarkYellow),
        "notAsked" => Cell::new("not asked"),
        other => Cell::new(other),
    }
}

fn limits(min: Option<f64>, max: Option<f64>, unit: &str) -> String {
    let limit = |word: &str, limit: Option<f64>| limit.map(|limit| format!("{word} {}{unit}", number(limit)));
    let limits: Vec<String> = [limit("min", min), limit("max", max)].into_iter().flatten().collect();
    if limits.is_empty() { "-".into() } else { limits.join(", ") }
}
