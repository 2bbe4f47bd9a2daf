//! What `serin validate` prints: one line for each document and a count.

use std::fmt;

use crate::documents::conflict::{self, Conflict};
use crate::documents::document::Content;
use crate::documents::document::Document;
use crate::documents::document::Loaded;
use crate::yaml::problem::Problem;
use crate::yaml::problem::Warning;

/// The lines and the count. Displayed with a line end after each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each document, in order of files and lines.
    pub lines: Vec<String>,
    /// Documents accepted without a word.
    pub accepted: usize,
    /// Documents accepted with warnings.
    pub warned: usize,
    /// Documents refused.
    pub refused: usize,
    /// Documents of other kinds, and files without documents.
    pub skipped: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let Self { accepted, warned, refused, skipped, .. } = self;
        writeln!(f, "{accepted} accepted, {warned} accepted with warnings, {refused} refused, {skipped} skipped")
    }
}

/// Judges each document, and whether two Canaries claim the same thing: a mistake where one agent reads both, worth a
/// warning between files that may be meant for different agents. With `explain`, each warning and each problem gets a line
/// of its own below its document's.
pub fn report(files: &[Loaded], explain: bool) -> Report {
    let mut report = Report::default();
    let conflicts = conflict::between(files);
    for (file_at, file) in files.iter().enumerate() {
        if let ([], Some(reason)) = (file.documents.as_slice(), file.aside) {
            report.skipped += 1;
            report.lines.push(format!("{}: skipped, {reason}", file.file));
        }
        for (document_at, document) in file.documents.iter().enumerate() {
            let conflicts = conflicts.iter().filter(|found| found.whose == (file_at, document_at));
            let conflicts: Vec<_> = conflicts.collect();
            report.add(file, document, &conflicts, explain);
        }
    }
    report
}

impl Report {
    fn add(&mut self, file: &Loaded, document: &Document, conflicts: &[&Conflict], explain: bool) {
        let Document { line, kind, name, result, .. } = document;
        let Loaded { file, aside, .. } = file;
        let subject =
            [kind.as_str(), name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let subject = if subject.is_empty() { "document" } else { &subject };
        let mut problems: Vec<&Problem> = result.as_ref().err().map(|all| all.iter().collect()).unwrap_or_default();
        let mut warnings = document.warnings.clone();
        for Conflict { problem, is_certain, .. } in conflicts {
            if !is_certain {
                warnings.push(only_together(problem));
            } else {
                problems.push(problem);
            }
        }
        let holds = warnings.iter().filter(|warning| warning.holds).count();
        let verdict = if let (Some(reason), false) = (aside, problems.is_empty()) {
            self.skipped += 1;
            problems.clear();
            format!("skipped, {reason}")
        } else if !problems.is_empty() {
            self.refused += 1;
            format!("refused: {}", why(&problems, explain))
        } else if matches!(result, Ok(Content::Skipped)) {
            self.skipped += 1;
            format!("skipped, {}", if kind.is_empty() { "not a Kubernetes object" } else { "not one of our kinds" })
        } else if warnings.is_empty() {
            self.accepted += 1;
            "accepted".into()
        } else {
            self.warned += 1;
            let holds =
                if holds == 0 { String::new() } else { format!("; releases hold for {holds} of them until accepted") };
            format!("accepted with {}{holds}", counted(warnings.len(), "warning"))
        };
        self.lines.push(format!("{file}:{line}: {subject}: {verdict}"));
        if explain {
            self.lines.extend(problems.iter().map(|problem| format!("  refused: {problem}")));
            self.lines.extend(warnings.iter().map(|warning| format!("  warning: {warning}")));
        }
    }
}

fn only_together(problem: &Problem) -> Warning {
    let Problem { file, at, field, value, rule, .. } = problem.clone();
    let reason = format!("{value} {rule}, where one agent reads both files");
    Warning { file, at, field, reason, holds: false }
}

fn why(problems: &[&Problem], explain: bool) -> String {
    if explain {
        return counted(problems.len(), "problem");
    }
    // The line already names the file.
    let short = |problem: &&Problem| {
        let full = problem.to_string();
        full.strip_prefix(&problem.file).map_or(full.clone(), |rest| rest.trim_start_matches(':').to_owned())
    };
    problems.iter().map(short).collect::<Vec<_>>().join("; ")
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
