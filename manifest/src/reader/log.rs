//! What was found while reading one document, and where its fields are, so that a rule of the plan can name a line.

use std::collections::BTreeMap;

use rollout::release::plan::{PlanError, Unsupported};

use crate::yaml::problem::{Position, Problem, Warning};

/// What was found while reading one document.
pub(crate) struct Log {
    file: String,
    places: BTreeMap<String, Position>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) unsupported: Vec<Unsupported>,
}

impl Log {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            places: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    pub(crate) fn problem(&mut self, at: Position, field: &str, value: impl Into<String>, rule: impl Into<String>) {
        let (field, value, rule) = (field.to_owned(), value.into(), rule.into());
        self.problems.push(Problem { file: self.file.clone(), at, field, value, rule, value_in_rule: false });
    }

    pub(crate) fn warning(&mut self, at: Position, field: &str, reason: impl Into<String>) {
        let (field, reason) = (field.to_owned(), reason.into());
        self.warnings.push(Warning { file: self.file.clone(), at, field, reason, holds: false });
    }

    /// A warning about a field by its path alone.
    pub(crate) fn warning_in(&mut self, field: &str, reason: impl Into<String>) {
        self.warning(self.place_of(field), field, reason);
    }

    /// Remembers where a field is, for the plan's own rules.
    pub(crate) fn place(&mut self, field: &str, at: Position) {
        self.places.insert(field.to_owned(), at);
    }

    /// A rule of the plan, brought back to the line that broke it. Left out where the reading itself failed already.
    pub(crate) fn plan_error(&mut self, error: PlanError) {
        let within = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_there = |problem: &Problem| within(&error.field, &problem.field) || within(&problem.field, &error.field);
        if !self.problems.iter().any(is_there) {
            self.problem(self.place_of(&error.field), &error.field, error.value, error.rule);
        }
    }

    /// Where a field is, or the nearest one around it.
    fn place_of(&self, field: &str) -> Position {
        let mut path = field;
        loop {
            if let Some(at) = self.places.get(path) {
                return *at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return Position { line: 1, column: 1 },
            }
        }
    }
}
