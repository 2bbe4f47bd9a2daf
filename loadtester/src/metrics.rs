//! /metrics: the tasks in OpenMetrics text, computed anew for each scrape. No labels: what webhooks send names nothing.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::tasks::Counts;

/// The whole page.
pub(crate) fn render(counts: Counts) -> String {
    let mut registry = Registry::with_prefix("serin_loadtester");
    registry.register("tasks_started", "Tasks started", ConstCounter::new(counts.started));
    registry.register("tasks_succeeded", "Tasks that ended with exit code 0", ConstCounter::new(counts.succeeded));
    registry.register("tasks_failed", "Tasks that ended otherwise, or were killed", ConstCounter::new(counts.failed));
    registry.register("tasks_running", "Tasks running now", ConstGauge::new(counts.running as u64));
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut page, &registry);
    page
}
