//! What a record keeps of the engine: one canary, and nothing that whoever reads the record could use.

use std::collections::BTreeMap;

use super::Controller;
use crate::canary::Canary;
use crate::names::CanaryId;
use crate::plan::Plan;

impl Controller {
    /// The same without all other canaries, their history, and what of the plan may be secret: what the record of a release
    /// begins with. Canaries do not act on each other, so it goes on as the whole would.
    pub fn only(&self, id: &CanaryId) -> Self {
        let mut canaries: BTreeMap<CanaryId, Canary> = BTreeMap::new();
        if let Some(canary) = self.canaries.get(id) {
            let mut canary = canary.clone();
            canary.history.clear();
            canary.plan = canary.plan.stripped();
            canary.next_plan = canary.next_plan.map(Plan::stripped);
            canaries.insert(id.clone(), canary);
        }
        Self { canaries, fleet: self.fleet.only(id), ..Self::default() }
    }
}
