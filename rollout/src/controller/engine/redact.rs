//! What a record keeps of the engine: one canary, and nothing that whoever reads the record could use.

use std::collections::BTreeMap;

use super::Controller;
use crate::base::names::CanaryId;
use crate::controller::canary::Canary;
use crate::release::plan::Plan;

impl Controller {
    /// The same without all other canaries, their history, and what of the plan may be secret: what the record of a release
    /// begins with. What another version of the same service does to it is an event of its own, so it goes on as the whole
    /// would.
    pub fn only(&self, id: &CanaryId) -> Self {
        let mut canaries: BTreeMap<CanaryId, Canary> = BTreeMap::new();
        let (mut service, must_wait) = (id, self.next_must_wait(id));
        if let Some(canary) = self.canaries.get(id) {
            service = canary.service();
            let mut canary = canary.clone();
            canary.history.clear();
            canary.plan = canary.plan.stripped();
            canary.next_plan = canary.next_plan.map(Plan::stripped);
            canaries.insert(id.clone(), canary);
        }
        Self { canaries, fleet: self.fleet.only(id, service), must_wait: Some(must_wait), ..Self::default() }
    }
}
