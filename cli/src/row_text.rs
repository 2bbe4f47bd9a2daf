//! What a canary's row says in words: how near a cut is, and what no column tells.

use rollout::view::status::CanaryStatus;

use crate::text::progress;

/// The evidence for a cut and, where checks decide too, the failed ones of those that roll back.
pub(crate) fn to_cut(canary: &CanaryStatus) -> String {
    let is_over = matches!(canary.phase.as_str(), "Initialized" | "Succeeded" | "Failed");
    let evidence = progress(canary.toward_abort);
    match canary.advance.as_str() {
        _ if is_over => "-".into(),
        "certificate" => evidence,
        _ => format!("{}/{} {evidence}", canary.failed_checks, canary.threshold),
    }
}

/// The message, unless it only repeats a column.
pub(crate) fn news(canary: &CanaryStatus) -> &str {
    if canary.message == format!("step {} of {}", canary.step, canary.steps) { "" } else { &canary.message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_cut_is_near_only_while_a_release_goes_on() {
        let mut canary = fixture::canary("prod", "web", "Progressing");
        canary.toward_abort = 0.341;
        assert_eq!(to_cut(&canary), "1/3 34%");
        canary.advance = "certificate".into();
        assert_eq!(to_cut(&canary), "34%");
        canary.phase = "Failed".into();
        assert_eq!(to_cut(&canary), "-");
    }

    #[test]
    fn only_what_no_column_says_is_news() {
        let mut canary = fixture::canary("prod", "web", "Progressing");
        assert_eq!(news(&canary), "");
        canary.message = "holds: no canary traffic, so there is nothing to judge".into();
        assert_eq!(news(&canary), canary.message);
    }
}
